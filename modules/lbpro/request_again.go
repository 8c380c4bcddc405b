package lbpro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// mayRepeat reports whether the request is safe to send again after the outcome.
func (q *request) mayRepeat(o balance.Outcome) bool {
	if q.body != nil && !q.body.repeatable() {
		return false
	}
	return q.choice.Idempotent || o == balance.ConnectFailure
}

// claim decides in the carrier, where the answer is still at hand, that another attempt
// follows instead of passing it on: when that is safe, some backend is left that was not
// tried, and the budget has a place.
func (q *request) claim(o balance.Outcome) bool {
	if int(q.attempts) >= q.h.set.attempts || !q.mayRepeat(o) || q.client.Err() != nil || !q.another() {
		return false
	}
	return q.takeBudget()
}

// another reports whether a backend is left that may serve and was not tried; in a panic
// that may be an ejected one.
func (q *request) another() bool {
	panicked := q.h.pool.Panicked()
	for _, b := range q.h.pool.Backends() {
		s := b.State()
		serves := s == balance.Serving || panicked && s != balance.Draining
		if serves && b.Weight() > 0 && !q.choice.HasTried(b) {
			return true
		}
	}
	return false
}

func (q *request) takeBudget() bool {
	if !q.pending {
		q.pending = q.h.pool.Budget.Take(q.h.set.budget, q.h.set.floor)
	}
	return q.pending
}

// again decides after an attempt whether another follows, and after which back-off.
func (q *request) again(err error) (bool, time.Duration) {
	t, s := &q.trip, &q.h.set
	// The second attempt goes at once, because it goes to another backend.
	wait := s.backoff.Delay(int(q.attempts) - 1)
	switch {
	case q.client.Err() != nil || q.stop != nil || !t.done:
		return false, 0
	case t.claimed:
		return true, wait
	case err == nil || t.answered && !isRetryMatch(err):
		return false, 0
	case (t.answered || q.mayRepeat(t.outcome) || q.retryMatches()) && int(q.attempts) < s.attempts && q.takeBudget():
		return true, wait
	}
	return q.park(), 0
}

// isRetryMatch reports whether Caddy's proxy closed an answer because a response matcher
// of retry_match asked for it. Its error type is not exported; the text is, and a test
// holds it.
func isRetryMatch(err error) bool {
	return strings.Contains(err.Error(), "upstream response matched retry_match")
}

// retryMatches reports whether retry_match names a request that would not be repeated
// otherwise.
func (q *request) retryMatches() bool {
	if !q.h.retryMatch || q.body != nil && !q.body.repeatable() {
		return false
	}
	repl, _ := q.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Set("http.reverse_proxy.is_transport_error", true)
	defer repl.Delete("http.reverse_proxy.is_transport_error")
	ok, err := q.h.LoadBalancing.RetryMatch.AnyMatchWithError(q.r)
	return ok && err == nil
}

// park lets a request whose attempts all failed to get through stand in the queue until
// a backend may be back, as long as it is safe to send. This is how a short outage of
// the whole pool is waited out. An outage that has lasted much longer than the queue's
// timeout is not waited for: then an error at once serves clients better.
func (q *request) park() bool {
	switch q.trip.outcome {
	case balance.ConnectFailure, balance.TransportFailure:
	default:
		return false
	}
	if q.h.set.queueSize == 0 || q.h.set.attempts == 1 || !q.mayRepeat(q.trip.outcome) || q.h.longOutage(clock()) {
		return false
	}
	if q.stop = q.wait(); q.stop != nil {
		return false
	}
	q.choice.Reset()
	return true
}

// final gives the client the error that the request ends with.
func (q *request) final(err error) error {
	if q.attempts > 1 {
		if repl, ok := q.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			repl.Set("http.reverse_proxy.retries", int(q.attempts)-1)
		}
	}
	switch {
	case q.stop == nil || q.client.Err() != nil:
		return err
	case errors.Is(q.stop, balance.ErrQueueFull), errors.Is(q.stop, balance.ErrQueueTimeout), errors.Is(q.stop, errNoBackend):
		q.w.Header().Set("Retry-After", retryAfterSeconds)
		return caddyhttp.Error(http.StatusServiceUnavailable, fmt.Errorf("pool %s: %w", q.h.pool.Name, q.stop))
	}
	return err
}

// retryAfterSeconds is what a client that is turned away should wait.
const retryAfterSeconds = "1"

// sleep waits for d and reports whether ctx still runs then.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
