package decode

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// plainSamples are such that sflowPlain decodes: each ends with two octets of frame that
// may be anything.
func plainSamples(t testing.TB) [][]byte {
	ethernet, vlan := "0200 0000 0001 0200 0000 0002 ", "8100 2064 "
	v4, v6 := "0800 4510 05dc 0001 4000 40%s 0000 0a01 0203 c633 6407 ", "86dd 6120 0000 0028 %s40 2001 0db8 0000 0000 0000 0000 0000 0001 2001 0db8 0000 0000 0000 0000 0000 0002 "
	tcp, udp := "01bb c350 0000 0001 0000 0002 5018 ffff 0000 0000", "0035 1f90 0020 0000"
	with := func(ip, protocol string) string {
		for i := 0; i+1 < len(ip); i++ {
			if ip[i:i+2] == "%s" {
				return ip[:i] + protocol + ip[i+2:]
			}
		}
		return ip
	}
	extended := func(records ...[]byte) []byte {
		return sized(sflowExpandedFlowSample, join(xdr(1, 0, 2, 512, 5120, 3, 0, 4, 0, 5, uint32(len(records))), join(records...)))
	}
	switched := sized(sflowExtendedSwitch, xdr(77, 0, 78, 0))
	var all [][]byte
	for _, text := range []string{
		ethernet + with(v4, "06") + tcp, ethernet + with(v4, "11") + udp, ethernet + with(v6, "06") + tcp, ethernet + with(v6, "11") + udp,
		ethernet + vlan + with(v4, "06") + tcp, ethernet + vlan + with(v6, "11") + udp,
	} {
		raw := rawHeader(sflowHeaderEthernet, 1518, unhex(t, text))
		all = append(all, flowSampleOf(3, raw), flowSampleOf(3, raw, switched), flowSampleOf(3, switched, raw), extended(raw), extended(raw, switched))
	}
	return all
}

// entered returns a decoder that is in the midst of a datagram.
func entered(t testing.TB, override uint32) *message {
	d := NewDecoder(NewStore(Limits{}))
	p := Packet{Exporter: netip.MustParseAddr("192.0.2.1"), Received: time.UnixMilli(1_700_000_000_000), Payload: sflowDatagram(sflowTCP4(t)), Sampling: override}
	if _, _, err := d.Decode(nil, p); err != nil {
		t.Fatal(err)
	}
	return &d.m
}

// The short way makes what the long one makes, of whatever it takes on: plain samples, and
// ones with octets changed and ends cut off.
func TestSFlowPlain(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	var plain, long *message
	taken, tried := 0, 0
	try := func(sample []byte) (done bool) {
		if tried%1000 == 0 { // new ones, before any limit is reached
			plain, long = entered(t, uint32(tried/1000%2*100)), entered(t, uint32(tried/1000%2*100))
		}
		tried++
		format, body, _, ok := sflowPart(sample)
		if !ok {
			return false
		}
		plain.out, long.out = plain.out[:0], long.out[:0]
		before, drops := plain.result, plain.exporter.counters
		done, err := plain.sflowPlain(format, body)
		if !done {
			if err != nil || len(plain.out) != 0 || plain.result != before || plain.exporter.counters != drops {
				t.Fatalf("%x was not taken on, but did something: %v", sample, err)
			}
			return false
		}
		longErr := long.sflowFlow(&reader{b: body}, format == sflowExpandedFlowSample)
		if err != nil || longErr != nil || len(plain.out) != 1 || len(long.out) != 1 || plain.out[0] != long.out[0] {
			t.Fatalf("%x:\nthe short way: %+v, %v\nthe long one:  %+v, %v", sample, plain.out, err, long.out, longErr)
		}
		if plain.exporter.counters.AgentDrops != long.exporter.counters.AgentDrops {
			t.Fatalf("%x: drops are %d and %d", sample, plain.exporter.counters.AgentDrops, long.exporter.counters.AgentDrops)
		}
		// The two must stay alike: what the short way leaves, both leave.
		long.result = plain.result
		return true
	}
	all := plainSamples(t)
	for _, sample := range all {
		if !try(sample) {
			t.Errorf("%x is not taken on", sample)
		}
		for n := range sample {
			try(sample[:n])
		}
	}
	for range 200_000 {
		sample := append([]byte(nil), all[random.IntN(len(all))]...)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(sample))
			switch random.IntN(3) {
			case 0:
				sample[at] = byte(random.IntN(256))
			case 1:
				sample[at] ^= 1 << random.IntN(8)
			default: // a length
				at &^= 3
				binary.BigEndian.PutUint32(sample[at:], binary.BigEndian.Uint32(sample[at:])+uint32(random.IntN(9))-4)
			}
		}
		if try(sample) {
			taken++
		}
	}
	if taken < 20_000 {
		t.Errorf("only %d of 200,000 changed samples were taken on: this shows little", taken)
	}
}

// What has to be left to the long way is.
func TestSFlowPlainLeaves(t *testing.T) {
	m := entered(t, 0)
	for name, text := range map[string]string{
		"options":    "0200 0000 0001 0200 0000 0002 0800 4610 05dc 0001 4000 4006 0000 0a01 0203 c633 6407 0101 0101 01bb c350 0000 0001 0000 0002 5018 ffff",
		"a fragment": "0200 0000 0001 0200 0000 0002 0800 4510 05dc 0001 0010 4006 0000 0a01 0203 c633 6407 01bb c350 0000 0001 0000 0002 5018 ffff",
		"two VLANs":  "0200 0000 0001 0200 0000 0002 8100 0001 8100 0002 0800 4510 05dc 0001 4000 4006 0000 0a01 0203 c633 6407 01bb c350 0000 0001 0000 0002 5018 ffff",
		"no length":  "0200 0000 0001 0200 0000 0002 0800 4510 0000 0001 4000 4006 0000 0a01 0203 c633 6407 01bb c350 0000 0001 0000 0002 5018 ffff",
		"ICMP":       "0200 0000 0001 0200 0000 0002 0800 4510 05dc 0001 4000 4001 0000 0a01 0203 c633 6407 0800 0000 0000 0001",
		"ARP":        "0200 0000 0001 0200 0000 0002 0806 0001 0800 0604 0001 0200 0000 0001 0a01 0203",
	} {
		format, body, _, _ := sflowPart(flowSampleOf(0, rawHeader(sflowHeaderEthernet, 1518, unhex(t, text))))
		if done, err := m.sflowPlain(format, body); done || err != nil {
			t.Errorf("%s: done %v, %v", name, done, err)
		}
	}
}
