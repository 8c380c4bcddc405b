package flow

// Client returns which end of the flow asked, and the port of the service it
// asked for. See clientIsDestination for how that is known.
func (r *Record) Client() (client Addr, service uint16) {
	if r.clientIsDestination() {
		return r.DestinationAddress, r.SourceTransportPort
	}
	return r.SourceAddress, r.DestinationTransportPort
}

// clientIsDestination reports whether the record goes from server to client.
//
// For our own connections, and where the exporter says who opened the
// connection, that is known. Exporters mostly report each direction by itself
// without saying so; then the end with the higher port is taken for the
// client, since services have the lower ones, and the source if they are
// equal.
func (r *Record) clientIsDestination() bool {
	switch {
	case r.Leg == LegDownstream || r.Leg == LegUpstream || r.BiflowDirection == BiflowInitiator:
		return false
	case r.BiflowDirection == BiflowReverseInitiator:
		return true
	}
	return r.SourceTransportPort != 0 && r.SourceTransportPort < r.DestinationTransportPort
}
