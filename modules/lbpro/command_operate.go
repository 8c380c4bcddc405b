package lbpro

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

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
	admin := adminclient.New("lbpro")
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
			if err := admin.Post(cmd.Context(), uri, body, &answer); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), terminal.Printable(answer.Message))
			return err
		},
	}
	admin.AddFlags(cmd)
	return cmd
}
