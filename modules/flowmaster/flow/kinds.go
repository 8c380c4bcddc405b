package flow

// Source is where a record came from.
type Source uint8

// The sources of records.
const (
	SourceUnknown    Source = iota
	SourceConnection        // a connection this process carried
	SourceNetFlow5
	SourceNetFlow9
	SourceIPFIX
	SourceSFlow
)

var sourceNames = [...]string{"unknown", "connection", "netflow5", "netflow9", "ipfix", "sflow"}

func (s Source) String() string { return nameOf(sourceNames[:], uint8(s)) }

// Leg is which side of the proxy a flow was on.
type Leg uint8

// The legs.
const (
	LegUnknown    Leg = iota
	LegDownstream     // between a client and this proxy
	LegUpstream       // between this proxy and a backend
	LegObserved       // somewhere else, reported by an exporter
)

const legs = int(LegObserved) + 1

var legNames = [...]string{"unknown", "downstream", "upstream", "observed"}

func (l Leg) String() string { return nameOf(legNames[:], uint8(l)) }

// Exactness is how far the counts of a record can be trusted.
type Exactness uint8

// The degrees of exactness.
const (
	ExactnessUnknown Exactness = iota
	Exact                      // every packet was counted
	Sampled                    // one in SamplingPacketInterval was counted
	Estimated                  // the exporter does not say whether it samples
)

var exactnessNames = [...]string{"unknown", "exact", "sampled", "estimated"}

func (e Exactness) String() string { return nameOf(exactnessNames[:], uint8(e)) }

// EndReason is flowEndReason (IE 136). Values of other exporters are kept as
// they came.
type EndReason uint8

// The registered end reasons.
const (
	EndUnknown         EndReason = iota
	EndIdleTimeout               // no packet for the idle timeout
	EndActiveTimeout             // reported while still going on
	EndOfFlow                    // FIN or RST was seen
	EndForced                    // for instance on shutdown
	EndLackOfResources           // pushed out of a full table
)

var endReasonNames = [...]string{
	"unknown", "idleTimeout", "activeTimeout", "endOfFlowDetected", "forcedEnd", "lackOfResources",
}

func (e EndReason) String() string { return nameOf(endReasonNames[:], uint8(e)) }

// BiflowDirection is biflowDirection (IE 239): how source and destination of
// a record that carries both directions were assigned.
type BiflowDirection uint8

// The registered biflow directions.
const (
	BiflowArbitrary BiflowDirection = iota
	BiflowInitiator                 // the source opened the connection
	BiflowReverseInitiator
	BiflowPerimeter
)

// Direction is flowDirection (IE 61), moved by one so that the zero value can
// say "not reported": an exporter that meters a packet both where it enters
// and where it leaves reports it twice.
type Direction uint8

// The directions; the registry's values are one less.
const (
	DirectionUnknown Direction = iota
	DirectionIngress
	DirectionEgress
)

// BackendState is what the balancer thought of the backend when the record
// was made.
type BackendState uint8

// The states of a backend.
const (
	BackendStateUnknown BackendState = iota
	BackendAvailable
	BackendEjected
	BackendDraining
)

var backendStateNames = [...]string{"unknown", "available", "ejected", "draining"}

func (s BackendState) String() string { return nameOf(backendStateNames[:], uint8(s)) }

func nameOf(names []string, i uint8) string {
	if int(i) >= len(names) {
		return "unknown"
	}
	return names[i]
}
