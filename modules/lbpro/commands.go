package lbpro

import (
	"fmt"
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/manifest"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "lbpro",
		Usage: "<command>",
		Short: "Shows and operates Load Balancer Pro",
		Long: `
Shows the pools of a running Caddy with their backends, takes backends out and
puts them back, and has a demonstration that needs nothing but this program.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs // what is no command is an error
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(statusCommand(), buildFlagsCommand(), demoCommand())
			cmd.AddCommand(operateCommands()...)
		},
	})
}

// buildFlagsCommand prints what xcaddy has to be told to build this program.
func buildFlagsCommand() *cobra.Command {
	var file, local string
	var lines bool
	cmd := &cobra.Command{
		Use:   "build-flags [--local DIR] [--lines] [--manifest FILE]",
		Short: "Prints the arguments for `xcaddy build` that give this program",
		Long: `
Prints the arguments for "xcaddy build" that xcaddy.json stands for: the version of
Caddy and every module with its version.

	eval "xcaddy build $(caddy lbpro build-flags)"

With --local a checkout of the repository stands in for the published module. With
--lines every argument is on a line of its own and nothing is quoted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := manifest.Built()
			if file != "" {
				var text []byte
				if text, err = os.ReadFile(file); err != nil {
					return fmt.Errorf("reading the manifest: %w", err)
				}
				m, err = manifest.Parse(text)
			}
			if err != nil {
				return err
			}
			flags, err := m.Flags(local)
			if err != nil {
				return err
			}
			if !lines {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), manifest.Line(flags))
				return err
			}
			for _, f := range flags {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), f); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "manifest", "", "Read this xcaddy.json instead of the one built in")
	cmd.Flags().StringVar(&local, "local", "", "Use this checkout in place of the published module")
	cmd.Flags().BoolVar(&lines, "lines", false, "One argument per line, unquoted")
	return cmd
}
