package decode

import (
	"strconv"
	"strings"
)

// Type is the abstract data type of an information element (RFC 7011 §6.1,
// RFC 6313 §4.5).
type Type uint8

// The abstract data types. OctetArray comes first so that an element nobody
// registered is shown as the octets it is.
const (
	OctetArray Type = iota
	Unsigned8
	Unsigned16
	Unsigned32
	Unsigned64
	Signed8
	Signed16
	Signed32
	Signed64
	Float32
	Float64
	Boolean
	MACAddress
	String
	DateTimeSeconds
	DateTimeMilliseconds
	DateTimeMicroseconds
	DateTimeNanoseconds
	IPv4Address
	IPv6Address
	BasicList
	SubTemplateList
	SubTemplateMultiList
)

// Element is the name and type of an information element. An Element with an
// empty Name is not known here.
type Element struct {
	Name string
	Type Type
}

// The private enterprise numbers that this package treats by themselves.
const (
	penIANA      = 0
	penCisco     = 9
	penNokia     = 637
	penIxia      = 3054
	penNetScaler = 5951
	penCERT      = 6871
	penVMware    = 6876
	penBarracuda = 10704
	penReverse   = 29305 // RFC 5103: the IANA element, for the other direction
	penNtop      = 35632
	penViptela   = 41916
)

// certReverseBit marks CERT's own reverse elements: those of YAF and SiLK
// reuse bit 14 of the element ID instead of a second enterprise number.
const certReverseBit = 0x4000

// LookupElement finds an IPFIX information element. reverse is true for the
// reverse direction of a bidirectional flow; the Element returned is then that
// of the forward direction. An element that is not known has no Name.
func LookupElement(enterprise uint32, id uint16) (e Element, reverse bool) {
	switch enterprise {
	case penReverse:
		reverse, enterprise = true, penIANA
	case penCERT:
		reverse = id&certReverseBit != 0
		id &^= certReverseBit
	}
	if enterprise == penIANA {
		if int(id) < len(ianaElements) {
			e = ianaElements[id]
		}
		return e, reverse
	}
	return vendorElements[vendorKey{enterprise, id}], reverse
}

// lookupNetFlow9 finds a NetFlow v9 field type. Types to 32,767 mean what
// they mean in IPFIX (RFC 7011 took them over); past that, each vendor uses
// what it likes, and Cisco's have bit 15 set on its own IPFIX element ID.
func lookupNetFlow9(id uint16) Element {
	if e, ok := netflow9Elements[id]; ok {
		return e
	}
	if int(id) < len(ianaElements) {
		return ianaElements[id]
	}
	if id&0x8000 != 0 {
		return vendorElements[vendorKey{penCisco, id &^ 0x8000}]
	}
	return Element{}
}

// elementName returns what the field is called in output: the registered
// name, with "reverse" before it for the other direction, or else a number:
// "8192", or "5951/129" with the enterprise number.
func elementName(e Element, enterprise uint32, id uint16, reverse bool) string {
	if e.Name == "" {
		if enterprise == penIANA {
			return strconv.Itoa(int(id))
		}
		return strconv.FormatUint(uint64(enterprise), 10) + "/" + strconv.Itoa(int(id))
	}
	if reverse {
		return "reverse" + strings.ToUpper(e.Name[:1]) + e.Name[1:]
	}
	return e.Name
}
