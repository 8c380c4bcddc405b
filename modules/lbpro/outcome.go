package lbpro

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// outcomeOfStatus says what an answer tells of the backend.
func outcomeOfStatus(res *http.Response) balance.Outcome {
	switch code := res.StatusCode; {
	case code == http.StatusTooManyRequests,
		code == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		return balance.TooBusy
	case code >= 400 && code < 500:
		return balance.Declined
	case code < 500, code == http.StatusNotImplemented, code == http.StatusHTTPVersionNotSupported:
		return balance.Success // 501 and 505 speak of the request
	default:
		return balance.ServerError
	}
}

// retryAfter returns how long a backend wants to be left alone, 0 when it does not say,
// at most retryAfterMost: what a backend sends must not take it out for long.
func retryAfter(res *http.Response, now time.Time) time.Duration {
	v := res.Header.Get("Retry-After")
	if v == "" {
		return 0
	}
	d := time.Duration(0)
	if s, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
		d = time.Duration(min(s, int(retryAfterMost/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return max(0, min(d, retryAfterMost))
}

const retryAfterMost = 30 * time.Second

// retryableStatus reports whether an answer is worth another try elsewhere.
func retryableStatus(o balance.Outcome, code int) bool {
	return o == balance.ServerError || o == balance.TooBusy && code == http.StatusServiceUnavailable
}

// errPerTry is the cause of a context that ended because one attempt took too long.
var errPerTry = errors.New("no first byte within per_try_timeout")

// outcomeOfError says what a failed round trip tells of the backend. ctx is the
// attempt's, client the request's own.
func outcomeOfError(err error, ctx, client context.Context) balance.Outcome {
	var dial reverseproxy.DialError
	var netErr net.Error
	var op *net.OpError
	switch {
	case client.Err() != nil:
		return balance.Canceled
	case errors.Is(context.Cause(ctx), errPerTry):
		return balance.Timeout
	case errors.As(err, &dial), errors.As(err, &op) && op.Op == "dial":
		return balance.ConnectFailure
	case errors.Is(err, context.Canceled):
		return balance.Canceled
	case errors.As(err, &netErr) && netErr.Timeout():
		return balance.Timeout
	default:
		return balance.TransportFailure
	}
}

// idempotent reports whether r may be sent twice (RFC 9110, 9.2.2), or says so itself
// with an Idempotency-Key, as net/http's own client understands it.
func idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.Header.Get("Upgrade") == ""
	case http.MethodPut, http.MethodDelete:
		return true
	}
	_, key := r.Header["Idempotency-Key"]
	return key
}
