package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/recordings"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// both decodes b both ways on fresh decoders and checks that they agree.
func both(t testing.TB, b []byte) (Result, error) {
	t.Helper()
	out, res, err := NewDecoder(NewStore(Limits{})).Decode(nil, packet(b))
	visited := 0
	res2, err2 := NewDecoder(NewStore(Limits{})).Visit(packet(b), func(*DataRecord) { visited++ })
	if errors.Is(err, ErrInternal) || errors.Is(err2, ErrInternal) {
		t.Fatalf("the decoder failed on %x: %v, %v", b, err, err2)
	}
	if res != res2 {
		t.Fatalf("Decode found %+v, Visit %+v", res, res2)
	}
	if visited != res.Records+res.OptionRecords+res.CounterSamples+res.DiscardedPackets || len(out) > res.Records {
		t.Fatalf("%d visited, %d appended, %+v", visited, len(out), res)
	}
	return res, err
}

// TestTemplateBombs: templates of which a record takes no octets make some
// collectors decode for ever.
func TestTemplateBombs(t *testing.T) {
	for name, b := range map[string][]byte{
		"36 octets, a field of length 0": ipfixMessage(0,
			set(2, words(256, 1, 8, 0)), set(256, []byte{1, 2, 3, 4})),
		"32 octets, no fields": ipfixMessage(0,
			set(2, words(256, 0)), set(256, []byte{1, 2, 3, 4})),
		"v9, a field of length 0":        netflow9Message(0, 2, set(0, words(256, 1, 8, 0)), set(256, []byte{1, 2, 3, 4})),
		"v9, no fields":                  netflow9Message(0, 2, set(0, words(256, 0)), set(256, []byte{1, 2, 3, 4})),
		"v9 options, no fields":          netflow9Message(0, 2, set(1, words(256, 0, 0)), set(256, []byte{1, 2, 3, 4})),
		"v9 options, fields of length 0": netflow9Message(0, 2, set(1, words(256, 4, 4, 1, 0, 34, 0)), set(256, []byte{1, 2, 3, 4})),
		"more scope than fields":         ipfixMessage(0, set(3, words(256, 1, 2, 34, 4)), set(256, []byte{1, 2, 3, 4})),
		"a record longer than any datagram": ipfixMessage(0,
			set(2, words(256, 2, 82, 0xfffe, 82, 0xfffe)), set(256, make([]byte, 100))),
	} {
		t.Run(name, func(t *testing.T) {
			res, err := both(t, b)
			if res.Records+res.OptionRecords != 0 || res.UnknownSets != 1 {
				t.Errorf("%+v, %v", res, err)
			}
			if name != "32 octets, no fields" && !errors.Is(err, ErrTemplate) {
				t.Errorf("error is %v", err) // there, it withdraws a template
			}
		})
	}
}

// TestRedefinitionDropsTemplate: data after a template that could not be
// taken must not be read by the one before.
func TestRedefinitionDropsTemplate(t *testing.T) {
	d := NewDecoder(NewStore(Limits{}))
	for _, b := range [][]byte{
		ipfixMessage(0, set(2, template4())),
		ipfixMessage(0, set(2, words(256, 1, 8, 0))),
	} {
		d.Decode(nil, packet(b))
	}
	_, res, err := d.Decode(nil, packet(ipfixMessage(0, set(256, data4()))))
	if err != nil || res.Records != 0 || res.UnknownSets != 1 || res.UnknownOctets != 16 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestNetFlow5Counts(t *testing.T) {
	message := func(count, records int, trailing ...byte) []byte {
		b := make([]byte, netflow5Header+records*netflow5Record)
		binary.BigEndian.PutUint16(b, 5)
		binary.BigEndian.PutUint16(b[2:], uint16(count))
		return append(b, trailing...)
	}
	for _, c := range []struct {
		name    string
		b       []byte
		records int
		want    error
	}{
		{"right", message(30, 30), 30, nil},
		{"padded", message(2, 2, 0, 0, 0, 0), 2, nil},
		{"another message behind", message(1, 1, message(1, 1)...), 1, nil},
		{"none", message(0, 1), 0, ErrLength},
		{"31", message(31, 31), 0, ErrLength},
		{"one too many", message(3, 2), 0, ErrLength},
		{"one too few", message(2, 3), 0, ErrLength},
		{"thousands", message(55582, 30), 0, ErrLength},
		{"header only", message(1, 0), 0, ErrLength},
		{"part of a header", message(1, 0)[:20], 0, ErrTruncated},
		{"recorded with a wrong count", fixture(t, "netflow5_test_invalid01.dat"), 0, ErrLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := both(t, c.b)
			if res.Records != c.records || !errors.Is(err, c.want) {
				t.Errorf("%d records, %v", res.Records, err)
			}
		})
	}
}

