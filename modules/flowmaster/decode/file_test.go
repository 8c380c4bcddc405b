package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

type appendOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// udp4 is an IPv4 packet with a UDP datagram from 192.0.2.7:2055 to
// 198.51.100.1:9995.
func udp4(payload []byte) []byte {
	b := join(words(0x4500, 28+len(payload), 1, 0, 0x4011, 0), []byte{192, 0, 2, 7, 198, 51, 100, 1})
	return join(b, words(2055, 9995, 8+len(payload), 0), payload)
}

func udp6(payload []byte) []byte {
	b := join(words(0x6000, 0, 8+len(payload), 0x1140), words(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), words(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))
	return join(b, words(2055, 9995, 8+len(payload), 0), payload)
}

func ethernet(etherType int, b []byte) []byte { return join(make([]byte, 12), words(etherType), b) }

func pcapFile(order appendOrder, magic, link uint32, packets ...[]byte) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	for _, v := range []uint32{0, 0, 262144, link} {
		b = order.AppendUint32(b, v)
	}
	for _, p := range packets {
		for _, v := range []uint32{1_700_000_000, 250, uint32(len(p)), uint32(len(p))} {
			b = order.AppendUint32(b, v)
		}
		b = append(b, p...)
	}
	return b
}

func block(order appendOrder, kind uint32, body []byte) []byte {
	body = append(body, make([]byte, -len(body)&3)...)
	n := uint32(len(body) + 12)
	return order.AppendUint32(append(order.AppendUint32(order.AppendUint32(nil, kind), n), body...), n)
}

func pcapngSectionOf(order appendOrder, blocks ...[]byte) []byte {
	head := order.AppendUint32(nil, pcapngByteOrder)
	head = order.AppendUint16(order.AppendUint16(head, 1), 0)
	return append(block(order, pcapngSection, append(head, bytes.Repeat([]byte{0xff}, 8)...)), join(blocks...)...)
}

func interfaceBlock(order appendOrder, link uint16, options ...byte) []byte {
	b := order.AppendUint16(nil, link)
	b = order.AppendUint16(b, 0)
	b = order.AppendUint32(b, 0)
	return block(order, pcapngInterface, append(b, options...))
}

func enhancedPacket(order appendOrder, iface uint32, units uint64, packet []byte) []byte {
	var b []byte
	for _, v := range []uint32{iface, uint32(units >> 32), uint32(units), uint32(len(packet)), uint32(len(packet))} {
		b = order.AppendUint32(b, v)
	}
	return block(order, pcapngEnhanced, append(b, packet...))
}

func readFile(b []byte) (all []Datagram, skipped SkippedPackets, err error) {
	f, err := NewFileReader(bytes.NewReader(b))
	if err != nil {
		return nil, SkippedPackets{}, err
	}
	for {
		d, err := f.Next()
		if errors.Is(err, io.EOF) {
			return all, f.Skipped(), nil
		}
		if err != nil {
			return all, f.Skipped(), err
		}
		d.Payload = bytes.Clone(d.Payload)
		all = append(all, d)
	}
}

var littleEndian, bigEndian appendOrder = binary.LittleEndian, binary.BigEndian

