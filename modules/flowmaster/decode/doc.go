// Package decode turns the datagrams of flow exporters into records: NetFlow
// v5 and v9 (RFC 3954), IPFIX (RFC 7011, with bidirectional flows of RFC 5103
// and structured data of RFC 6313) and sFlow v5 (sflow.org). It also writes
// IPFIX.
//
// There are two ways out. Decoder.Decode appends fixed-size flow.Records and
// allocates nothing once its templates are known; it is for collecting.
// Decoder.Visit hands over every field of every record with its name and
// type; it is for looking at what an exporter really sends.
//
// Everything that comes in is taken to be hostile. Work on a datagram is
// linear in its length: a template of which a record could be empty is
// refused, lists nest a bounded number of times, and lengths are checked
// before they are used. What is kept between datagrams (exporters, domains,
// templates, sampler tables) is bounded by Limits, and what was turned away is
// counted. A datagram that fails part way keeps the records before the fault.
//
// The package opens no sockets and starts no goroutines.
package decode
