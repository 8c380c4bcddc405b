package flowmaster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

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

// get asks for a resource and decodes the answer into v.
func (a *adminClient) get(uri string, v any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(a.address, nil, a.config, a.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin API: %w", err)
	}
	res, err := caddycmd.AdminAPIRequest(address, http.MethodGet, uri, http.Header{"Connection": {"close"}}, nil)
	if err != nil {
		return adminError(address, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, adminAnswerMost)).Decode(v); err != nil {
		return fmt.Errorf("reading the answer of Caddy at %s: %w", address, err)
	}
	return nil
}

// print shows what the admin API says about uri, as it stands.
func (a *adminClient) print(out io.Writer, uri string) error {
	var raw json.RawMessage
	if err := a.get(uri, &raw); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(raw)
}

// adminError says what to do about an error of AdminAPIRequest, which has no types.
func adminError(address string, err error) error {
	text, answered := strings.CutPrefix(err.Error(), "caddy responded with error: HTTP ")
	if !answered {
		return fmt.Errorf("no Caddy answers at %s: start one, or name its admin address with --address: %w", address, err)
	}
	code, text, _ := strings.Cut(text, ": ")
	var e struct {
		Error string `json:"error"`
	}
	switch {
	case json.Unmarshal([]byte(text), &e) == nil && e.Error != "":
		return errors.New(oneLine(e.Error))
	case code == strconv.Itoa(http.StatusNotFound):
		return fmt.Errorf("the Caddy at %s was built without flowmaster", address)
	}
	return fmt.Errorf("the Caddy at %s answered %s: %s", address, code, oneLine(strings.TrimSpace(text)))
}
