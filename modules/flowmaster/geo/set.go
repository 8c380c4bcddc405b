package geo

import "github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"

// Set is several databases. Where more than one knows something, the first has its way.
type Set []*Database

// Lookup returns what the databases know of a, as far as it is not known already.
func (s Set) Lookup(a flow.Addr, known Info) Info {
	for _, d := range s {
		if known.AS != 0 && known.Country != (flow.Country{}) {
			break
		}
		found := d.Lookup(a)
		if known.AS == 0 {
			known.AS = found.AS
		}
		if known.Country == (flow.Country{}) {
			known.Country = found.Country
		}
	}
	return known
}

// Annotate fills in AS numbers and countries of the addresses in records that are not this
// proxy's or its backends'. What an exporter says stays. Addresses must be whole still.
func (s Set) Annotate(records []flow.Record) {
	if len(s) == 0 {
		return
	}
	for i := range records {
		r := &records[i]
		if r.Leg == flow.LegUpstream {
			continue
		}
		source := s.Lookup(r.SourceAddress, Info{r.SourceAS, r.SourceCountry})
		r.SourceAS, r.SourceCountry = source.AS, source.Country
		if r.Leg == flow.LegDownstream {
			continue // the destination is this proxy
		}
		destination := s.Lookup(r.DestinationAddress, Info{r.DestinationAS, r.DestinationCountry})
		r.DestinationAS, r.DestinationCountry = destination.AS, destination.Country
	}
}

// Organization returns the name of an AS, or "".
func (s Set) Organization(as uint32) string {
	for _, d := range s {
		if name := d.current.Load().names[as]; name != "" {
			return name
		}
	}
	return ""
}

// Status returns the state of every database.
func (s Set) Status() []Status {
	list := make([]Status, 0, len(s))
	for _, d := range s {
		list = append(list, d.Status())
	}
	return list
}
