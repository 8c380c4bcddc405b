package conninfo

// Socket is a TCP socket of the host (of the network namespace of this process), whoever
// has it open.
type Socket struct {
	State                 State
	LocalPort, RemotePort uint16
	// Inode tells sockets that are open apart; 0 is one that no process has open.
	Inode uint32
	// Cookie tells a socket apart from all others, also from later ones.
	Cookie uint64
	// ReceiveQueue is what waits to be read, in octets; of a listener how many connections
	// wait to be accepted. SendQueue is what waits to be acknowledged; of a listener how
	// many connections may wait.
	ReceiveQueue, SendQueue uint32
	// Info is a reading. Its Fields are 0 where the kernel gives none: of listeners and of
	// what is left of a connection that is over.
	Info Sample
}

// Listen is the state of a listener. See also State.
const Listen State = 10

// States is a set of states.
type States uint32

// StatesOf returns the set of some states.
func StatesOf(list ...State) (s States) {
	for _, one := range list {
		s |= 1 << one
	}
	return s
}

// AllStates are all that there are.
const AllStates States = 1<<13 - 2

var stateNames = [...]string{"unknown", "established", "syn_sent", "syn_received", "fin_wait_1", "fin_wait_2", "time_wait", "closed",
	"close_wait", "last_ack", "listen", "closing", "syn_received"}

// String returns the name of the state in snake case.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return stateNames[0]
	}
	return stateNames[s]
}