func TestReadCaptures(t *testing.T) {
	payload := []byte("a datagram!")
	micro, nano := time.Unix(1_700_000_000, 250_000).UTC(), time.Unix(1_700_000_000, 250).UTC()
	units := func(perSecond uint64) uint64 { return 1_700_000_000*perSecond + perSecond/4 }
	quarter := time.Unix(1_700_000_000, 250_000_000).UTC()
	for name, c := range map[string]struct {
		file []byte
		at   time.Time
	}{
		"pcap, little-endian":   {pcapFile(littleEndian, pcapMicroseconds, linkEthernet, ethernet(etherTypeIPv4, udp4(payload))), micro},
		"pcap, big-endian":      {pcapFile(bigEndian, pcapMicroseconds, linkEthernet, ethernet(etherTypeIPv4, udp4(payload))), micro},
		"pcap, nanoseconds":     {pcapFile(littleEndian, pcapNanoseconds, linkEthernet, ethernet(etherTypeIPv4, udp4(payload))), nano},
		"padded frame":          {pcapFile(littleEndian, pcapMicroseconds, linkEthernet, append(ethernet(etherTypeIPv4, udp4(payload)), 0, 0, 0)), micro},
		"VLAN":                  {pcapFile(littleEndian, pcapMicroseconds, linkEthernet, ethernet(etherTypeVlan, join(words(5, etherTypeIPv4), udp4(payload)))), micro},
		"two VLAN tags":         {pcapFile(littleEndian, pcapMicroseconds, linkEthernet, ethernet(etherTypeQinQ, join(words(5, etherTypeVlan, 6, etherTypeIPv4), udp4(payload)))), micro},
		"raw IP":                {pcapFile(littleEndian, pcapMicroseconds, linkRaw, udp4(payload)), micro},
		"loopback":              {pcapFile(littleEndian, pcapMicroseconds, linkNull, join([]byte{2, 0, 0, 0}, udp4(payload))), micro},
		"cooked":                {pcapFile(littleEndian, pcapMicroseconds, linkSLL, join(make([]byte, 14), words(etherTypeIPv4), udp4(payload))), micro},
		"PPP":                   {pcapFile(littleEndian, pcapMicroseconds, linkPPP, join([]byte{0xff, 3, 0, 0x21}, udp4(payload))), micro},
		"PPP, compressed":       {pcapFile(littleEndian, pcapMicroseconds, linkPPPHDLC, join([]byte{0x21}, udp4(payload))), micro},
		"Cisco HDLC":            {pcapFile(littleEndian, pcapMicroseconds, linkCHDLC, join([]byte{0x0f, 0}, words(etherTypeIPv4), udp4(payload))), micro},
		"cooked v2":             {pcapFile(littleEndian, pcapMicroseconds, linkSLL2, join(words(etherTypeIPv4), make([]byte, 18), udp4(payload))), micro},
		"with a checksum flag":  {pcapFile(littleEndian, pcapMicroseconds, 0x04000000|linkRaw, udp4(payload)), micro},
		"pcapng, little-endian": {pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkRaw), enhancedPacket(littleEndian, 0, units(1e6), udp4(payload))), quarter},
		"pcapng, big-endian":    {pcapngSectionOf(bigEndian, interfaceBlock(bigEndian, linkRaw), enhancedPacket(bigEndian, 0, units(1e6), udp4(payload))), quarter},
		"pcapng, nanoseconds":   {pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkRaw, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0), enhancedPacket(littleEndian, 0, units(1e9), udp4(payload))), quarter},
		"pcapng, powers of two": {pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkRaw, 9, 0, 1, 0, 0x80|20, 0, 0, 0), enhancedPacket(littleEndian, 0, units(1<<20), udp4(payload))), quarter},
		"pcapng, the second interface, a block in between": {pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkEthernet), interfaceBlock(littleEndian, linkRaw),
			block(littleEndian, 0xbad, make([]byte, 100)), enhancedPacket(littleEndian, 1, units(1e6), udp4(payload))), quarter},
		"pcapng, the second section": {join(pcapngSectionOf(bigEndian, interfaceBlock(bigEndian, linkEthernet)),
			pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkRaw), enhancedPacket(littleEndian, 0, units(1e6), udp4(payload)))), quarter},
		"pcapng, a simple packet": {pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkRaw),
			block(littleEndian, pcapngSimple, join(littleEndian.AppendUint32(nil, uint32(28+len(payload))), udp4(payload)))), time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			all, skipped, err := readFile(c.file)
			if err != nil || len(all) != 1 || skipped != (SkippedPackets{}) {
				t.Fatalf("%d datagrams, %+v, %v", len(all), skipped, err)
			}
			d := all[0]
			if !bytes.Equal(d.Payload, payload) || d.Source.String() != "192.0.2.7:2055" || d.Destination.String() != "198.51.100.1:9995" {
				t.Errorf("%q from %v to %v", d.Payload, d.Source, d.Destination)
			}
			if !d.Received.Equal(c.at) {
				t.Errorf("at %v, want %v", d.Received, c.at)
			}
		})
	}
	all, _, err := readFile(pcapFile(littleEndian, pcapMicroseconds, linkEthernet, ethernet(etherTypeIPv6, udp6(payload))))
	if err != nil || len(all) != 1 || all[0].Source.String() != "[2001:db8::7]:2055" || !bytes.Equal(all[0].Payload, payload) {
		t.Errorf("IPv6: %+v, %v", all, err)
	}
}

