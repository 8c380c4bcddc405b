package flow

import (
	"net/netip"
	"strconv"
)

// Dimension is what a top list is about.
type Dimension uint8

// The dimensions.
const (
	ByClientPrefix Dimension = iota
	ByClientAS
	ByClientCountry
	ByBackend
	ByServicePort
	ByExporter
)

const dimensions = int(ByExporter) + 1

var dimensionNames = [dimensions]string{"client_prefix", "client_as", "client_country", "backend", "service_port", "exporter"}

// String returns the name of the dimension in snake case.
func (d Dimension) String() string { return nameOf(dimensionNames[:], uint8(d)) }

// ParseDimension is the inverse of String.
func ParseDimension(s string) (Dimension, bool) {
	for i, name := range dimensionNames {
		if name == s {
			return Dimension(i), true
		}
	}
	return 0, false
}

// Dimensions returns all dimensions.
func Dimensions() []Dimension {
	all := make([]Dimension, dimensions)
	for i := range all {
		all[i] = Dimension(i)
	}
	return all
}

// Format returns key as text: a prefix, "AS64500", a country's letters, a
// backend's name, "tcp/443", an exporter's address.
func (d Dimension) Format(key Key, mask Mask, names *Names) string {
	switch d {
	case ByClientPrefix:
		return netip.PrefixFrom(key.Address.Netip(), int(mask.Bits(key.Address))).String()
	case ByClientAS:
		return "AS" + strconv.FormatUint(uint64(key.Number), 10)
	case ByClientCountry:
		return Country{byte(key.Number >> 8), byte(key.Number)}.String()
	case ByBackend:
		return names.Name(NameID(key.Number))
	case ByServicePort:
		return protocolName(uint8(key.Number>>16)) + "/" + strconv.Itoa(int(key.Number&0xffff))
	}
	return key.Address.String()
}

func protocolName(p uint8) string {
	switch p {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// hasPorts reports whether p is a transport protocol with ports.
func hasPorts(p uint8) bool { return p == 6 || p == 17 || p == 33 || p == 132 || p == 136 }
