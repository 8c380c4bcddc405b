package analytics

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "analytics",
		Usage: "<command>",
		Short: "Shows and uses the Analytics Engine",
		Long: `
Finds which signals move together, which of two comes first and how sure that is,
in a file of measurements; shows what a running Caddy collects, and checks that it does.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs // what is no command is an error
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(correlateCommand(), statusCommand(), checkCommand())
		},
	})
}
