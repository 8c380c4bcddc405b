package lbpro

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// demoOptions are the flags of the demonstration.
type demoOptions struct {
	duration            time.Duration // 0: until the context ends
	rate                float64       // requests a second, to each side
	httpPort, adminPort int           // 0: any free port
	apiPort             int           // of the analytics, the same
	stock               bool          // run stock reverse_proxy beside it
}

const (
	demoRate     = 200
	demoRateMost = 5000
	// demoFrame is the time between two frames on a terminal, demoLine between two
	// reports elsewhere.
	demoFrame = 250 * time.Millisecond
	demoLine  = 2 * time.Second
)

// demoCommand shows what the balancer does, with nothing but this process.
func demoCommand() *cobra.Command {
	o := demoOptions{rate: demoRate, stock: true}
	var length durationFlag
	cmd := &cobra.Command{
		Use:   "demo [--duration D] [--rate N] [--http-port P] [--admin-port P] [--api-port P]",
		Short: "Shows the balancer at work: backends, one misbehaving, load, and a live table",
		Long: `
Starts four backends, one of which misbehaves on a schedule, Caddy with the handler
lbpro before them, and a load, and shows in a live table what becomes of it. Beside
it the same load goes through stock reverse_proxy to four backends that misbehave in
the same way. Where the build has them, flowmaster and analytics watch, and their API
answers. All of it runs in this process on loopback, without root, and ends with
Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.duration = time.Duration(length)
			if err := o.validate(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return runDemo(ctx, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().Var(&length, "duration", "How long to run, such as 90s; without it until Ctrl-C")
	cmd.Flags().Float64Var(&o.rate, "rate", o.rate, "Requests a second to each side")
	cmd.Flags().IntVar(&o.httpPort, "http-port", 0, "Port of the balancer; 0 takes a free one")
	cmd.Flags().IntVar(&o.adminPort, "admin-port", 0, "Port of the admin API; 0 takes a free one")
	cmd.Flags().IntVar(&o.apiPort, "api-port", 0, "Port of the analytics API, in a build that has it; 0 takes a free one")
	cmd.Flags().BoolVar(&o.stock, "stock", o.stock, "Also run stock reverse_proxy, for comparison")
	return cmd
}

func (o demoOptions) validate() error {
	if !(o.rate >= 1 && o.rate <= demoRateMost) {
		return fmt.Errorf("--rate is %v: it must be from 1 to %d requests a second", o.rate, demoRateMost)
	}
	for name, p := range map[string]int{"--http-port": o.httpPort, "--admin-port": o.adminPort, "--api-port": o.apiPort} {
		if p < 0 || p > 65535 {
			return fmt.Errorf("%s is %d: it must be from 1 to 65535, or 0 for a free port", name, p)
		}
	}
	return nil
}

// runDemo runs the demonstration until ctx ends or its time is over, which is no error.
func runDemo(ctx context.Context, o demoOptions, out io.Writer) (err error) {
	world, err := startDemoWorld(o)
	if err != nil {
		return err
	}
	defer func() {
		if e := world.stop(); err == nil {
			err = e
		}
	}()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}

	began := time.Now()
	play := newDemoPlay(world.victims(), began)
	view := newDemoView(o, world, play, began)
	var workers sync.WaitGroup
	workers.Go(func() { play.run(ctx) })
	for _, s := range world.sides {
		workers.Go(func() { s.crowd.run(ctx, o.rate, began) })
	}
	defer workers.Wait()

	s := newScreen(out)
	frame := demoFrame
	if !s.live {
		frame = demoLine
	}
	if !s.live {
		s.print(view.addresses(0))
	}
	s.open()
	err = every(ctx, frame, func() error {
		view.look(time.Now())
		if s.live {
			width, height := s.size()
			s.draw(view.frame(s.color, width, height))
		} else {
			s.draw(view.report())
		}
		return nil
	})
	s.close()
	workers.Wait()
	s.print(view.summary())
	return err
}
