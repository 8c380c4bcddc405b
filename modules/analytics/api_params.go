package analytics

import (
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Bounds of what a request may bring along.
const (
	maxFormBytes  = 1 << 20
	maxParamBytes = 32 << 10
	maxParamCount = 256
)

// minAPITime and maxAPITime are the first and the last second of RFC 3339.
var (
	minAPITime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	maxAPITime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// readForm reads the parameters of a request: those of the URL, and those of the body of a
// POST before them.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if len(r.URL.RawQuery) > maxFormBytes {
		return nil, apiErrorf(http.StatusRequestURITooLong, "the parameters are longer than %d bytes", maxFormBytes)
	}
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.ContentLength != 0 && (err != nil || kind != "application/x-www-form-urlencoded") {
			return nil, apiErrorf(http.StatusUnsupportedMediaType, "send the parameters as application/x-www-form-urlencoded")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	}
	if err := r.ParseForm(); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, apiErrorf(http.StatusRequestEntityTooLarge, "the parameters are longer than %d bytes", maxFormBytes)
		}
		return nil, apiErrorf(http.StatusBadRequest, "reading the parameters: %w", err)
	}
	count := 0
	for name, values := range r.Form {
		count += len(values)
		for _, v := range values {
			if len(v) > maxParamBytes {
				return nil, apiErrorf(http.StatusBadRequest, "parameter %.40q has %d bytes: at most %d are taken", name, len(v), maxParamBytes)
			}
		}
	}
	if count > maxParamCount {
		return nil, apiErrorf(http.StatusBadRequest, "%d parameters: at most %d are taken", count, maxParamCount)
	}
	return r.Form, nil
}

// get returns a parameter, "" if it is not given.
func (c *call) get(name string) string { return c.form.Get(name) }

// time returns a parameter that is a time, absent if it is not given.
func (c *call) time(name string, absent time.Time) (time.Time, error) {
	s := c.get(name)
	if s == "" {
		return absent, nil
	}
	t, err := parseTime(s)
	if err != nil {
		return t, apiErrorf(http.StatusBadRequest, "%s: %w", name, err)
	}
	return t, nil
}

// duration returns a parameter that is a positive duration, absent if it is not given.
func (c *call) duration(name string, absent time.Duration) (time.Duration, error) {
	s := c.get(name)
	if s == "" {
		return absent, nil
	}
	d, err := parseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%.40q is not positive", s)
	}
	if err != nil {
		return 0, apiErrorf(http.StatusBadRequest, "%s: %w", name, err)
	}
	return d, nil
}

// number returns a parameter that is a whole number of at least low and at most high,
// absent if it is not given.
func (c *call) number(name string, absent, low, high int) (int, error) {
	s := c.get(name)
	if s == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, apiErrorf(http.StatusBadRequest, "%s is %.40q: it must be a whole number from %d to %d", name, s, low, high)
	}
	return n, nil
}

// flag returns a parameter that is on or off; given without a value it is on.
func (c *call) flag(name string) (bool, error) {
	if !c.form.Has(name) {
		return false, nil
	}
	switch s := c.get(name); s {
	case "", "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	default:
		return false, apiErrorf(http.StatusBadRequest, "%s is %.40q: it must be true or false", name, s)
	}
}

// choice returns a parameter that is one of a few words, the first of them if it is not
// given.
func (c *call) choice(name string, words ...string) (string, error) {
	s := c.get(name)
	if s == "" {
		return words[0], nil
	}
	if !slices.Contains(words, s) {
		return "", apiErrorf(http.StatusBadRequest, "%s is %.40q: it must be %s", name, s, strings.Join(words, ", "))
	}
	return s, nil
}

// parseTime takes RFC 3339 and seconds since 1970, and cuts them to the years that RFC 3339
// can write.
func parseTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) {
		switch {
		case f <= float64(minAPITime.Unix()):
			return minAPITime, nil
		case f >= float64(maxAPITime.Unix()):
			return maxAPITime, nil
		}
		whole, part := math.Modf(f)
		// Finer than milliseconds a float of this size is not.
		return time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)).UTC(), nil
	}
	switch s {
	// How Prometheus writes its own bounds, which are beyond what time can parse.
	case "-292273086-05-16T16:47:06Z":
		return minAPITime, nil
	case "292277025-08-18T07:12:54.999999999Z", "+292277025-08-18T07:12:54.999999999Z":
		return maxAPITime, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Before(minAPITime) || t.After(maxAPITime) {
		return time.Time{}, fmt.Errorf("%.60q is no time: take RFC 3339 or seconds since 1970", s)
	}
	return t.UTC(), nil
}

// parseDuration takes seconds and durations such as 5m or 1d, as Prometheus does.
func parseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		f *= float64(time.Second)
		if !(math.Abs(f) < math.MaxInt64) {
			return 0, fmt.Errorf("%.60q is no duration: it is too long", s)
		}
		return time.Duration(f), nil
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%.60q is no duration: take seconds, or one such as 30s, 5m or 1d", s)
	}
	return time.Duration(d), nil
}