func TestReadSkips(t *testing.T) {
	tcp := udp4([]byte("x"))
	tcp[9] = protocolTCP
	first := udp4([]byte("x"))
	first[6] = 0x20
	later := udp4([]byte("x"))
	later[7] = 9
	all, skipped, err := readFile(pcapFile(littleEndian, pcapMicroseconds, linkRaw,
		tcp, first, later, udp4([]byte("kept")), udp4([]byte("cut short"))[:30], udp4([]byte("its header too"))[:24], []byte{1, 2}, nil))
	if err != nil || len(all) != 1 || string(all[0].Payload) != "kept" {
		t.Errorf("%d datagrams, %v", len(all), err)
	}
	if want := (SkippedPackets{NotUDP: 3, Fragments: 2, Truncated: 2}); skipped != want {
		t.Errorf("%+v, want %+v", skipped, want)
	}
	if _, skipped, err = readFile(pcapFile(littleEndian, pcapMicroseconds, 9999, udp4(nil))); err != nil || skipped != (SkippedPackets{UnknownLink: 1}) {
		t.Errorf("unknown link layer: %+v, %v", skipped, err)
	}
}

func TestReadPayload(t *testing.T) {
	for _, b := range [][]byte{{}, {1}, []byte("any octets"), make([]byte, maxDatagram)} {
		f, err := NewFileReader(bytes.NewReader(b))
		if err != nil || f.Format() != "payload" {
			t.Fatal(f, err)
		}
		d, err := f.Next()
		if err != nil || !bytes.Equal(d.Payload, b) || d.Source.IsValid() || !d.Received.IsZero() {
			t.Errorf("%d octets became %d, %v", len(b), len(d.Payload), err)
		}
		if _, err = f.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("second datagram: %v", err)
		}
	}
	if _, _, err := readFile(make([]byte, maxDatagram+1)); !errors.Is(err, ErrCapture) {
		t.Errorf("too long: %v", err)
	}
}

// A file of IPFIX messages (RFC 5655) is read to its end.
func TestReadMessages(t *testing.T) {
	one, two := words(10, 20, 0, 1, 0, 2, 0, 3, 2, 4), words(10, 16, 0, 1, 0, 2, 0, 3)
	for name, c := range map[string]struct {
		file []byte
		want int
	}{
		"two":                    {join(one, two), 2},
		"padded":                 {join(one, make([]byte, 40)), 1},
		"with something behind":  {join(one, two, []byte{1}), 3},
		"a length of less":       {join(one, words(10, 3, 0, 0)), 2},
		"the last one cut short": {join(one, two[:10]), 2},
		"more than a datagram":   {bytes.Repeat(one, 1<<13), 1 << 13},
	} {
		all, _, err := readFile(c.file)
		if err != nil || len(all) != c.want || !bytes.Equal(all[0].Payload, one) {
			t.Errorf("%s: %d messages, %v", name, len(all), err)
		}
	}
}

// cut4 makes fragments of an IPv4 packet, at these offsets of its payload.
func cut4(packet []byte, at ...int) (parts [][]byte) {
	body := packet[20:]
	for i, from := range at {
		to, more := len(body), 0
		if i+1 < len(at) {
			to, more = at[i+1], 0x2000
		}
		p := join(packet[:20], body[from:to])
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[6:], uint16(from/8|more))
		parts = append(parts, p)
	}
	return parts
}

// cut6 is cut4 for IPv6.
func cut6(packet []byte, at ...int) (parts [][]byte) {
	body := packet[40:]
	for i, from := range at {
		to, more := len(body), 0
		if i+1 < len(at) {
			to, more = at[i+1], 1
		}
		p := join(packet[:40], words(protocolUDP<<8, from|more, 0, 77), body[from:to])
		p[6] = 44
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		parts = append(parts, p)
	}
	return parts
}

