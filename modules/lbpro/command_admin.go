package lbpro

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// request sends a request with body, if it is not nil, and decodes the answer into v.
func (a *adminClient) request(method, uri string, body, v any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(a.address, nil, a.config, a.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin API: %w", err)
	}
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		text = bytes.NewReader(b)
	}
	res, err := caddycmd.AdminAPIRequest(address, method, uri, http.Header{"Connection": {"close"}}, text)
	if err != nil {
		return adminError(address, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, adminAnswerMost)).Decode(v); err != nil {
		return fmt.Errorf("reading the answer of Caddy at %s: %w", address, err)
	}
	return nil
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
		return errors.New(printable(e.Error))
	case code == strconv.Itoa(http.StatusNotFound):
		return fmt.Errorf("the Caddy at %s was built without lbpro", address)
	}
	return fmt.Errorf("the Caddy at %s answered %s: %s", address, code, printable(strings.TrimSpace(text)))
}

// operateCommands are the operator's actions.
func operateCommands() []*cobra.Command {
	var reason string
	var deadline, duration durationFlag
	var force, clear bool

	drain := operateCommand("drain POOL BACKEND", "Lets a backend take no new requests", func(*cobra.Command, []string) (any, error) {
		return withSeconds(map[string]any{"reason": reason}, "deadline_seconds", deadline), nil
	})
	drain.Flags().Var(&deadline, "deadline", "Keep sticky sessions on the backend for this long, such as 5m")
	drain.Flags().StringVar(&reason, "reason", "", "Why, for those who look at it")

	undrain := operateCommand("undrain POOL BACKEND", "Ends a drain", noBody)

	weight := operateCommand("weight POOL BACKEND (WEIGHT | --clear)", "Sets a backend's weight in place of the configured one", func(_ *cobra.Command, args []string) (any, error) {
		switch {
		case clear == (len(args) == 1):
			return nil, errors.New("give either a weight or --clear")
		case clear:
			return map[string]any{"clear": true}, nil
		}
		w, err := strconv.ParseFloat(args[0], 64)
		if err != nil {
			return nil, fmt.Errorf("weight is %q: it must be a number from 0 to 1000000", args[0])
		}
		return map[string]any{"weight": w}, nil
	})
	weight.Args = cobra.RangeArgs(2, 3)
	weight.Flags().BoolVar(&clear, "clear", false, "Put the configured weight back in force")

	eject := operateCommand("eject POOL BACKEND", "Takes a backend out, for a time or until it is restored", func(*cobra.Command, []string) (any, error) {
		return withSeconds(map[string]any{"reason": reason, "force": force}, "duration_seconds", duration), nil
	})
	eject.Flags().Var(&duration, "duration", "For how long, such as 5m; without it until restored")
	eject.Flags().StringVar(&reason, "reason", "", "Why, for those who look at it")
	eject.Flags().BoolVar(&force, "force", false, "Also when no other backend can serve")

	restore := operateCommand("restore POOL BACKEND", "Ends an ejection", noBody)
	return []*cobra.Command{drain, undrain, weight, eject, restore}
}

func noBody(*cobra.Command, []string) (any, error) { return struct{}{}, nil }

func withSeconds(body map[string]any, name string, d durationFlag) map[string]any {
	if d > 0 {
		body[name] = float64(d) / 1e9
	}
	return body
}

// operateCommand makes the command of one action. makeBody gets the arguments after
// POOL and BACKEND.
func operateCommand(use, short string, makeBody func(*cobra.Command, []string) (any, error)) *cobra.Command {
	var admin adminClient
	name, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := makeBody(cmd, args[2:])
			if err != nil {
				return err
			}
			var answer struct{ Message string }
			uri := "/lbpro/pools/" + url.PathEscape(args[0]) + "/backends/" + url.PathEscape(args[1]) + "/" + name
			if err := admin.request(http.MethodPost, uri, body, &answer); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(answer.Message))
			return err
		},
	}
	admin.addFlags(cmd)
	return cmd
}
