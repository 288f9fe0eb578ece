package remote

import "time"

// pace is how long we wait, and for what. Tests are quicker.
type pace struct {
	ack      time.Duration // AckWait
	patience time.Duration // of a job that nobody takes, before something is said
	look     time.Duration // between two looks at what should be on the server
	check    time.Duration // before a job that is not heard of is looked up, give or take half; doubled with each time
	fail     time.Duration // before a job that a worker could not do is given to another
	retry    time.Duration // before a request is made again, at most
	ping     time.Duration // between two questions on a silent connection; two without an answer end it
	withdraw time.Duration // for taking a job out of the stream after its caller has gone
}

var usual = pace{
	ack:      AckWait,
	patience: 3 * time.Second,
	look:     3 * time.Second,
	check:    10 * time.Second,
	fail:     time.Second,
	retry:    5 * time.Second,
	ping:     5 * time.Second,
	withdraw: time.Second,
}
