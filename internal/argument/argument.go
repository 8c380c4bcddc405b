// Package argument takes the values of options out of a Caddyfile. An error names the option
// and says what can stand there.
//
// In a configuration 0 mostly is what was left out, and means the default: there an option
// that says 0 would not do as it says, and is refused. For options of which 0 has a meaning
// there are functions that end in From0.
package argument

import (
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

const (
	mostNumber = 1e9
	mostSize   = 1 << 60
)

// Texts takes exactly as many values as there are places.
func Texts(d *caddyfile.Dispenser, to ...*string) error {
	for _, t := range to {
		if !d.NextArg() {
			return d.ArgErr()
		}
		*t = d.Val()
	}
	return NoMore(d)
}

// NoMore refuses what still stands in the line.
func NoMore(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// Count takes a whole number above 0, which may be written as 1_000_000.
func Count(d *caddyfile.Dispenser, to *int) error {
	return one(d, to, count, func(n int) bool { return n > 0 }, "a whole number above 0")
}

// CountFrom0 takes a whole number.
func CountFrom0(d *caddyfile.Dispenser, to *int) error {
	return one(d, to, count, func(n int) bool { return n >= 0 }, "a whole number from 0")
}

// Number takes a number above 0.
func Number(d *caddyfile.Dispenser, to *float64) error {
	return one(d, to, number, func(x float64) bool { return x > 0 && x <= mostNumber }, "a number above 0")
}

// NumberFrom0 takes a number.
func NumberFrom0(d *caddyfile.Dispenser, to *float64) error {
	return one(d, to, number, func(x float64) bool { return x >= 0 && x <= mostNumber }, "a number from 0")
}

// Duration takes a duration above 0.
func Duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	return one(d, to, duration, func(t caddy.Duration) bool { return t > 0 }, "a duration above 0, such as 500ms, 5s or 1m")
}

// DurationFrom0 takes a duration.
func DurationFrom0(d *caddyfile.Dispenser, to *caddy.Duration) error {
	return one(d, to, duration, isDuration, aDuration)
}

// DurationsFrom0 takes at least one duration, and at most as many as there are places.
func DurationsFrom0(d *caddyfile.Dispenser, to ...*caddy.Duration) error {
	name, list := d.Val(), d.RemainingArgs()
	if len(list) == 0 || len(list) > len(to) {
		return d.ArgErr()
	}
	for i, text := range list {
		if err := parse(d, name, text, to[i], duration, isDuration, aDuration); err != nil {
			return err
		}
	}
	return nil
}

// Size takes a number of octets above 0.
func Size(d *caddyfile.Dispenser, to *int64) error {
	return one(d, to, size, func(n int64) bool { return n > 0 }, "a size above 0, such as 512MiB")
}

// SizeFrom0 takes a number of octets.
func SizeFrom0(d *caddyfile.Dispenser, to *int64) error {
	return one(d, to, size, func(n int64) bool { return n >= 0 }, "a size such as 64KiB")
}

const aDuration = "a duration such as 500ms, 5s or 1m"

func isDuration(t caddy.Duration) bool { return t >= 0 }

// one takes the only value of an option.
func one[T any](d *caddyfile.Dispenser, to *T, read func(string) (T, error), ok func(T) bool, what string) error {
	name, text := d.Val(), ""
	if err := Texts(d, &text); err != nil {
		return err
	}
	return parse(d, name, text, to, read, ok, what)
}

func parse[T any](d *caddyfile.Dispenser, name, text string, to *T, read func(string) (T, error), ok func(T) bool, what string) error {
	v, err := read(text)
	if err != nil || !ok(v) {
		return d.Errf("%s is %q: it must be %s", name, text, what)
	}
	*to = v
	return nil
}

func count(text string) (int, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	return int(n), errAbove(err, float64(n), math.MaxInt32)
}

func number(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

func duration(text string) (caddy.Duration, error) {
	t, err := caddy.ParseDuration(text)
	return caddy.Duration(t), err
}

func size(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	return int64(n), errAbove(err, float64(n), mostSize)
}

// errAbove is err, or that x is too large.
func errAbove(err error, x, most float64) error {
	if err == nil && x > most {
		return strconv.ErrRange
	}
	return err
}
