package balance

import (
	"hash/maphash"
	"math"
	"time"
)

// Routes remembers how long each kind of request usually takes, so that a slow endpoint
// is not mistaken for a slow backend: latencies are compared with what the same request
// takes elsewhere in the pool. It is a fixed table: two kinds
// in one slot drive each other out, and the loser counts as unknown.
//
// A request is known by two keys: the exact URI, and as a fallback the method with the
// first two path segments. It is not safe for concurrent use; Tick owns it.
type Routes struct {
	slots [routeSlots]route
}

const (
	routeSlots = 2048
	// routeKnown is how many answers make an expectation.
	routeKnown = 8
	// routeMemory is the weight of the newest answer in the averages.
	routeMemory = 1.0 / 1024
	// peakMargin is how many times the longest answer of a prefix is still usual.
	peakMargin = 1.5
	// kindEvidence is what an overdue request proves that is known by its prefix only.
	kindEvidence = 0.2
)

// RouteKey names a kind of request: its exact URI and its prefix, as hashes.
type RouteKey struct{ exact, prefix uint32 }

type route struct {
	key       uint32
	n         uint32
	mean, dev float64 // seconds; dev is the mean absolute deviation
	peak      float64 // seconds: the longest seen, forgotten over some ten thousand answers
	rest      float64 // seconds: what follows the first byte, mean
	rests     uint32
}

var routeSeed = maphash.MakeSeed()

// KeyOf returns the key of a request. It does not allocate.
func KeyOf(method, path, query string) RouteKey {
	p := maphash.String(routeSeed, prefixOf(path))
	e := maphash.String(routeSeed, path)
	if len(method) > 0 {
		p += uint64(method[0]) * 0x9e3779b97f4a7c15
	}
	if query != "" {
		e ^= maphash.String(routeSeed, query) * 31
	}
	return RouteKey{exact: uint32((e + p) >> 32), prefix: uint32(p >> 32)}
}

// prefixOf returns the first two segments of path.
func prefixOf(path string) string {
	slashes := 0
	for i := range len(path) {
		if path[i] == '/' {
			if slashes++; slashes == 3 {
				return path[:i]
			}
		}
	}
	return path
}

// slot returns the place of a key. The halves of the table are kept apart, so that many
// one-off URIs cannot wash out the prefixes.
func (r *Routes) slot(key uint32, half uint32) *route {
	return &r.slots[half*routeSlots/2+key%(routeSlots/2)]
}

// learn adds one answer to both of the request's kinds.
func (r *Routes) learn(k RouteKey, took time.Duration) {
	r.slot(k.exact, 0).add(k.exact, took.Seconds())
	r.slot(k.prefix, 1).add(k.prefix, took.Seconds())
}

// learnRest adds how long the rest of such an answer was waited for.
func (r *Routes) learnRest(k RouteKey, rest time.Duration) {
	r.slot(k.exact, 0).addRest(k.exact, rest.Seconds())
	r.slot(k.prefix, 1).addRest(k.prefix, rest.Seconds())
}

func (r *route) addRest(key uint32, x float64) {
	if r.key != key {
		return // driven out since its first byte
	}
	r.rests++
	r.rest += max(routeMemory, 1/float64(r.rests)) * (x - r.rest)
}

func (r *route) add(key uint32, x float64) {
	if r.key != key {
		*r = route{key: key}
	}
	r.n++
	r.peak = max(x, r.peak*(1-routeMemory/64))
	d := x - r.mean
	r.mean += max(routeMemory, 1/float64(r.n)) * d
	if r.n > 1 {
		r.dev += max(routeMemory, 1/float64(r.n-1)) * (math.Abs(d) - r.dev)
	}
}

// late is the time past which such a request is overdue: the mean and four mean
// deviations, as in RFC 6298, and no less than twice the mean, because a kind that always
// takes the same has hardly any deviation and a busy machine adds some.
func (r *route) late() float64 { return r.mean + max(4*r.dev, r.mean) }

// expectation is what is known of how long a kind of request takes.
type expectation struct {
	mean     float64 // seconds to first byte; 0 when nothing is known
	whole    float64 // seconds with the rest of the answer
	overdue  float64 // seconds past which it is overdue, as route.late says, and for a prefix peakMargin times the longest seen
	evidence float64 // 1 for a known URI, a third for a known prefix, else 0
}

// expect returns what is known of a kind of request.
func (r *Routes) expect(k RouteKey) expectation {
	if s := r.slot(k.exact, 0); s.key == k.exact && s.n >= routeKnown {
		return expectation{s.mean, s.mean + s.rest, s.late(), 1}
	}
	if s := r.slot(k.prefix, 1); s.key == k.prefix && s.n >= routeKnown {
		// What stands behind a prefix differs: a report and a lookup may share it. The
		// longest that it took lately is still usual.
		return expectation{s.mean, s.mean + s.rest, max(s.late(), peakMargin*s.peak), kindEvidence}
	}
	return expectation{}
}
