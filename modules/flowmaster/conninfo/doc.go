// Package conninfo tells what the kernel knows of a TCP connection: round-trip times,
// retransmissions, what held sending up, and how many octets went each way.
//
// A Conn is a TCP connection with the time and the last reading of it. It is read when
// someone asks and once more, for the last time, just before it is closed. Nothing
// happens on the way of data: Read, Write, sendfile and splice are the TCP connection's
// own, because the kernel counts octets anyway.
//
// On Linux a reading is one getsockopt (about 0.7 µs). The kernel says how much of the
// structure it knows, so a value that is zero and one that an older kernel does not have
// can be told apart. Elsewhere octets are counted by Read and Write, and Supported says
// that there is nothing more.
package conninfo
