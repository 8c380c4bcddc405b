package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminClient asks the admin API of a running Caddy. It is found as other commands of
// Caddy find it.
type adminClient struct{ address, config, adapter string }

func (a *adminClient) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.address, "address", "", "The address of Caddy's admin API, if not the default")
	cmd.Flags().StringVarP(&a.config, "config", "c", "", "The configuration file to take that address from")
	cmd.Flags().StringVarP(&a.adapter, "adapter", "a", "", "The adapter of that file, if it is not JSON")
}

// adminAnswerMost bounds an answer of the admin API.
const adminAnswerMost = 256 << 20

// adminFailure is an answer that is an error, or no answer.
type adminFailure struct {
	status int // 0 if nobody answered
	text   string
}

func (f *adminFailure) Error() string { return f.text }

// get asks for a resource and decodes the answer into v.
func (a *adminClient) get(uri string, v any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(a.address, nil, a.config, a.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin API: %w", err)
	}
	res, err := caddycmd.AdminAPIRequest(address, http.MethodGet, uri, http.Header{"Connection": {"close"}}, nil)
	if err != nil {
		return newAdminFailure(address, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, adminAnswerMost)).Decode(v); err != nil {
		return fmt.Errorf("reading the answer of Caddy at %s: %w", address, err)
	}
	return nil
}

// newAdminFailure reads an error of AdminAPIRequest, which has no types.
func newAdminFailure(address string, err error) error {
	text, answered := strings.CutPrefix(err.Error(), "caddy responded with error: HTTP ")
	if !answered {
		return &adminFailure{0, fmt.Sprintf("no Caddy answers at %s: start one, or name its admin address with --address: %v", address, err)}
	}
	code, text, _ := strings.Cut(text, ": ")
	status, convErr := strconv.Atoi(code)
	if convErr != nil {
		return err
	}
	var e struct {
		Error string `json:"error"`
	}
	switch {
	case json.Unmarshal([]byte(text), &e) == nil && e.Error != "":
		text = e.Error
	case status == http.StatusNotFound:
		text = fmt.Sprintf("the Caddy at %s was built without analytics", address)
	default:
		text = fmt.Sprintf("the Caddy at %s answered %s: %s", address, code, strings.TrimSpace(text))
	}
	return &adminFailure{status, safeText(text)}
}

// withoutAnalytics reports whether the Caddy that answered does not have the module.
func withoutAnalytics(err error) bool {
	var f *adminFailure
	return errors.As(err, &f) && f.status == http.StatusNotFound
}

// safeText makes text safe for a terminal: what it shows came from elsewhere.
func safeText(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
