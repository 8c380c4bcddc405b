package lbpro

import (
	"strconv"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// The resources of the admin API. Times are RFC 3339, durations are seconds; what does
// not apply is left out.

// poolResource is one pool.
type poolResource struct {
	Name string `json:"name"`
	// Serving is how many of the backends are serving.
	Serving int `json:"serving"`
	// Panic is true while too few backends can serve, so that ejected ones are used too.
	Panic bool `json:"panic"`
	// Outage is true while no backend has answered since it last failed.
	Outage     bool               `json:"outage"`
	Active     int64              `json:"active_requests"`
	LastMinute ratesResource      `json:"last_minute"`
	Queue      queueResource      `json:"queue"`
	Budget     budgetResource     `json:"retry_budget"`
	Totals     poolTotalsResource `json:"totals"`
	Backends   []backendResource  `json:"backends"`
}

type queueResource struct {
	Length  int64 `json:"length"`
	Full    int64 `json:"full_total"`
	Expired int64 `json:"expired_total"`
}

type budgetResource struct {
	Used   int64 `json:"used"`
	Denied int64 `json:"denied_total"`
}

// ratesResource has the figures of the last minute; the window is shorter when not so
// much is known yet.
type ratesResource struct {
	Window      float64  `json:"window_seconds"`
	Requests    int64    `json:"requests"`
	PerSecond   float64  `json:"requests_per_second"`
	SuccessRate float64  `json:"success_rate"`
	ErrorRate   float64  `json:"error_rate"`
	Average     *float64 `json:"average_response_seconds,omitempty"`
	P50         *float64 `json:"p50_response_seconds,omitempty"`
	P99         *float64 `json:"p99_response_seconds,omitempty"`
}

// poolTotalsResource counts since the pool began: what clients got, and what was tried
// for them.
type poolTotalsResource struct {
	Requests  int64            `json:"requests"`
	Responses map[string]int64 `json:"responses"`
	Broken    int64            `json:"broken_responses"`
	Canceled  int64            `json:"canceled"`
	Attempts  totalsResource   `json:"attempts"`
}

// totalsResource counts attempts at backends.
type totalsResource struct {
	Requests  int64            `json:"requests"`
	Responses map[string]int64 `json:"responses"`
	Failures  map[string]int64 `json:"failures"`
	Canceled  int64            `json:"canceled"`
	Outrun    int64            `json:"outrun"`
	Retries   int64            `json:"retries"`
	Hedges    int64            `json:"hedges"`
	HedgesWon int64            `json:"hedges_won"`
	Ejections map[string]int64 `json:"ejections"`
	Sent      int64            `json:"sent_bytes"`
	Received  int64            `json:"received_bytes"`
}

// backendResource is one backend.
type backendResource struct {
	ID     string     `json:"id"`
	State  string     `json:"state"`
	Reason string     `json:"reason,omitempty"`
	Detail string     `json:"detail,omitempty"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until,omitempty"`
	// Why says what the backend gets now, and from which numbers that follows.
	Why    string         `json:"why"`
	Score  scoreResource  `json:"score"`
	Health healthResource `json:"health"`

	Backup    bool           `json:"backup,omitempty"`
	InFlight  int64          `json:"in_flight"`
	Waiting   int64          `json:"waiting"`
	Limit     int64          `json:"limit,omitempty"`
	Silent    float64        `json:"silent_seconds,omitempty"`
	Rest      *time.Time     `json:"rest_until,omitempty"`
	Drain     *drainResource `json:"drain,omitempty"`
	LastError *errorResource `json:"last_error,omitempty"`
	// EjectionsInRow sets the length of the next ejection.
	EjectionsInRow int            `json:"ejections_in_row"`
	Weight         weightResource `json:"weight"`
	Share          float64        `json:"share"`
	LastMinute     ratesResource  `json:"last_minute"`
	Totals         totalsResource `json:"totals"`
}

type drainResource struct {
	Since       time.Time  `json:"since"`
	StickyUntil *time.Time `json:"sticky_until,omitempty"`
}

type errorResource struct {
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

type weightResource struct {
	Effective  float64  `json:"effective"`
	Configured float64  `json:"configured"`
	Operator   *float64 `json:"operator,omitempty"`
	SlowStart  float64  `json:"slow_start"`
	Path       float64  `json:"path"`
}

// scoreResource has the parts of balance.Score and what they rest on.
type scoreResource struct {
	Value       float64 `json:"value"`
	Cost        float64 `json:"cost"`
	Crowding    float64 `json:"crowding"`
	Speed       float64 `json:"speed"`
	SuccessRate float64 `json:"success_rate"`
	Width       float64 `json:"width"`
	Gap         float64 `json:"usual_gap_seconds"`
	Samples     uint64  `json:"samples"`
	Takes       bool    `json:"takes_requests"`
	Rank        int     `json:"rank,omitempty"`
	Of          int     `json:"of,omitempty"`
	Equal       bool    `json:"among_best"`
}

// healthResource has balance.Health: the product of the parts, of 100.
type healthResource struct {
	Score   int     `json:"score"`
	State   float64 `json:"state"`
	Success float64 `json:"success"`
	Latency float64 `json:"latency"`
	Silence float64 `json:"silence"`
	Rest    float64 `json:"rest"`
	Path    float64 `json:"path"`
}

// dating turns times of the process's clock into times of day: clock and wall are the
// same moment.
type dating struct {
	clock time.Duration
	wall  time.Time
}

// at returns the time of day, in UTC and whole milliseconds, at which the clock showed t.
func (d dating) at(t time.Duration) time.Time {
	return d.wall.Add(t - d.clock).UTC().Truncate(time.Millisecond)
}

// maybe is at for a time that is left out when it is 0.
func (d dating) maybe(t time.Duration) *time.Time {
	if t == 0 {
		return nil
	}
	at := d.at(t)
	return &at
}

func newPoolResource(f *poolFigures) poolResource {
	d := dating{f.At, time.Now()}
	p := poolResource{
		Name: f.Name, Panic: f.Panicked, Outage: f.Outage, Active: f.Active,
		LastMinute: newRatesResource(f.rates),
		Queue:      queueResource{f.Queued, f.QueueFull, f.QueueExpired},
		Budget:     budgetResource{f.BudgetUsed, f.BudgetDenied},
		Totals: poolTotalsResource{
			Requests: f.requests(), Responses: classes(&f.codes), Broken: f.codes[0], Canceled: f.canceled,
			Attempts: newTotalsResource(&f.totals),
		},
		Backends: make([]backendResource, len(f.backends)),
	}
	for i := range f.backends {
		p.Backends[i] = newBackendResource(&f.backends[i], d)
		if f.backends[i].State == balance.Serving {
			p.Serving++
		}
	}
	return p
}

func newBackendResource(b *backendFigures, d dating) backendResource {
	r := backendResource{
		ID: b.ID, State: b.State.String(), Reason: string(b.Reason), Detail: b.Detail,
		Since: d.at(b.Since), Until: d.maybe(b.Until), Why: b.Score.Why,
		Score: scoreResource{
			b.Score.Value, b.Score.Cost, b.Score.Crowding, b.Speed, b.SuccessRate, b.Width, b.Gap.Seconds(), b.Samples,
			b.Score.Takes, b.Score.Rank, b.Score.Of, b.Score.Equal,
		},
		Health: healthResource(b.Health),
		Backup: b.Backup, InFlight: b.InFlight, Waiting: b.Waiting, Limit: b.Limit,
		Silent: b.Silence.Seconds(), Rest: d.maybe(b.RestUntil), EjectionsInRow: b.Ejections,
		Weight: weightResource{Effective: b.Weight.Effective, Configured: b.Weight.Configured, SlowStart: b.Weight.Ramp, Path: b.Weight.Advised},
		Share:  b.share, LastMinute: newRatesResource(b.rates), Totals: newTotalsResource(&b.totals),
	}
	if b.State != balance.Ejected {
		r.Until = nil
	}
	if b.Drain != nil {
		r.Drain = &drainResource{d.at(b.Drain.Since), d.maybe(b.Drain.Until)}
	}
	if b.LastError != "" {
		r.LastError = &errorResource{b.LastError, d.at(b.LastErrorAt)}
	}
	if b.Weight.Overridden {
		r.Weight.Operator = &b.Weight.Operator
	}
	return r
}

func newRatesResource(r rates) ratesResource {
	return ratesResource{
		r.Window.Seconds(), r.Requests, r.PerSecond, r.SuccessRate, r.ErrorRate,
		seconds(r.Average), seconds(r.P50), seconds(r.P99),
	}
}

func newTotalsResource(t *totals) totalsResource {
	r := totalsResource{
		Requests: t.requests, Responses: classes(&t.codes), Failures: make(map[string]int64), Ejections: make(map[string]int64),
		Canceled: t.canceled, Outrun: t.outrun, Retries: t.retries, Hedges: t.hedges, HedgesWon: t.hedgesWon,
		Sent: t.sent, Received: t.received,
	}
	for o := balance.ServerError; o <= balance.Timeout; o++ {
		if n := t.failures[o]; n > 0 {
			r.Failures[o.String()] = n
		}
	}
	for reason, n := range t.ejected {
		if n > 0 {
			r.Ejections[string(reason)] = n
		}
	}
	return r
}

// classes names the counts of statuses that are not 0.
func classes(codes *[6]int64) map[string]int64 {
	m := make(map[string]int64)
	for class := 1; class < len(codes); class++ {
		if codes[class] > 0 {
			m[strconv.Itoa(class)+"xx"] = codes[class]
		}
	}
	return m
}

// seconds returns nil for a duration that is not known.
func seconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}