func TestReadFragments(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 20)
	four, six := cut4(udp4(payload), 0, 64, 160), cut6(udp6(payload), 0, 64, 160)
	other := cut4(udp4(bytes.ToUpper(payload)), 0, 64)
	for _, p := range other {
		p[5] = 9 // another identification
	}
	overlap := cut4(udp4(payload), 0, 56)[1]
	tcp := cut4(udp4(payload), 0, 64)
	for _, p := range tcp {
		p[9] = protocolTCP
	}
	for name, c := range map[string]struct {
		packets [][]byte
		want    int
		skipped SkippedPackets
	}{
		"in order":              {four, 1, SkippedPackets{}},
		"in reverse":            {[][]byte{four[2], four[1], four[0]}, 1, SkippedPackets{}},
		"twice":                 {[][]byte{four[0], four[0], four[1], four[2]}, 1, SkippedPackets{}},
		"among others":          {[][]byte{four[0], other[0], four[2], other[1], udp4(payload), four[1]}, 3, SkippedPackets{}},
		"IPv6":                  {[][]byte{six[1], six[0], six[2]}, 1, SkippedPackets{}},
		"a padded frame":        {[][]byte{four[0], four[1], append(bytes.Clone(four[2]), 0, 0)}, 1, SkippedPackets{}},
		"one missing":           {[][]byte{four[0], four[2]}, 0, SkippedPackets{Fragments: 2}},
		"overlapping":           {[][]byte{four[0], overlap, four[1]}, 0, SkippedPackets{Fragments: 3}},
		"cut short":             {[][]byte{four[0], four[1][:70], four[2]}, 0, SkippedPackets{Fragments: 3}},
		"shorter than a header": {[][]byte{join(four[0][:2], []byte{0, 8}, four[0][4:])}, 0, SkippedPackets{Fragments: 1}},
		"of something else":     {tcp, 0, SkippedPackets{NotUDP: 1}},
		"beyond the last part":  {[][]byte{four[2], cut4(udp4(append(payload, payload...)), 0, 240)[1]}, 0, SkippedPackets{Fragments: 2}},
	} {
		all, skipped, err := readFile(pcapFile(littleEndian, pcapMicroseconds, linkRaw, c.packets...))
		if err != nil || len(all) != c.want || skipped != c.skipped {
			t.Errorf("%s: %d datagrams, %+v, %v", name, len(all), skipped, err)
			continue
		}
		for _, d := range all {
			if !bytes.EqualFold(d.Payload, payload) || d.Source.Port() != 2055 {
				t.Errorf("%s: %q from %v", name, d.Payload, d.Source)
			}
		}
	}
}

// First fragments without end are given up, the oldest first.
func TestReadFragmentsIsBounded(t *testing.T) {
	const n = 3 * maxFragmented
	var f FileReader
	for i := range n {
		p := cut4(udp4(make([]byte, 2000)), 0, 1600)[0]
		binary.BigEndian.PutUint16(p[4:], uint16(i))
		f.datagram(linkRaw, p)
		if held := &f.fragments; len(held.packets) > maxFragmented || len(held.order) != len(held.packets) || held.octets > maxFragmentOctets {
			t.Fatalf("%d packets, %d octets", len(held.packets), held.octets)
		}
	}
	if got := f.Skipped().Fragments; got != n {
		t.Errorf("%d fragments of no use, want %d", got, n)
	}
	// The newest one is still there.
	last := cut4(udp4(make([]byte, 2000)), 0, 1600)[1]
	binary.BigEndian.PutUint16(last[4:], n-1)
	if d, ok := f.datagram(linkRaw, last); !ok || len(d.Payload) != 2000 {
		t.Errorf("%d octets, %v", len(d.Payload), ok)
	}
}

