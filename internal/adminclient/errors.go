package adminclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// Status returns the HTTP status of an answer that is an error, and 0 of any other error.
func Status(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// refused reads an answer that is an error. Our own resources say what is wrong and what
// to do in JSON; anything else did not come from them.
func (c *Client) refused(address string, res *http.Response) error {
	r := &refusal{status: res.StatusCode}
	body, err := io.ReadAll(io.LimitReader(res.Body, errorMost))
	var e struct {
		Error string `json:"error"`
	}
	switch {
	case err == nil && json.Unmarshal(body, &e) == nil && e.Error != "":
		r.text = e.Error
	case res.StatusCode == http.StatusNotFound:
		r.text = fmt.Sprintf("the Caddy at %s was built without %s: run this program as that server", address, c.module)
	default:
		r.text = fmt.Sprintf("the Caddy at %s answered %d: %s", address, res.StatusCode, strings.TrimSpace(string(body)))
	}
	r.text = terminal.Printable(r.text)
	return r
}

// unanswered is an error of a request that got no answer.
func (c *Client) unanswered(address string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return c.late(address, err)
	}
	return fmt.Errorf("no Caddy answers at %s: start one, or name its admin address with --address: %w", address, err)
}

// unreadable is an error of an answer that could not be taken in.
func (c *Client) unreadable(address string, err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("the answer of Caddy at %s has more than %d MiB: ask for less of it: %w", address, large.Limit>>20, err)
	case errors.Is(err, context.DeadlineExceeded):
		return c.late(address, err)
	}
	return fmt.Errorf("reading the answer of Caddy at %s: %w", address, err)
}

func (c *Client) late(address string, err error) error {
	return fmt.Errorf("the Caddy at %s did not answer within %v: give it longer with --timeout, or see what holds it up: %w", address, c.timeout, err)
}
