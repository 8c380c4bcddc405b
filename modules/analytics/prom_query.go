package analytics

import (
	"context"
	"errors"
	"fmt"
	"time"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/jsonutil"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// labelQuestion asks what labels or series there are.
type labelQuestion struct {
	from, to time.Time
	limit    int
	matchers [][]*labels.Matcher
}

// ask is the limit to ask the store for: one more than is sent, to know whether it was
// reached.
func (q labelQuestion) ask() int {
	if q.limit > 0 && q.limit < mostResults {
		return q.limit + 1
	}
	return mostResults + 1
}

// withStore runs a question to the store within the limits.
func (c *call) withStore(f func(ctx context.Context, s store.Store) error) error {
	e, s, err := openStore()
	if err != nil {
		return err
	}
	return c.limited(e, func(ctx context.Context) error { return f(ctx, s) })
}

// limited runs what may be costly within the limits: a place among those that run, a
// time, and an end when the client goes.
func (c *call) limited(e apiEngine, f func(ctx context.Context) error) error {
	limits := e.QueryLimits()
	most := time.Duration(limits.Timeout)
	timeout, err := c.duration("timeout", most)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), min(timeout, most))
	defer cancel()
	leave, err := queryGate.enter(ctx, limits.MaxConcurrent)
	if err != nil {
		return err
	}
	defer leave()
	defer c.limitWriting()()
	return f(ctx)
}

func serveQuery(c *call) error {
	at, err := c.time("time", time.Now())
	if err != nil {
		return err
	}
	expr, limit, err := c.expression()
	if err != nil {
		return err
	}
	if expr.Type() == parser.ValueTypeString {
		text := unwrap(expr).(*parser.StringLiteral).Val
		return c.writeResult(expr.Type(), nil, func(s *jsoniter.Stream) {
			s.WriteArrayStart()
			jsonutil.MarshalTimestamp(at.UnixMilli(), s)
			s.WriteMore()
			s.WriteString(text)
			s.WriteArrayEnd()
		})
	}
	if err := checkRange(expr, at, at); err != nil {
		return err
	}
	return c.withStore(func(ctx context.Context, s store.Store) error {
		if expr.Type() == parser.ValueTypeMatrix {
			matrix, notes, err := s.Ranges(ctx, c.get("query"), at)
			return c.writeRanges(matrix, notes, limit, err)
		}
		vector, notes, err := s.Instant(ctx, c.get("query"), at)
		if err != nil {
			return storeError(err)
		}
		if expr.Type() == parser.ValueTypeScalar && len(vector) == 1 {
			return c.writeResult(expr.Type(), notes, func(s *jsoniter.Stream) { writePoint(s, promql.FPoint{T: at.UnixMilli(), F: vector[0].F}) })
		}
		if limit > 0 && len(vector) > limit {
			vector = vector[:limit]
			notes = notes.Add(errors.New("results truncated due to limit"))
		}
		return c.writeResult(parser.ValueTypeVector, notes, func(s *jsoniter.Stream) { writeVector(s, vector) })
	})
}

func serveQueryRange(c *call) error {
	expr, limit, err := c.expression()
	if err != nil {
		return err
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return badData(fmt.Errorf("invalid expression type %q for range query, must be Scalar or instant Vector", parser.DocumentedType(t)))
	}
	for _, name := range []string{"start", "end", "step"} {
		if c.get(name) == "" {
			return badData(fmt.Errorf("%s is missing", name))
		}
	}
	start, err := c.time("start", time.Time{})
	if err != nil {
		return err
	}
	end, err := c.time("end", time.Time{})
	if err != nil {
		return err
	}
	step, err := c.duration("step", 0)
	if err != nil {
		return err
	}
	switch {
	case end.Before(start):
		return badData(errors.New("end is before start"))
	case step < time.Millisecond:
		return badData(errors.New("step is below 1 ms"))
	}
	if err := checkPoints(start, end, step); err != nil {
		return err
	}
	if err := checkRange(expr, start, end); err != nil {
		return err
	}
	return c.withStore(func(ctx context.Context, s store.Store) error {
		matrix, notes, err := s.Range(ctx, c.get("query"), start, end, step)
		return c.writeRanges(matrix, notes, limit, err)
	})
}

// writeRanges sends the ranges that a query gave, or its error.
func (c *call) writeRanges(matrix promql.Matrix, notes annotations.Annotations, limit int, err error) error {
	if err != nil {
		return storeError(err)
	}
	if limit > 0 && len(matrix) > limit {
		matrix = matrix[:limit]
		notes = notes.Add(errors.New("results truncated due to limit"))
	}
	return c.writeResult(parser.ValueTypeMatrix, notes, func(s *jsoniter.Stream) { writeMatrix(s, matrix) })
}

// expression returns the parameters query, parsed, and limit.
func (c *call) expression() (parser.Expr, int, error) {
	limit, err := c.number("limit", 0, 0, 1<<31-1)
	if err != nil {
		return nil, 0, err
	}
	query := c.get("query")
	if query == "" {
		return nil, 0, badData(errors.New("query is missing"))
	}
	expr, err := expressions.ParseExpr(query)
	if err != nil {
		return nil, 0, badData(fmt.Errorf("invalid parameter \"query\": %w", err))
	}
	return expr, limit, nil
}

// checkPoints refuses a range of too many points.
func checkPoints(start, end time.Time, step time.Duration) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	// As in Prometheus, both ends not counted: Grafana goes to this limit.
	if most := e.QueryLimits().MaxPoints; end.Sub(start)/step > time.Duration(most) {
		return beyond(fmt.Errorf("more than %d points per series: take a longer step or a shorter range, or raise `query max_points` in the configuration", most))
	}
	return nil
}

// checkRange refuses an expression that looks at too long a time, by its range selectors,
// subqueries and offsets too.
func checkRange(expr parser.Expr, start, end time.Time) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	from, to := start.UnixMilli(), end.UnixMilli()
	// Both are 0 where the expression looks at nothing.
	if first, last := promql.FindMinMaxTime(&parser.EvalStmt{Expr: expr, Start: start, End: end}); first != 0 || last != 0 {
		from, to = min(from, first), max(to, last)
	}
	most := time.Duration(e.QueryLimits().MaxRange)
	if span := to - from; span < 0 || span > most.Milliseconds() {
		return beyond(fmt.Errorf("the query looks at more than %v: take a shorter range, or raise `query max_range` in the configuration", most))
	}
	return nil
}

func serveFormatQuery(c *call) error {
	expr, _, err := c.expression()
	if err != nil {
		return err
	}
	return c.writeProm(expr.Pretty(0), nil, "")
}

// unwrap takes parentheses off.
func unwrap(expr parser.Expr) parser.Expr {
	for {
		p, ok := expr.(*parser.ParenExpr)
		if !ok {
			return expr
		}
		expr = p.Expr
	}
}