func TestReadFaults(t *testing.T) {
	packet := enhancedPacket(littleEndian, 0, 0, udp4(nil))
	iface := interfaceBlock(littleEndian, linkRaw)
	long := pcapFile(littleEndian, pcapMicroseconds, linkRaw, udp4(nil))
	binary.LittleEndian.PutUint32(long[24+8:], maxCaptured+1)
	lie := bytes.Clone(packet)
	binary.LittleEndian.PutUint32(lie[20:], 1000)
	short := bytes.Clone(packet)
	binary.LittleEndian.PutUint32(short[4:], 8)
	order := pcapngSectionOf(littleEndian, iface)
	order[8] = 0
	for name, b := range map[string][]byte{
		"a packet longer than any":          long,
		"a packet of no interface":          pcapngSectionOf(littleEndian, packet),
		"a simple packet of no interface":   pcapngSectionOf(littleEndian, block(littleEndian, pcapngSimple, words(0, 0))),
		"a packet longer than its block":    pcapngSectionOf(littleEndian, iface, lie),
		"a block shorter than its header":   pcapngSectionOf(littleEndian, iface, short),
		"a packet block too short for one":  pcapngSectionOf(littleEndian, iface, block(littleEndian, pcapngEnhanced, words(0))),
		"an interface block too short":      pcapngSectionOf(littleEndian, block(littleEndian, pcapngInterface, nil)),
		"a byte order of neither kind":      order,
		"a block of 4 GiB":                  pcapngSectionOf(littleEndian, iface, littleEndian.AppendUint32(littleEndian.AppendUint32(nil, pcapngEnhanced), 0xfffffffc)),
		"an unknown block of 4 GiB":         pcapngSectionOf(littleEndian, littleEndian.AppendUint32(littleEndian.AppendUint32(nil, 99), 0xfffffffc)),
		"a header and nothing":              long[:20],
		"more interfaces than there can be": pcapngSectionOf(littleEndian, bytes.Repeat(iface, maxInterfaces+1)),
	} {
		if all, _, err := readFile(b); !errors.Is(err, ErrCapture) || len(all) != 0 {
			t.Errorf("%s: %d datagrams, %v", name, len(all), err)
		}
	}
	for _, whole := range [][]byte{
		pcapFile(littleEndian, pcapMicroseconds, linkRaw, udp4([]byte("abc")), udp4([]byte("def"))),
		pcapngSectionOf(littleEndian, iface, enhancedPacket(littleEndian, 0, 0, udp4([]byte("abc"))), enhancedPacket(littleEndian, 0, 0, udp4([]byte("def")))),
	} {
		for n := 4; n < len(whole); n++ {
			all, _, err := readFile(whole[:n])
			if len(all) > 1 || err != nil && !errors.Is(err, ErrCapture) {
				t.Errorf("cut at %d of %d: %d datagrams, %v", n, len(whole), len(all), err)
			}
		}
	}
}

func FuzzFileReader(f *testing.F) {
	f.Add(pcapFile(littleEndian, pcapMicroseconds, linkEthernet, ethernet(etherTypeIPv4, udp4([]byte("abc")))))
	f.Add(pcapFile(bigEndian, pcapNanoseconds, linkSLL2, join(words(etherTypeIPv6), make([]byte, 18), udp6([]byte("abc")))))
	f.Add(pcapngSectionOf(littleEndian, interfaceBlock(littleEndian, linkRaw, 9, 0, 1, 0, 0x94, 0, 0, 0), enhancedPacket(littleEndian, 0, 1<<60, udp4([]byte("abc")))))
	f.Add(pcapngSectionOf(bigEndian, interfaceBlock(bigEndian, linkNull), block(bigEndian, pcapngSimple, make([]byte, 60))))
	f.Add(pcapFile(littleEndian, pcapMicroseconds, linkRaw, cut4(udp4(make([]byte, 80)), 0, 32, 64)...))
	f.Add(pcapFile(littleEndian, pcapMicroseconds, linkRaw, cut6(udp6(make([]byte, 80)), 0, 32, 64)...))
	f.Add(join(ipfixMessage(0, set(2, template4())), ipfixMessage(0, set(256, data4()))))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _, err := readFile(b)
		if err != nil && !errors.Is(err, ErrCapture) {
			t.Fatal(err)
		}
		total := 0
		for _, d := range all {
			total += len(d.Payload)
		}
		if total > len(b) {
			t.Fatalf("%d octets out of %d", total, len(b))
		}
	})
}
