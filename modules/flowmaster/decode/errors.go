package decode

import "errors"

// What a datagram can be turned away for. Errors that Decode and Visit return
// wrap one of these and say where in the datagram it was.
var (
	// ErrVersion: neither NetFlow 5 or 9, IPFIX, nor sFlow 5.
	ErrVersion = errors.New("not a NetFlow v5, NetFlow v9, IPFIX or sFlow v5 datagram")
	// ErrTruncated: the datagram ends inside something.
	ErrTruncated = errors.New("truncated")
	// ErrLength: a length or a count that cannot be true.
	ErrLength = errors.New("length or count does not fit the datagram")
	// ErrTemplate: a template that cannot be used, for instance one of which
	// a record would be empty.
	ErrTemplate = errors.New("unusable template")
	// ErrLimit: one of the Limits was reached.
	ErrLimit = errors.New("limit reached")
	// ErrRate: the exporter sends more datagrams a second than allowed.
	ErrRate = errors.New("exporter is over its datagram rate")
	// ErrList: structured data (RFC 6313) that does not hold together.
	ErrList = errors.New("malformed list")
	// ErrInternal: the decoder itself failed; the datagram was given up.
	ErrInternal = errors.New("internal error in the decoder")
)
