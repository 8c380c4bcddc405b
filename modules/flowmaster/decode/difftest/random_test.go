package difftest

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/netsampler/goflow2/v2/decoders/netflow"
)

// words appends numbers in 16 bits each.
func words(values ...int) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func set(id int, parts ...[]byte) []byte {
	body := join(parts...)
	return join(words(id, len(body)+4), body)
}

func message(version int, sets ...[]byte) []byte {
	body := join(sets...)
	if version == 9 {
		return join(words(9, len(sets)), words(1, 2), words(3, 4), words(0, 5), words(0, 1), body)
	}
	return join(words(10, len(body)+16), words(3, 4), words(0, 5), words(0, 1), body)
}

// randomTemplate makes a template and a function that makes records of it.
func randomTemplate(r *rand.Rand, version, id int) (template []byte, data func() []byte) {
	count := 1 + r.IntN(20)
	template = words(id, count)
	var lengths []int
	for i := range count {
		length := 1 + r.IntN(20)
		if version == 10 && i > 0 && r.IntN(4) == 0 {
			length = 0xffff
		}
		element := 1 + r.IntN(500)
		if version == 10 && r.IntN(4) == 0 {
			template = append(template, words(element|0x8000, length, 0, r.IntN(40000))...)
		} else {
			template = append(template, words(element, length)...)
		}
		lengths = append(lengths, length)
	}
	return template, func() []byte {
		var b []byte
		for _, n := range lengths {
			if n == 0xffff {
				switch n = r.IntN(300); {
				case n < 255:
					b = append(b, byte(n))
				default:
					b = append(append(b, 255), words(n)...)
				}
			}
			for range n {
				b = append(b, byte(r.Uint32()))
			}
		}
		return b
	}
}

// TestRandom compares made-up messages: templates of random fields, records
// of random octets, without padding.
func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	records := 0
	for i := range 3000 {
		version := 9 + i%2
		d, templates := decode.NewDecoder(decode.NewStore(decode.Limits{})), netflow.CreateTemplateSystem()
		template, data := randomTemplate(r, version, 300)
		var body []byte
		for range 1 + r.IntN(10) {
			body = append(body, data()...)
		}
		b := message(version, set(version-9+(version-9), template), set(300, body))
		we, err := ours(d, b)
		// Random octets are no lists; that is reported, and shown as octets.
		if err != nil && !errors.Is(err, decode.ErrList) && !errors.Is(err, decode.ErrTruncated) {
			t.Fatalf("%x: %v", b, err)
		}
		they, err := theirs(templates, b)
		if err != nil {
			t.Fatalf("%x: theirs: %v", b, err)
		}
		if !slices.EqualFunc(we, they, slices.Equal[record]) {
			for j := range min(len(we), len(they)) {
				for k := range min(len(we[j]), len(they[j])) {
					if we[j][k] != they[j][k] {
						t.Errorf("record %d field %d: ours %v, theirs %v", j, k, we[j][k], they[j][k])
					}
				}
			}
			t.Fatalf("%x: ours %d records, theirs %d", b, len(we), len(they))
		}
		records += len(we)
	}
	if records < 3000 {
		t.Errorf("only %d records were compared", records)
	}
}

// TestExplained are the cases in which the two differ, each with its reason.
func TestExplained(t *testing.T) {
	variable := words(256, 2, 82, 0xffff, 10, 4)
	record := join([]byte{1, 'x'}, words(0, 7))
	v9 := message(9, set(0, words(256, 1, 10, 4)), set(256, words(0, 1)), set(256, words(0, 2)))
	binary.BigEndian.PutUint16(v9[2:], 2)
	for _, c := range []struct {
		name         string
		b            []byte
		ours, theirs int
		ourError     error
	}{
		// The length of a variable-length field is not in goflow2's idea of a
		// record's least length, so that it takes the padding for a record.
		{"padding after records of variable length", message(10, set(2, variable), set(256, record, words(0, 0))), 1, 2, nil},
		// goflow2 cuts a value short that goes past the end of its set.
		{"a value longer than its set", message(10, set(2, variable), set(256, []byte{0}, words(0, 7), []byte{9, 'x', 0, 0, 0, 0})), 1, 2, decode.ErrTruncated},
		// For the same reason it never ends with fields of variable length
		// only, but for an error at the end, which loses the set.
		{"fields of variable length only", message(10, set(2, words(256, 1, 82, 0xffff)), set(256, []byte{1, 'x'})), 1, 0, nil},
		// goflow2 takes the count in the header for a number of sets.
		{"a v9 header that counts fewer records than there are", v9, 2, 1, nil},
		// NetFlow v5 with a count that the length contradicts: goflow2 makes
		// as many records as announced, most of them empty.
		{"a v5 header that counts too many", fixture(t, "netflow5_test_invalid01.dat"), 0, 55582, decode.ErrLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			we, err := ours(decode.NewDecoder(decode.NewStore(decode.Limits{})), c.b)
			they, theirErr := theirs(netflow.CreateTemplateSystem(), c.b)
			if len(we) != c.ours || len(they) != c.theirs || !errors.Is(err, c.ourError) {
				t.Errorf("ours %d records, %v; theirs %d, %v", len(we), err, len(they), theirErr)
			}
		})
	}
}
