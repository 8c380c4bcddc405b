package flowmaster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// maskFlag is how many bits of addresses are kept, such as 24,48; nil keeps all.
type maskFlag struct{ mask *flow.Mask }

// Set implements pflag.Value.
func (m *maskFlag) Set(s string) error {
	four, six, ok := strings.Cut(s, ",")
	v4, err4 := strconv.ParseUint(four, 10, 8)
	v6, err6 := strconv.ParseUint(six, 10, 8)
	if !ok || err4 != nil || err6 != nil || v4 > 32 || v6 > 128 {
		return fmt.Errorf("%q is no pair of prefix lengths such as 24,48", s)
	}
	m.mask = &flow.Mask{IPv4: uint8(v4), IPv6: uint8(v6)}
	return nil
}

// String implements pflag.Value.
func (m *maskFlag) String() string {
	if m.mask == nil {
		return ""
	}
	return fmt.Sprintf("%d,%d", m.mask.IPv4, m.mask.IPv6)
}

// Type implements pflag.Value.
func (*maskFlag) Type() string { return "bits,bits" }

// decodeCommand prints the records in files.
func decodeCommand() *cobra.Command {
	var mask maskFlag
	var port uint16
	cmd := &cobra.Command{
		Use:   "decode [--mask[=24,48]] [--port PORT] FILE...",
		Short: "Prints the records in recorded NetFlow, IPFIX and sFlow datagrams",
		Long: `
Prints every record in the files as one JSON object a line: flow records, option data
records (with "options": true) and sFlow counter samples (with "counters": true).

A file is a packet capture (pcap or pcapng), the payload of one UDP datagram, or IPFIX
messages one after another; - is the standard input. The files are read in order, as if one
exporter had sent them: templates in one serve those after it. Where a capture has several
exporters, each one's own templates go first. Addresses are printed as the datagrams hold
them, unless --mask is given.

What cannot be decoded is told on the standard error, and the exit status is 1 then; this
includes data whose template has not come before it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bar := terminal.NewProgress(cmd.ErrOrStderr())
			defer bar.Clear()
			if size := totalSize(args); size >= progressFrom {
				bar.ExpectBytes(size)
			}
			out := bufio.NewWriterSize(bar.Above(cmd.OutOrStdout()), 64<<10)
			r := &fileDecoder{
				decoder: decode.NewDecoder(decode.NewStore(fileLimits)),
				out:     out, errs: bar.Above(cmd.ErrOrStderr()), bar: bar,
				mask: mask.mask, port: port, started: time.Now(),
			}
			for _, name := range args {
				if err := r.file(cmd.InOrStdin(), name); err != nil {
					return errors.Join(err, out.Flush())
				}
			}
			if err := out.Flush(); err != nil {
				return err
			}
			return r.verdict()
		},
	}
	cmd.Flags().Var(&mask, "mask", "Keep only so many bits of IPv4 and IPv6 addresses")
	cmd.Flags().Lookup("mask").NoOptDefVal = fmt.Sprintf("%d,%d", flow.DefaultMask.IPv4, flow.DefaultMask.IPv6)
	cmd.Flags().Uint16Var(&port, "port", 0, "Of captures, only take datagrams to this UDP port")
	return cmd
}

// fileLimits are wider than a collector's: the files are what someone chose to look at.
var fileLimits = decode.Limits{Exporters: 1 << 16, Domains: 1 << 16, Templates: 1 << 16, Fields: 1 << 12, TemplateBytes: 256 << 20, Samplers: 1 << 16, TTL: -1}

// progressFrom is from which size on reading takes long enough to be shown.
const progressFrom = 4 << 20

// totalSize is how much there is to read as far as that can be told.
func totalSize(names []string) (n int64) {
	for _, name := range names {
		if s, err := os.Stat(name); err == nil && s.Mode().IsRegular() {
			n += s.Size()
		}
	}
	return n
}

// errorsShown is how many faults are told one by one.
const errorsShown = 100

// fileDecoder prints what is in files.
type fileDecoder struct {
	decoder *decode.Decoder
	out     *bufio.Writer
	errs    io.Writer
	bar     *terminal.Progress
	mask    *flow.Mask
	port    uint16
	started time.Time

	lines     []byte // of one datagram
	spare     []byte
	source    netip.Addr
	datagrams int
	faults    int
}

// file prints the records of one file. The error is one that makes going on useless:
// nothing can be read or written.
func (f *fileDecoder) file(stdin io.Reader, name string) error {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			f.fault("%v", err)
			return nil
		}
		defer file.Close()
		in = file
	}
	r, err := decode.NewFileReader(f.bar.Reader(in))
	if err != nil {
		f.fault("%s: %v", name, err)
		return nil
	}
	for n := 1; ; n++ {
		d, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.fault("%s: %v", name, err)
			break
		}
		if f.port != 0 && d.Destination.IsValid() && d.Destination.Port() != f.port {
			continue
		}
		where := name
		if r.Format() != "payload" {
			where = fmt.Sprintf("%s: datagram %d from %s", name, n, d.Source)
		}
		if err := f.datagram(where, d); err != nil {
			return err
		}
	}
	s := r.Skipped()
	if s.Truncated > 0 {
		f.fault("%s: the capture cut %d datagrams short: take whole packets (tcpdump -s 0)", name, s.Truncated)
	}
	if s.Fragments > 0 {
		f.fault("%s: %d fragments of IP packets were left out: not all parts of them are there", name, s.Fragments)
	}
	if s.UnknownLink > 0 {
		f.fault("%s: %d packets of a link layer that is not known", name, s.UnknownLink)
	}
	return nil
}

func (f *fileDecoder) datagram(where string, d decode.Datagram) error {
	f.datagrams++
	received := d.Received
	if received.IsZero() {
		received = f.started
	}
	f.source = d.Source.Addr()
	p := decode.Packet{Exporter: f.source, Received: received, Payload: d.Payload}
	res, err := f.visit(p)
	if f.source.IsValid() && (res.UnknownSets > 0 || res.Templates > 0 || res.Forgotten > 0) {
		// No address at all stands for all exporters: it has the templates of each,
		// for data that came from elsewhere than they did.
		own := f.lines
		f.lines, f.spare = f.spare, nil
		p.Exporter = netip.Addr{}
		all, allErr := f.visit(p)
		if all.UnknownSets < res.UnknownSets {
			res, err, own, f.lines = all, allErr, f.lines, own
		}
		f.lines, f.spare = own, f.lines
	}
	if _, err := f.out.Write(f.lines); err != nil {
		return err
	}
	switch {
	case err != nil:
		f.fault("%s: %v", where, err)
	case res.UnknownSets > 0 && res.Source == flow.SourceSFlow:
		f.fault("%s: samples of a format that is not known: %d, with %d octets", where, res.UnknownSets, res.UnknownOctets)
	case res.UnknownSets > 0:
		f.fault("%s: data sets whose template has not come yet: %d, with %d octets", where, res.UnknownSets, res.UnknownOctets)
	}
	return nil
}

// visit puts the records of a datagram into f.lines.
func (f *fileDecoder) visit(p decode.Packet) (decode.Result, error) {
	f.lines = f.lines[:0]
	return f.decoder.Visit(p, func(r *decode.DataRecord) {
		r.Exporter = f.source
		if f.mask != nil {
			r.Mask(f.mask.IPv4, f.mask.IPv6)
		}
		f.lines = append(r.AppendJSON(f.lines), '\n')
	})
}

// fault tells and counts one fault.
func (f *fileDecoder) fault(format string, args ...any) {
	f.faults++
	if f.faults <= errorsShown {
		fmt.Fprintf(f.errs, "%s\n", terminal.Printable(fmt.Sprintf(format, args...)))
	}
	if f.faults == errorsShown {
		fmt.Fprintln(f.errs, "further faults are only counted")
	}
}

func (f *fileDecoder) verdict() error {
	if f.faults == 0 {
		return nil
	}
	return fmt.Errorf("not everything could be decoded: faults: %d, datagrams: %d", f.faults, f.datagrams)
}
