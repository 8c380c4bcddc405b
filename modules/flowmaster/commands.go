package flowmaster

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "flowmaster",
		Usage: "<command>",
		Short: "Shows network flows, and decodes recorded ones",
		Long: `
Shows what Network Flow Master knows in a running Caddy, and decodes NetFlow, IPFIX
and sFlow datagrams from files.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs // what is no command is an error
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(subcommands()...)
		},
	})
}

func subcommands() []*cobra.Command {
	return []*cobra.Command{statusCommand(), topCommand(), decodeCommand()}
}
