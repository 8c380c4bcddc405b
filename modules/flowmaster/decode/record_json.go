package decode

import (
	"strconv"
	"strings"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// AppendJSON appends the record as one JSON object, without a line end: what
// is known of the message (source, exporter, observationDomainId, templateId,
// exportTime, sysUpTime, sequenceNumber), then the fields under their names. Option data
// records have "options": true, sFlow counter samples "counters": true. A
// name that occurs more than once has an array; a field of the record goes
// before a member of the same name about the message.
func (r *DataRecord) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"source":"`...)
	dst = append(dst, r.Source.String()...)
	dst = append(dst, '"')
	switch r.Kind {
	case OptionsRecord:
		dst = append(dst, `,"options":true`...)
	case CounterRecord:
		dst = append(dst, `,"counters":true`...)
	}
	if r.Exporter.IsValid() && !r.Exporter.IsUnspecified() {
		dst = append(dst, `,"exporter":"`...)
		dst = r.Exporter.AppendTo(dst)
		dst = append(dst, '"')
	}
	dst = r.appendUint(dst, "observationDomainId", uint64(r.Domain))
	if r.TemplateID != 0 {
		dst = r.appendUint(dst, "templateId", uint64(r.TemplateID))
	}
	if !r.Exported.IsZero() && !r.has("exportTime") {
		dst = append(dst, `,"exportTime":`...)
		dst = appendTime(dst, r.Exported)
	}
	if r.Source != flow.SourceIPFIX {
		dst = r.appendUint(dst, "sysUpTime", uint64(r.SysUpTime))
	}
	dst = r.appendUint(dst, "sequenceNumber", uint64(r.Sequence))
	dst = appendFieldsJSON(dst, r.Fields, true)
	return append(dst, '}')
}

func (r *DataRecord) appendUint(dst []byte, name string, v uint64) []byte {
	if r.has(name) {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strconv.AppendUint(dst, v, 10)
}

func (r *DataRecord) has(name string) bool {
	return indexField(r.Fields, name) >= 0
}

func indexField(fields []Field, name string) int {
	for i := range fields {
		if fields[i].Name == name {
			return i
		}
	}
	return -1
}

// appendFieldsJSON appends members of an object; more says that some stand
// before them. Fields are few, so looking for a name again is cheap.
func appendFieldsJSON(dst []byte, fields []Field, more bool) []byte {
	for i := range fields {
		f := &fields[i]
		if indexField(fields[:i], f.Name) >= 0 {
			continue
		}
		if more {
			dst = append(dst, ',')
		}
		more = true
		dst = appendJSONString(dst, f.Name)
		dst = append(dst, ':')
		rest := fields[i+1:]
		j := indexField(rest, f.Name)
		if j < 0 {
			dst = f.Value.AppendJSON(dst)
			continue
		}
		dst = append(dst, '[')
		dst = f.Value.AppendJSON(dst)
		for ; j >= 0; j = indexField(rest, f.Name) {
			dst = append(dst, ',')
			dst = rest[j].Value.AppendJSON(dst)
			rest = rest[j+1:]
		}
		dst = append(dst, ']')
	}
	return dst
}

// Mask replaces every address in the record by its prefix: bits4 bits of IPv4
// addresses, bits6 of IPv6 ones, and clears the lower half of MAC addresses.
// Octets are copied, the datagram stays as it is. Sections of packets, which
// hold addresses too, and sFlow records of unknown layout, which may, are emptied.
func (r *DataRecord) Mask(bits4, bits6 uint8) {
	if r.Exporter.IsValid() {
		r.Exporter = flow.AddrFrom(r.Exporter).Masked(bits4, bits6).Netip()
	}
	maskFields(r.Fields, bits4, bits6)
}

func maskFields(fields []Field, bits4, bits6 uint8) {
	for i := range fields {
		f := &fields[i]
		switch f.Name {
		case "dataLinkFrameSection", "ipHeaderPacketSection", "mplsLabelStackSection", "layer2packetSectionData", "ipPayloadPacketSection":
			f.Value.Raw = []byte{}
		}
		if strings.HasPrefix(f.Name, "flow") && strings.Contains(f.Name, "/") { // an sFlow record of unknown layout
			f.Value.Raw = []byte{}
		}
		maskValue(&f.Value, bits4, bits6)
	}
}

func maskValue(v *Value, bits4, bits6 uint8) {
	if v.List != nil {
		for i := range v.List.Values {
			maskValue(&v.List.Values[i], bits4, bits6)
		}
		for i := range v.List.Records {
			maskFields(v.List.Records[i].Fields, bits4, bits6)
		}
		return
	}
	if v.Type == MACAddress && len(v.Raw) == 6 {
		v.Raw = []byte{v.Raw[0], v.Raw[1], v.Raw[2], 0, 0, 0}
	}
	if a, ok := v.Addr(); ok {
		v.Raw = flow.AddrFrom(a).Masked(bits4, bits6).Netip().AsSlice()
		if v.Raw == nil { // the unspecified IPv6 address
			v.Raw = make([]byte, 16)
		}
	}
}
