package correlate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// whichTimes is the way out of a time that is none.
const whichTimes = "Unix seconds such as 1700000000.5, or RFC 3339 such as 2026-01-02T03:04:05Z"

func parseTime(s string) (float64, error) {
	if s == "" {
		return 0, errors.New("there is no time; leave the row out, or write " + whichTimes)
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case math.Abs(v) <= maxUnix:
			return v, nil
		case math.IsNaN(v) || math.IsInf(v, 0):
			return 0, fmt.Errorf("the time %s is none; leave the row out, or write %s", clip(s), whichTimes)
		}
		for _, of := range []struct {
			unit string
			in   float64
		}{{"milliseconds", 1e3}, {"microseconds", 1e6}, {"nanoseconds", 1e9}} {
			if math.Abs(v)/of.in <= maxUnix {
				return 0, fmt.Errorf("the time %s seems to be in %s; Unix times are in seconds: divide by %.0f", clip(s), of.unit, of.in)
			}
		}
		return 0, fmt.Errorf("the time %s is beyond the year 2223; write %s", clip(s), whichTimes)
	}
	at, err := time.Parse(time.RFC3339Nano, canonical(s))
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05.999999999Z0700", canonical(s)) // ISO 8601 and date -Iseconds of old
	}
	if err != nil {
		if _, local := time.Parse(time.DateTime, strings.Replace(canonical(s), "T", " ", 1)); local == nil {
			return 0, fmt.Errorf("the time %s does not say its zone; append Z for UTC, or an offset such as +02:00", clip(s))
		}
		return 0, fmt.Errorf("the time %s is neither; write %s", clip(s), whichTimes)
	}
	if u := at.Unix(); u > maxUnix || u < -maxUnix {
		return 0, fmt.Errorf("the time %s is too far away; write one from 1716 to 2223", clip(s))
	}
	return float64(at.Unix()) + float64(at.Nanosecond())/1e9, nil
}

// canonical writes a time as Go wants it: RFC 3339 allows a blank or a small t
// between date and time, and a small z; others put a blank before the zone.
func canonical(s string) string {
	if zone := strings.LastIndexByte(s, ' '); zone > len("2006-01-02") {
		s = s[:zone] + s[zone+1:]
	}
	b := []byte(s)
	if date := len("2006-01-02"); len(b) > date {
		if b[date] == ' ' || b[date] == 't' {
			b[date] = 'T'
		}
		if last := len(b) - 1; b[last] == 'z' {
			b[last] = 'Z'
		}
	}
	return string(b)
}
