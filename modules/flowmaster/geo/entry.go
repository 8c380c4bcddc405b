package geo

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// entry is what a database says of a network.
type entry struct {
	Info
	organization string
}

// nestedEntry is how MaxMind and DB-IP lay it out.
type nestedEntry struct {
	Country    isoCode `maxminddb:"country"`
	Registered isoCode `maxminddb:"registered_country"`
	asFields
	Traits asFields `maxminddb:"traits"`
}

type isoCode struct {
	Code string `maxminddb:"iso_code"`
}

type asFields struct {
	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
}

// flatEntry is how IPinfo and others do. A country is a code there, or a name beside the
// code.
type flatEntry struct {
	Country     string `maxminddb:"country"`
	CountryCode string `maxminddb:"country_code"`
	ASN         any    `maxminddb:"asn"` // "AS64500", "64500" or a number
	ASName      string `maxminddb:"as_name"`
	Name        string `maxminddb:"name"`
}

func decodeEntry(r maxminddb.Result) (e entry, err error) {
	var nested nestedEntry
	err = r.Decode(&nested)
	if err == nil {
		e = nested.entry()
		if e.Info != (Info{}) {
			return e, nil
		}
	} else if !isTypeError(err) {
		return e, err
	}
	var flat flatEntry
	switch err = r.Decode(&flat); {
	case err == nil:
		return flat.entry(), nil
	case isTypeError(err):
		return entry{}, nil // neither layout: the entry says nothing to us
	}
	return e, err
}

func isTypeError(err error) bool {
	var t maxminddb.UnmarshalTypeError
	return errors.As(err, &t)
}

func (n *nestedEntry) entry() (e entry) {
	if e.Country = country(n.Country.Code); e.Country == (flow.Country{}) {
		e.Country = country(n.Registered.Code)
	}
	as := n.asFields
	if as.Number == 0 {
		as = n.Traits
	}
	e.AS, e.organization = as.Number, clean(as.Organization)
	return e
}

func (f *flatEntry) entry() (e entry) {
	if e.Country = country(f.CountryCode); e.Country == (flow.Country{}) {
		e.Country = country(f.Country)
	}
	switch v := f.ASN.(type) {
	case string:
		digits := v
		if len(v) > 2 && strings.EqualFold(v[:2], "AS") {
			digits = v[2:]
		}
		if n, err := strconv.ParseUint(digits, 10, 32); err == nil {
			e.AS = uint32(n)
		}
	case uint64:
		if v <= 1<<32-1 {
			e.AS = uint32(v)
		}
	}
	if e.organization = clean(f.ASName); e.organization == "" {
		e.organization = clean(f.Name)
	}
	return e
}

// country takes two letters of ASCII, and nothing else.
func country(s string) (c flow.Country) {
	if len(s) != 2 {
		return c
	}
	for i := range c {
		b := s[i] &^ 0x20 // to upper case
		if b < 'A' || b > 'Z' {
			return flow.Country{}
		}
		c[i] = b
	}
	return c
}

// longestName bounds what is kept of a text, in octets.
const longestName = 128

// clean makes a text out of a file fit to be shown: short, valid, without what steers a
// terminal.
func clean(s string) string {
	s = s[:min(len(s), 4*longestName)]
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	for len(s) > longestName {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}
