package decode

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
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

// set builds a set with a right length.
func set(id int, parts ...[]byte) []byte {
	body := join(parts...)
	return join(words(id, len(body)+setHeader), body)
}

// ipfixMessage builds an IPFIX message of domain 1.
func ipfixMessage(seq int, sets ...[]byte) []byte {
	body := join(sets...)
	return join(words(10, len(body)+ipfixHeader), words(0x6638, 0xbb00), words(seq>>16, seq), words(0, 1), body)
}

// netflow9Message builds a NetFlow v9 message of source 1, exported at
// 0x6638bb00 (2024-05-06 11:12:00 UTC), an hour after boot.
func netflow9Message(seq, count int, sets ...[]byte) []byte {
	return join(words(9, count), words(0x0036, 0xee80), words(0x6638, 0xbb00), words(seq>>16, seq), words(0, 1), join(sets...))
}

// template4 is the template (ID 256) of data4: source, destination, octets
// and packets in 4 octets each.
func template4() []byte {
	return join(words(256, 4), words(8, 4, 12, 4, 1, 4, 2, 4))
}

func data4() []byte {
	return join([]byte{10, 0, 0, 1, 10, 0, 0, 2}, words(0, 1500), words(0, 3))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
