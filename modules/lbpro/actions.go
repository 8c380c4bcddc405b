package lbpro

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// actions are what an operator can do to a backend through the admin API. Each validates
// its body first and returns what it did, for people.
var actions = map[string]func(b *balance.Backend, body *actionBody, now time.Duration) (string, error){
	"drain":   actDrain,
	"undrain": actUndrain,
	"weight":  actWeight,
	"eject":   actEject,
	"restore": actRestore,
}

const (
	// actionBodyMost bounds the body of an action, actionTextMost the text in it.
	actionBodyMost = 4 << 10
	actionTextMost = 200
	// actionTimeMost is the longest time that can be asked for.
	actionTimeMost = 30 * 24 * time.Hour
)

// actionBody is the JSON body of an action, which may be empty.
type actionBody struct {
	w http.ResponseWriter
	r *http.Request
}

// decode reads the body into v strictly: nothing unknown, nothing after it.
func (a *actionBody) decode(v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(a.w, a.r.Body, actionBodyMost))
	dec.DisallowUnknownFields()
	var tooLarge *http.MaxBytesError
	switch err := dec.Decode(v); {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &tooLarge):
		return apiError(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", actionBodyMost)
	case err != nil:
		return apiError(http.StatusBadRequest, "reading the body: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return apiError(http.StatusBadRequest, "reading the body: there is more after the first JSON value")
	}
	return nil
}

// span checks a time in seconds; nil is 0.
func span(name string, s *float64) (time.Duration, error) {
	if s == nil {
		return 0, nil
	}
	if !(*s > 0 && *s <= actionTimeMost.Seconds()) {
		return 0, apiError(http.StatusBadRequest, "%s is %v: it must be above 0 and at most %.0f", name, *s, actionTimeMost.Seconds())
	}
	return max(time.Duration(*s*float64(time.Second)), 1), nil
}

// reason checks a text for people.
func reason(s string) (string, error) {
	switch {
	case len(s) > actionTextMost:
		return "", apiError(http.StatusBadRequest, "reason is %d bytes long: at most %d are allowed", len(s), actionTextMost)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", apiError(http.StatusBadRequest, "reason has characters that cannot be printed")
	case s == "":
		return "by an operator", nil
	}
	return "by an operator: " + s, nil
}

func actDrain(b *balance.Backend, body *actionBody, now time.Duration) (string, error) {
	var in struct {
		Deadline *float64 `json:"deadline_seconds"`
		Reason   string   `json:"reason"`
	}
	if err := body.decode(&in); err != nil {
		return "", err
	}
	length, err := span("deadline_seconds", in.Deadline)
	if err != nil {
		return "", err
	}
	why, err := reason(in.Reason)
	if err != nil {
		return "", err
	}
	until := time.Duration(0)
	if length > 0 {
		until = now + length
	}
	others := b.Drain(until, why, now)
	message := fmt.Sprintf("%s takes no new requests; %d in flight will finish", b.ID, b.InFlight())
	if length > 0 {
		message += fmt.Sprintf("; sticky sessions stay for %v", length.Round(time.Second))
	}
	if !others {
		message += "; it was the only backend that could serve, so the pool answers 503 now"
	}
	return message, nil
}

func actUndrain(b *balance.Backend, body *actionBody, now time.Duration) (string, error) {
	if err := body.decode(&struct{}{}); err != nil {
		return "", err
	}
	if !b.Undrain(now) {
		return b.ID + " was not draining", nil
	}
	if b.State() == balance.HalfOpen {
		return b.ID + " was out before the drain: a probe decides whether it serves", nil
	}
	return b.ID + " serves again, with a slow start", nil
}

func actWeight(b *balance.Backend, body *actionBody, now time.Duration) (string, error) {
	var in struct {
		Weight *float64 `json:"weight"`
		Clear  bool     `json:"clear"`
	}
	if err := body.decode(&in); err != nil {
		return "", err
	}
	switch {
	case in.Clear == (in.Weight != nil):
		return "", apiError(http.StatusBadRequest, `give either "weight", a number from 0 to 1000000, or "clear": true`)
	case in.Clear:
		b.ClearWeight(now)
		return fmt.Sprintf("%s has its configured weight again, %v", b.ID, b.Base()), nil
	}
	if err := b.SetWeight(*in.Weight, now); err != nil {
		return "", operatorError(err)
	}
	return fmt.Sprintf("%s has the weight %v, until it is cleared", b.ID, *in.Weight), nil
}

func actEject(b *balance.Backend, body *actionBody, now time.Duration) (string, error) {
	var in struct {
		Duration *float64 `json:"duration_seconds"`
		Reason   string   `json:"reason"`
		Force    bool     `json:"force"`
	}
	if err := body.decode(&in); err != nil {
		return "", err
	}
	length, err := span("duration_seconds", in.Duration)
	if err != nil {
		return "", err
	}
	why, err := reason(in.Reason)
	if err != nil {
		return "", err
	}
	if err := b.Eject(length, why, in.Force, now); err != nil {
		return "", operatorError(err)
	}
	if length == 0 {
		return b.ID + " is ejected until it is restored", nil
	}
	return fmt.Sprintf("%s is ejected for %v; then a probe decides", b.ID, length.Round(time.Millisecond)), nil
}

func actRestore(b *balance.Backend, body *actionBody, now time.Duration) (string, error) {
	if err := body.decode(&struct{}{}); err != nil {
		return "", err
	}
	was, err := b.Restore(now)
	switch {
	case err != nil:
		return "", operatorError(err)
	case !was:
		return b.ID + " was not ejected", nil
	}
	return b.ID + " serves again, with a slow start", nil
}
