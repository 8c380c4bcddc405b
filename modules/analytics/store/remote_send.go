package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	retryLeast = 100 * time.Millisecond
	retryMost  = 10 * time.Second
	// samplesPerBatch is how much is sent at once when there is something to catch up on.
	samplesPerBatch = 5000
)

// send empties the queue until the store is closed, and for a moment after.
func (s *Remote) send(reader *queueReader) {
	defer reader.close()
	for {
		batch := readBatch(reader)
		if len(batch) == 0 {
			if s.ctx.Err() != nil {
				return
			}
			select {
			case <-s.ctx.Done():
			case <-s.queue.wake:
			}
			continue
		}
		if !s.sendBatch(batch) {
			return // it stays in the queue
		}
		if err := s.queue.done(batch); err != nil {
			s.opts.Logger.Error("saving the position in the queue; after a restart some samples are sent again", "err", err)
		}
	}
}

func readBatch(r *queueReader) (batch []queueRecord) {
	for n := 0; n < samplesPerBatch; {
		rec, ok := r.next()
		if !ok {
			break
		}
		batch = append(batch, rec)
		n += rec.samples
	}
	return batch
}

// sendBatch sends until the server has taken everything or does not want it. It is false
// if there is no time left.
func (s *Remote) sendBatch(batch []queueRecord) bool {
	// Messages of protobuf one after another are one message.
	var all []byte
	for _, r := range batch {
		all = append(all, r.payload...)
	}
	err := error(errNoHistograms)
	if time.Now().After(s.plainUntil) {
		if err = s.deliver(all); !isRefused(err) {
			return err == nil
		}
	}
	// One bad series must not take the others with it.
	var req prompb.WriteRequest
	if err := req.Unmarshal(all); err != nil {
		for _, r := range batch {
			s.dropped.Add(uint64(r.samples))
		}
		s.note(func() { s.refused, s.refusedAt = err, time.Now() })
		return true
	}
	return s.divide(req.Timeseries, err)
}

// divide sends halves of what was refused, down to the series that the server does not want.
func (s *Remote) divide(series []prompb.TimeSeries, refused error) bool {
	if errors.Is(refused, errNoHistograms) {
		if series = s.withoutHistograms(series); len(series) == 0 {
			return true
		}
		if refused = s.deliverSeries(series); !isRefused(refused) {
			return refused == nil
		}
	}
	if len(series) <= 1 {
		s.dropped.Add(uint64(len(series)))
		s.note(func() { s.refused, s.refusedAt = refused, time.Now() })
		return true
	}
	for _, half := range [][]prompb.TimeSeries{series[:len(series)/2], series[len(series)/2:]} {
		if err := s.deliverSeries(half); isRefused(err) {
			if !s.divide(half, err) {
				return false
			}
		} else if err != nil {
			return false
		}
	}
	return true
}

// askAgain is how long a server that keeps no native histograms is sent none.
const askAgain = 5 * time.Minute

// withoutHistograms leaves out what the server does not keep. Histograms are there as
// classic ones as well.
func (s *Remote) withoutHistograms(series []prompb.TimeSeries) []prompb.TimeSeries {
	now := time.Now()
	if now.After(s.plainUntil) {
		s.plainUntil = now.Add(askAgain)
	}
	var left uint64
	rest := series[:0]
	for _, ts := range series {
		left += uint64(len(ts.Histograms))
		if ts.Histograms = nil; len(ts.Samples) > 0 {
			rest = append(rest, ts)
		}
	}
	if left > 0 {
		s.dropped.Add(left)
		s.note(func() { s.refused, s.refusedAt = errNoHistograms, now })
	}
	return rest
}

func (s *Remote) deliverSeries(series []prompb.TimeSeries) error {
	payload, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		return err
	}
	return s.deliver(payload)
}

// deliver sends until the server answers for good.
func (s *Remote) deliver(payload []byte) error {
	body, err := compression.Encode(compression.Snappy, payload, compression.NewSyncEncodeBuffer())
	if err != nil {
		return err
	}
	body = bytes.Clone(body)
	for pause := retryLeast; ; pause = min(2*pause, retryMost) {
		after, err := s.post(body)
		if err == nil || isRefused(err) {
			s.note(func() { s.failed = nil })
			return err
		}
		if s.sending.Err() != nil {
			return err
		}
		s.note(func() {
			if s.failed == nil {
				s.failedAt = time.Now()
				s.opts.Logger.Error("the remote store does not take samples; they wait", "err", err)
			}
			s.failed = err
		})
		wait := time.NewTimer(max(after, pause/2+rand.N(pause)))
		select {
		case <-wait.C:
		case <-s.sending.Done():
			wait.Stop()
			return err
		}
	}
}

func (s *Remote) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// refusedError is an answer that will be the same next time.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// errNoHistograms is what a Prometheus before 3.0 means that was not told to keep them.
var errNoHistograms = &refusedError{"it keeps no native histograms, and all else is sent; " +
	"start it with --enable-feature=native-histograms to have them as well"}

func isRefused(err error) bool {
	refused := (*refusedError)(nil)
	return errors.As(err, &refused)
}

// post sends once. after is how long the server asks to be left alone.
func (s *Remote) post(body []byte) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(s.sending, s.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.opts.WriteURL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, withoutURL(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode/100 == 2 {
		return 0, nil
	}
	answer := "the server answers " + resp.Status
	if said := strings.ToValidUTF8(strings.TrimSpace(string(text)), "?"); said != "" {
		answer += ": " + said
	}
	if strings.Contains(answer, "native histograms are disabled") {
		return 0, errNoHistograms
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusConflict:
		return 0, &refusedError{answer}
	case http.StatusInternalServerError:
		// What Prometheus before 2.46 says of samples that it will never take.
		if strings.Contains(answer, "too old sample") {
			return 0, &refusedError{answer}
		}
	}
	// Everything else may be a matter of its configuration or of ours, and pass.
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		after = min(time.Duration(n)*time.Second, time.Minute)
	}
	return after, errors.New(answer + wayIn(resp.StatusCode))
}

// wayIn says what to see to when the server does not let samples in.
func wayIn(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return "; see to basic_auth, bearer_token or header of the store"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "; see to url or write_url of the store, and that the server takes remote writes"
	}
	return ""
}

// withoutURL takes the URL out of an error: it may have a secret in its query.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// boundedAnswers cuts off answers that are too long.
type boundedAnswers struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b boundedAnswers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: mostAnswer}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: the answer is longer than %d MiB: take fewer series, a shorter range or a longer step", ErrLimit, mostAnswer>>20)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
