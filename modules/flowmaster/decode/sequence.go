package decode

// sequence follows the sequence numbers of one stream of datagrams.
type sequence struct {
	next  uint32
	valid bool
	late  uint8 // datagrams in a row that were behind
}

const (
	// A jump ahead by more than this is a new beginning, not loss. It leaves
	// room for a few seconds of the fastest exporters.
	maxGap = 1 << 24
	// A jump back by more than this is a new beginning, not a late datagram.
	maxLate = 1 << 16
	// So is being behind this often in a row.
	maxLateRun = 16
)

// observe takes in a datagram with number seq that accounts for n numbers,
// and counts what is missing before it. If known is false, n is not known
// and the next datagram cannot be judged.
func (s *sequence) observe(seq, n uint32, known bool, c *Counters) (lost uint32) {
	if s.valid {
		switch ahead := int32(seq - s.next); {
		case ahead == 0:
			s.late = 0
		case ahead > 0 && ahead <= maxGap:
			lost = uint32(ahead)
			c.Lost += uint64(ahead)
			c.Gaps++
			s.late = 0
		case ahead < 0 && ahead >= -maxLate && s.late < maxLateRun:
			c.Late++
			s.late++
			return 0
		default:
			c.Restarts++
			s.late = 0
		}
	}
	s.next, s.valid = seq+n, known
	return lost
}
