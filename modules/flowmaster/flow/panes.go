package flow

// paneSeconds is how long a pane of each window is. Top lists need more
// memory than totals, so a window has fewer panes than buckets: 6, 10 and 6.
var paneSeconds = [windows]int64{10, 60, 600}

var panesKept = [windows]int{6, 10, 6}

// panes are the complete panes of one window, oldest first.
type panes struct {
	complete []*pane
	building []*pane // panes of the window below, to become one of these
}

// push adds a complete pane.
func (p *panes) push(w Window, done *pane) {
	if len(p.complete) == panesKept[w] {
		copy(p.complete, p.complete[1:])
		p.complete = p.complete[:len(p.complete)-1]
	}
	p.complete = append(p.complete, done)
}

// since returns the complete panes that end after second.
func (p *panes) since(w Window, second int64) []*pane {
	for i, c := range p.complete {
		if c.start+paneSeconds[w] > second {
			return p.complete[i:]
		}
	}
	return nil
}

// history is the panes of all windows.
type history struct {
	k      int
	levels [windows]panes
}

// push adds a pane of the shortest window that is complete at second now, and
// passes on to the longer ones what has become complete with it.
func (h *history) push(done *pane, now int64) { h.pushTo(LastMinute, done, now) }

func (h *history) pushTo(w Window, done *pane, now int64) {
	h.levels[w].push(w, done)
	up := w + 1
	if int(up) == windows {
		return
	}
	above, step := &h.levels[up], paneSeconds[up]
	// A pause may have left an older pane unfinished.
	if len(above.building) > 0 && above.building[0].start/step != done.start/step {
		h.pushTo(up, h.build(up), now)
	}
	above.building = append(above.building, done)
	if now/step != done.start/step {
		h.pushTo(up, h.build(up), now)
	}
}

// build makes one pane of those that were collected for it.
func (h *history) build(w Window) *pane {
	above := &h.levels[w]
	start := above.building[0].start
	done := mergePanes(h.k, start-start%paneSeconds[w], above.building)
	clear(above.building)
	above.building = above.building[:0]
	return done
}

// collect returns the panes that make up window w at second now, without what
// the shards are still collecting: the complete ones, and those of the shorter
// windows that are to become the next.
func (h *history) collect(w Window, now int64) []*pane {
	parts := append([]*pane(nil), h.levels[w].since(w, now-int64(w.Span().Seconds()))...)
	for ; w > LastMinute; w-- {
		parts = append(parts, h.levels[w].building...)
	}
	return parts
}
