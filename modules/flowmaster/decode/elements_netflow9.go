package decode

// netflow9Elements are field types that NetFlow v9 exporters use for
// something the IANA registry does not have under that number.
var netflow9Elements = map[uint16]Element{
	// Cisco ASA NetFlow Secure Event Logging.
	33000: {"ingressAclId", OctetArray},
	33001: {"egressAclId", OctetArray},
	33002: {"firewallExtendedEvent", Unsigned16},
	40000: {"userName", String},
	40001: {"postNATSourceIPv4Address", IPv4Address},
	40002: {"postNATDestinationIPv4Address", IPv4Address},
	40003: {"postNAPTSourceTransportPort", Unsigned16},
	40004: {"postNAPTDestinationTransportPort", Unsigned16},
	40005: {"firewallEvent", Unsigned8},

	// Palo Alto Networks PAN-OS.
	56701: {"paloaltoAppId", String},
	56702: {"paloaltoUserId", String},

	// ntop nProbe: its IPFIX element IDs past 57,472.
	ntopBase + 80:  {"SRC_FRAGMENTS", Unsigned16},
	ntopBase + 81:  {"DST_FRAGMENTS", Unsigned16},
	ntopBase + 110: {"RETRANSMITTED_IN_PKTS", Unsigned32},
	ntopBase + 111: {"RETRANSMITTED_OUT_PKTS", Unsigned32},
	ntopBase + 112: {"OOORDER_IN_PKTS", Unsigned32},
	ntopBase + 113: {"OOORDER_OUT_PKTS", Unsigned32},
	ntopBase + 118: {"L7_PROTO", Unsigned16},
	ntopBase + 119: {"L7_PROTO_NAME", String},
	ntopBase + 123: {"CLIENT_NW_LATENCY_MS", Unsigned32},
	ntopBase + 124: {"SERVER_NW_LATENCY_MS", Unsigned32},
	ntopBase + 125: {"APPL_LATENCY_MS", Unsigned32},
}

// ntopBase is where nProbe's own field types begin in NetFlow v9; the range
// ntopBase to ntopEnd is nProbe's.
const (
	ntopBase = 57472
	ntopEnd  = ntopBase + 1023
)

// scopeElements are the scope field types of NetFlow v9 options templates
// (RFC 3954 §6.1), which number apart from other fields. Index 0 is unused.
var scopeElements = [...]Element{
	1: {"scopeSystem", OctetArray},
	2: {"scopeInterface", Unsigned32},
	3: {"scopeLineCard", Unsigned32},
	4: {"scopeCache", OctetArray},
	5: {"scopeTemplate", OctetArray},
}

func lookupScope(id uint16) Element {
	if int(id) < len(scopeElements) {
		return scopeElements[id]
	}
	return Element{}
}
