package flow

// Mask says how much of addresses is kept. Addresses are masked before a
// record is stored, so that what is stored cannot tell one person from
// another.
type Mask struct {
	// IPv4 and IPv6 are prefix lengths in bits.
	IPv4, IPv6 uint8
}

// DefaultMask keeps /24 of IPv4 and /48 of IPv6 addresses.
var DefaultMask = Mask{IPv4: 24, IPv6: 48}

// NoMask keeps whole addresses.
var NoMask = Mask{IPv4: 32, IPv6: 128}

// Apply masks source and destination of r. The exporter's address is
// configured, not observed, and stays.
func (m Mask) Apply(r *Record) {
	r.SourceAddress = r.SourceAddress.Masked(m.IPv4, m.IPv6)
	r.DestinationAddress = r.DestinationAddress.Masked(m.IPv4, m.IPv6)
}

// Bits returns how many bits of a are kept.
func (m Mask) Bits(a Addr) uint8 {
	if a.Is4() {
		return min(m.IPv4, 32)
	}
	return min(m.IPv6, 128)
}
