// Package geo tells in which country and in which autonomous system an address is, from
// databases in MaxMind's format. It knows no Caddy.
//
// A database is read once, to its end, and made into a table of ranges: a file that is
// damaged anywhere is refused before anything relies on it, and a lookup is a search in
// that table, without decoding and without an allocation. The file is read and not mapped,
// because shortening a file that is mapped ends the process.
package geo
