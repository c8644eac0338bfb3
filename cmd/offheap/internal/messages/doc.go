// Package messages measures ways of sending messages between processes: package ring beside pipes, sockets and queues.
//
// # A measurement
//
//		              this process
//		               Measure
//		     makes the link, counts, removes
//		         │                    │
//		  jobs,  │ stdin       stdin  │  jobs,
//		answers  │ stdout     stdout  │  answers
//		         ▼                    ▼
//		     ┌────────┐           ┌────────┐
//		     │ side 0 │══════════▶│ side 1 │      the link: two rings, pipes or queues, or a socket
//		     │        │◀══════════│        │
//		     └────────┘           └────────┘
//		       sends                receives, and answers in ping-pong
//
//	 1. A link is made here, for messages of one size, and tried if the kernel may refuse the size.
//	 2. Two processes of this program each get an end of it: descriptors that they inherit, and numbers.
//	 3. Rounds follow, each of a number of messages, so that no message has to say that it is the last. The first rounds are
//	    short and find out how many messages take the wanted time.
//	 4. The sides answer each round with times, processor times and latencies. Both check every message: its number, and the sum of
//	    its words.
//	 5. Their standard input ends, and so they do.
//
// # What the kernel keeps
//
// Segments, and the names of files and of POSIX queues, are removed before the first message: what is in use then goes with the
// last process that uses it. A System V queue is removed at the end, by this process; and by the sides, which see the end
// of their standard input, if this process is killed.
//
// # Touched
//
// The sender of a touched message writes all its words, where the mechanism wants them: in place in a ring, else in a
// buffer that is sent. The receiver reads all of them, likewise. What is not touched is handed over alone. Some messages, evenly spread,
// carry the time at which they were sent, also among the untouched.
package messages