// What a v5 header says about its records is shown with each.
func TestNetFlow5Header(t *testing.T) {
	b := make([]byte, netflow5Header+netflow5Record)
	copy(b, words(5, 1, 0, 77))
	copy(b[20:], []byte{3, 4, 0x40 | 1, 0x2c}) // engine 3/4, sampling of mode 1, 1 in 300
	var got []byte
	if _, err := NewDecoder(NewStore(Limits{})).Visit(packet(b), func(r *DataRecord) { got = r.AppendJSON(nil) }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"engineType":3`, `"engineId":4`, `"samplingAlgorithm":1`, `"samplingInterval":300`, `"sysUpTime":77`, `"observationDomainId":772`} {
		if !bytes.Contains(got, []byte(want+",")) && !bytes.Contains(got, []byte(want+"}")) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestLengthLies(t *testing.T) {
	good := ipfixMessage(0, set(2, template4()), set(256, data4(), data4()))
	if res, err := both(t, good); err != nil || res.Records != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	change := func(at, value int) []byte {
		b := append([]byte(nil), good...)
		binary.BigEndian.PutUint16(b[at:], uint16(value))
		return b
	}
	template := ipfixHeader
	data := template + setHeader + 20
	for _, c := range []struct {
		name    string
		b       []byte
		records int
		want    error
	}{
		{"message longer than the datagram", change(2, len(good)+1), 0, ErrLength},
		{"message shorter than its header", change(2, 15), 0, ErrLength},
		{"message that ends in a set", change(2, len(good)-1), 0, ErrLength},
		{"set of no length", change(data+2, 0), 0, ErrLength},
		{"set past the end", change(data+2, 37), 0, ErrLength},
		{"set that ends in a record", change(data+2, 4+16+8), 1, ErrLength}, // the rest is no set
		{"message with something behind it", append(bytes.Clone(good), 0, 1), 2, ErrLength},
		{"message with padding behind it", append(bytes.Clone(good), 0, 0), 2, nil},
		{"set of a reserved ID", change(data, 255), 0, ErrLength},
		{"v9 set of a reserved ID", netflow9Message(0, 1, set(2, template4())), 0, ErrLength},
		{"set shorter than a record", ipfixMessage(0, set(2, template4()), set(256, data4()[:15]), set(256, data4())), 1, ErrTruncated},
		{"set of nothing but padding", ipfixMessage(0, set(2, template4()), set(256, make([]byte, 15)), set(256, data4())), 1, nil},
		{"padding that is not zero", ipfixMessage(0, set(2, template4()), set(256, data4(), data4()[:15])), 1, nil},
		{"half a set header", join(netflow9Message(0, 2, set(0, template4()), set(256, data4())), []byte{1, 2, 3}), 1, ErrTruncated},
		{"padding of half a set header", join(netflow9Message(0, 2, set(0, template4()), set(256, data4())), []byte{0, 0, 0}), 1, nil},
		{"a header with nothing behind it", netflow9Message(0, 2), 0, ErrTruncated},
		{"a header that promises nothing", netflow9Message(0, 0), 0, nil},
		{"template set of no length", change(template+2, 3), 0, ErrLength},
		{"template with more fields than its set", change(template+6, 5), 0, ErrTruncated},
		{"template with 65,535 fields", change(template+6, 65535), 0, ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := both(t, c.b)
			if res.Records != c.records || !errors.Is(err, c.want) {
				t.Errorf("%d records, %v", res.Records, err)
			}
		})
	}
}

// TestTruncation cuts every recording at every octet. None may fail the
// decoder or yield more than the whole.
func TestTruncation(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings.Need(t), "*.dat"))
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	for _, file := range files {
		b := fixture(t, filepath.Base(file))
		whole, _ := both(t, b)
		for n := range b {
			part, err := both(t, b[:n])
			if part.Records+part.OptionRecords > whole.Records+whole.OptionRecords {
				t.Errorf("%s cut at %d: %+v of %+v", filepath.Base(file), n, part, whole)
			}
			if n < 16 && err == nil {
				t.Errorf("%s cut at %d: no error", filepath.Base(file), n)
			}
		}
	}
}

func TestVariableLength(t *testing.T) {
	long := make([]byte, 300)
	template := set(2, words(256, 2, 82, 0xffff, 1, 4))
	for _, c := range []struct {
		name    string
		data    []byte
		records int
		want    error
	}{
		{"short form", join([]byte{3}, []byte("eth"), words(0, 9)), 1, nil},
		{"long form", join([]byte{255}, words(300), long, words(0, 9)), 1, nil},
		{"empty, and padding", join([]byte{0}, words(0, 9), []byte{0, 0, 0}), 1, nil},
		{"two", join([]byte{0}, words(0, 9), []byte{1, 'x'}, words(0, 9)), 2, nil},
		{"past the end", join([]byte{9}, []byte("eth"), words(0, 9)), 0, ErrTruncated},
		{"long form past the end", join([]byte{255}, words(65535), long), 0, ErrTruncated},
		{"long form cut", []byte{255, 1, 0, 0, 0, 0, 7}, 0, ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := both(t, ipfixMessage(0, template, set(256, c.data)))
			if res.Records != c.records || !errors.Is(err, c.want) {
				t.Errorf("%d records, %v", res.Records, err)
			}
		})
	}
}

// TestTooManyRecords: records of one octet in a datagram of 64 KiB.
func TestTooManyRecords(t *testing.T) {
	for name, field := range map[string]int{"fixed": 1, "variable": 0xffff} {
		b := ipfixMessage(0, set(2, words(256, 1, 1, field)), set(256, make([]byte, 65000)))
		res, err := both(t, b)
		if res.Records != maxRecords || !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %d records, %v", name, res.Records, err)
		}
	}
}

func TestLists(t *testing.T) {
	template := set(2, words(256, 1, 291, 0xffff), words(257, 1, 7, 2), words(258, 1, 292, 0xffff))
	list := func(kind int, body ...byte) []byte { // semantic, then the list
		return ipfixMessage(0, template, set(kind, []byte{byte(len(body))}, body))
	}
	nested := []byte{255, 0, 7, 0, 2, 1, 2} // basicList of ports
	for range maxListDepth {
		nested = append(append([]byte{255}, words(291, 0xffff)...), append([]byte{byte(len(nested))}, nested...)...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
		json string
	}{
		{"ports", list(256, 3, 0, 7, 0, 2, 0, 80, 1, 0xbb), nil, `[80,443]`},
		{"empty", list(256, 3, 0, 7, 0, 2), nil, `[]`},
		{"left empty", list(256), nil, `[]`},
		{"empty, of elements of no length", list(256, 255, 0, 7, 0, 0), nil, `[]`},
		{"strings", list(256, 3, 0, 82, 255, 255, 1, 'a', 2, 'b', 'c'), nil, `["a","bc"]`},
		{"an enterprise's", list(256, 3, 0x80, 1, 0, 1, 0, 0, 0x29, 0xd1, 5), nil, `["0x05"]`},
		{"elements of no length", list(256, 3, 0, 7, 0, 0, 1, 2), ErrList, ``},
		{"half an element", list(256, 3, 0, 7, 0, 2, 1), ErrTruncated, ``},
		{"cut", list(256, 3, 0, 7), ErrList, ``},
		{"no enterprise", list(256, 3, 0x80, 7, 0, 2, 1), ErrList, ``},
		{"too deep", list(256, nested...), ErrList, ``},
		{"of records", list(258, 255, 1, 1, 0, 80, 0, 81), nil, `[{"sourceTransportPort":80},{"sourceTransportPort":81}]`},
		{"of unknown records", list(258, 255, 9, 9, 1, 2), ErrList, `[{"unknownTemplate2313":"0x0102"}]`},
		{"of records, cut", list(258, 255, 1), ErrList, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(NewStore(Limits{}))
			var got string
			res, err := d.Visit(packet(c.b), func(r *DataRecord) {
				if r.Fields[0].Value.List != nil {
					got = string(r.Fields[0].Value.AppendJSON(nil))
				}
			})
			if !errors.Is(err, c.want) || got != c.json || res.Records != 1 {
				t.Errorf("%s, %v, %d records", got, err, res.Records)
			}
		})
	}
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFloods: a million datagrams, each from or about something new, are
// bounded in memory and counted.
func TestFloods(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	const most = 16 << 20
	template := ipfixMessage(0, set(2, template4()))
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		next  func(p *Packet)
		check func(t *testing.T, s StoreStatus)
	}{
		{"exporters", func(p *Packet) {
			var a [16]byte
			binary.BigEndian.PutUint64(a[:], random.Uint64())
			p.Exporter = netip.AddrFrom16(a)
		}, func(t *testing.T, s StoreStatus) {
			if s.Exporters != 256 || s.ExportersRefused != int64(n-256) {
				t.Errorf("%+v", s)
			}
		}},
		{"domains", func(p *Packet) {
			binary.BigEndian.PutUint32(p.Payload[12:], random.Uint32())
		}, func(t *testing.T, s StoreStatus) {
			if s.Domains != 256 || s.DomainsRefused < int64(n-1000) {
				t.Errorf("%+v", s)
			}
		}},
		{"templates", func(p *Packet) {
			binary.BigEndian.PutUint16(p.Payload[ipfixHeader+setHeader:], uint16(256+random.IntN(65280)))
			binary.BigEndian.PutUint32(p.Payload[12:], random.Uint32N(100))
		}, func(t *testing.T, s StoreStatus) {
			if s.Templates != 1024 {
				t.Errorf("%+v", s)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heap()
			store := NewStore(Limits{})
			d := NewDecoder(store)
			p := packet(append([]byte(nil), template...))
			for range n {
				c.next(&p)
				if _, _, err := d.Decode(nil, p); errors.Is(err, ErrInternal) {
					t.Fatal(err)
				}
			}
			c.check(t, store.Status())
			if grown := heap() - before; grown > most {
				t.Errorf("%d octets after %d datagrams", grown, n)
			}
			runtime.KeepAlive(store)
		})
	}
}

// TestTemplateBytes: large templates are bounded by what they take together.
func TestTemplateBytes(t *testing.T) {
	store := NewStore(Limits{TemplateBytes: 100_000})
	d := NewDecoder(store)
	fields := words(256, 128)
	for range 128 {
		fields = append(fields, words(7, 1)...)
	}
	b := ipfixMessage(0, set(2, fields))
	refused := 0
	for id := 256; id < 512; id++ {
		binary.BigEndian.PutUint16(b[ipfixHeader+setHeader:], uint16(id))
		if _, _, err := d.Decode(nil, packet(b)); errors.Is(err, ErrLimit) {
			refused++
		}
	}
	s := store.Status()
	if s.TemplateBytes > 100_000 || s.Templates+refused != 256 || refused == 0 || s.Templates < 20 {
		t.Errorf("%+v, %d refused", s, refused)
	}
	if c := store.Exporters()[0].Counters; int(c.TemplatesRefused) != refused || int(c.Errors) != refused {
		t.Errorf("%+v", c)
	}
	store.Expire(testTime.Add(time.Hour))
	if s := store.Status(); s.TemplateBytes != 0 || s.Exporters != 0 || s.Forgotten.Datagrams != 256 {
		t.Errorf("after its time to live: %+v", s)
	}
}

func TestTooManyFields(t *testing.T) {
	fields := words(256, 129)
	for range 129 {
		fields = append(fields, words(7, 2)...)
	}
	// The template behind it is still read.
	res, err := both(t, ipfixMessage(0, set(2, fields, join(words(257), template4()[2:]))))
	if !errors.Is(err, ErrLimit) || res.Templates != 1 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestRate(t *testing.T) {
	store := NewStore(Limits{DatagramsPerSecond: 3})
	d := NewDecoder(store)
	p := packet(ipfixMessage(0, set(2, template4()), set(256, data4())))
	limited := 0
	for i := range 10 {
		if i == 5 {
			p.Received = p.Received.Add(time.Second)
		}
		if _, _, err := d.Decode(nil, p); errors.Is(err, ErrRate) {
			limited++
		}
	}
	if c := store.Exporters()[0].Counters; limited != 4 || c.RateLimited != 4 || c.Records != 6 {
		t.Errorf("%d limited, %+v", limited, c)
	}
}

// TestGarbage: random octets behind each kind of header.
func TestGarbage(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	heads := [][]byte{{0, 5}, {0, 9}, {0, 10}, {0, 0, 0, 5, 0, 0, 0, 1}, {}}
	store := NewStore(Limits{})
	d := NewDecoder(store)
	var out []flow.Record
	for range 20_000 {
		b := append([]byte(nil), heads[random.IntN(len(heads))]...)
		for range random.IntN(200) {
			b = append(b, byte(random.Uint32()>>random.IntN(9)))
		}
		var err error
		if out, _, err = d.Decode(out[:0], packet(b)); errors.Is(err, ErrInternal) {
			t.Fatalf("%x: %v", b, err)
		}
	}
	if s := store.Status(); s.Exporters != 1 || s.Undecodable == 0 || s.Panics != 0 {
		t.Errorf("%+v", s)
	}
}
