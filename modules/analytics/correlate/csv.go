package correlate

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a CSV file.
const (
	maxCSVBytes   = 512 << 20
	maxCSVColumns = 10000
	maxCSVRows    = 1000000
	maxCSVValues  = 25000000
	maxNameBytes  = 512
	// maxUnix is the year 2223 in Unix seconds; beyond, a number is more likely
	// in milliseconds.
	maxUnix = 8e9
)

// ErrCSV is wrapped by every error about the content of a CSV file.
var ErrCSV = errors.New("unusable CSV")

// table is a CSV file in memory: one slice a column, NaN for gaps, rows in the
// order of time.
type table struct {
	names   []string
	times   []float64 // Unix seconds
	lines   []int     // of the file, from 1
	columns [][]float64
}

// readTable reads a wide CSV file: a header, then a row for each instant, whose
// first column, time, has Unix seconds or RFC 3339. Empty cells and NaN or
// infinite ones are gaps. Rows need not be in order. Errors name line and column. At
// most limit bytes are read.
func readTable(r io.Reader, limit int64) (*table, error) {
	limited := &io.LimitedReader{R: r, N: limit}
	text := bufio.NewReader(limited)
	comma, err := openCSV(text)
	if err != nil {
		return nil, err
	}
	rows := csv.NewReader(text)
	rows.Comma = comma
	rows.ReuseRecord = true
	rows.TrimLeadingSpace = true
	t := &table{}
	header, err := rows.Read()
	if err != nil {
		return nil, csvError(err, 0, limit, limited)
	}
	if slices.ContainsFunc(header, func(name string) bool { return strings.Contains(name, "\r") }) {
		return nil, fmt.Errorf("%w: its lines end with a carriage return alone; save it with line feeds", ErrCSV)
	}
	if err := t.header(header); err != nil {
		return nil, err
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) && limited.N > 0 {
			break
		}
		if err != nil {
			return nil, csvError(err, len(t.names)+1, limit, limited)
		}
		line, _ := rows.FieldPos(0)
		if err := t.append(line, row); err != nil {
			return nil, err
		}
	}
	if len(t.times) == 0 {
		return nil, fmt.Errorf("%w: there is a header but no row; each row needs a time and its values", ErrCSV)
	}
	t.sort()
	return t, nil
}

// openCSV skips a byte order mark and finds what separates the cells: what
// follows the name of the first column, a comma, or a semicolon or tab as
// spreadsheets write.
func openCSV(r *bufio.Reader) (comma rune, err error) {
	const mark = "\ufeff"
	if b, _ := r.Peek(len(mark)); string(b) == mark {
		if _, err := r.Discard(len(mark)); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrCSV, err)
		}
	}
	b, _ := r.Peek(16) // whatever is wrong shows again when it is read
	for _, wide := range []string{"\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(string(b), wide) {
			return 0, fmt.Errorf("%w: it is in UTF-16; save it as UTF-8", ErrCSV)
		}
	}
	if strings.HasPrefix(string(b), "\x1f\x8b") {
		return 0, fmt.Errorf("%w: it is compressed; unpack it with gunzip first", ErrCSV)
	}
	rest := strings.TrimLeft(string(b), "\" ")
	if len(rest) < len("time") || !strings.EqualFold(rest[:len("time")], "time") {
		return ',', nil
	}
	if next := strings.TrimLeft(rest[len("time"):], "\" "); next != "" && (next[0] == ';' || next[0] == '\t') {
		return rune(next[0]), nil
	}
	return ',', nil
}

func csvError(err error, columns int, limit int64, limited *io.LimitedReader) error {
	switch {
	case limited.N <= 0:
		return fmt.Errorf("%w: more than %d MiB; cut it or take a larger step", ErrCSV, limit>>20)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty; the first line must name the columns: time,NAME,…", ErrCSV)
	case errors.Is(err, csv.ErrFieldCount):
		return fmt.Errorf("%w: %w: the header has %d, and every row must have as many; leave a cell empty for a gap", ErrCSV, err, columns)
	}
	return fmt.Errorf("%w: %w", ErrCSV, err)
}

func (t *table) header(fields []string) error {
	first := strings.TrimSpace(fields[0])
	switch {
	case !strings.EqualFold(first, "time"):
		return fmt.Errorf("%w: the first column is called %s; it must be time: rename it, or put the times first", ErrCSV, clip(first))
	case len(fields) < 2:
		return fmt.Errorf("%w: there is no column beside time; a pair takes two", ErrCSV)
	case len(fields)-1 > maxCSVColumns:
		return fmt.Errorf("%w: %d columns; at most %d", ErrCSV, len(fields)-1, maxCSVColumns)
	}
	seen := make(map[string]int, len(fields))
	for i, f := range fields[1:] {
		name := strings.Clone(strings.TrimSpace(f))
		switch {
		case name == "":
			return fmt.Errorf("%w: column %d has no name; name it in the first line, or leave the column out", ErrCSV, i+2)
		case len(name) > maxNameBytes:
			return fmt.Errorf("%w: the name of column %d has %d bytes; at most %d", ErrCSV, i+2, len(name), maxNameBytes)
		case seen[name] > 0:
			return fmt.Errorf("%w: columns %d and %d are both called %s; rename one", ErrCSV, seen[name], i+2, clip(name))
		}
		seen[name] = i + 2
		t.names = append(t.names, name)
	}
	t.columns = make([][]float64, len(t.names))
	return nil
}

func (t *table) append(line int, row []string) error {
	at, err := parseTime(strings.TrimSpace(row[0]))
	switch {
	case err != nil:
		return fmt.Errorf("%w: line %d: %w", ErrCSV, line, err)
	case len(t.times) == maxCSVRows:
		return fmt.Errorf("%w: more than %d rows; cut it or take a larger step", ErrCSV, maxCSVRows)
	case (len(t.times)+1)*len(t.names) > maxCSVValues:
		return fmt.Errorf("%w: more than %d values; take fewer rows or columns", ErrCSV, maxCSVValues)
	}
	t.times, t.lines = append(t.times, at), append(t.lines, line)
	for i, f := range row[1:] {
		v, err := parseValue(strings.TrimSpace(f))
		if err != nil {
			return fmt.Errorf("%w: line %d, column %s: %w", ErrCSV, line, clip(t.names[i]), err)
		}
		t.columns[i] = append(t.columns[i], v)
	}
	return nil
}

func parseValue(s string) (float64, error) {
	if s == "" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		if _, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64); err == nil {
			return 0, fmt.Errorf("%s is not a number; write decimals with a point", clip(s))
		}
		return 0, fmt.Errorf("%s is not a number; leave the cell empty for a gap", clip(s))
	}
	if math.IsInf(v, 0) {
		v = math.NaN()
	}
	return v, nil
}

// clip quotes what came from outside, cut to a length fit for a message.
func clip(s string) string {
	const longest = 40
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return strconv.Quote(s)
}

// sort brings the rows into the order of time.
func (t *table) sort() {
	if slices.IsSorted(t.times) {
		return
	}
	order := make([]int, len(t.times))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case t.times[a] < t.times[b]:
			return -1
		case t.times[a] > t.times[b]:
			return 1
		}
		return 0
	})
	permute := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i, k := range order {
			out[i] = v[k]
		}
		return out
	}
	t.times = permute(t.times)
	lines := make([]int, len(order))
	for i, k := range order {
		lines[i] = t.lines[k]
	}
	t.lines = lines
	for i, c := range t.columns {
		t.columns[i] = permute(c)
	}
}
