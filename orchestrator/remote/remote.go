// Package remote carries jobs to workers on other machines and brings their results
// back, over NATS JetStream. It moves bytes: what a job and its result mean is not
// known here.
//
// # Promises
//
// Do returns the one result of a job, whatever is lost on the way: a worker, the
// server, its store, the network. A job is a message of a work-queue stream; a worker
// confirms it only when its result is stored; a worker that neither confirms nor beats
// for AckWait loses it to another. The first result stored for an id is its result, a
// later one is refused by the server. What has neither result nor beat and is not in
// the stream either is submitted again.
//
// A job that Tries workers took and none finished is dead: Do says so, with what the
// workers said of it, and takes it out of the stream, so that a later Do starts anew.
//
// Only a worker of the same runtime, evaluator and protocol, with the same isolation or
// a stronger one, is given a job. While none is present, Do says so, and waits.
//
// # Not promised
//
// That a job is carried out only once: after a cut or a crash it may be done twice, and
// the results must not depend on who does it. The stream is no archive: everything in it
// ages (see Kept). A worker's result is believed: a key that may work can give
// a wrong one for any job. Who may write to the server's folder can forge everything.
//
// # On the server
//
//	JIRD_WORK     jird.work.CLASS.ISOLATION.ID  jobs, each until it is confirmed
//	JIRD_RESULTS  jird.result.ID                the first result of each job
//	JIRD_DEAD     $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JIRD_WORK.*
//	OBJ_JIRD_OBJECTS                            what submitters put, named by SHA-256
//	OBJ_JIRD_OUTPUTS                            results too large for a message
//
// A submitter makes what is missing, and a consumer CLASS-ISOLATION of JIRD_WORK for each
// kind of job; every few seconds it looks whether all that is there. Streams that exist
// are taken as they are: who wants replicas in a cluster makes them beforehand. Plain
// messages, which nobody keeps: jird.job.ID.result (a result, when it has been stored),
// jird.job.ID.note (a worker's beat, or its failure), jird.worker (each worker, each
// second), jird.missing (a worker asks for an object) and jird.wake (a consumer was made).
//
// Servers from 2.9.10 on will do, the oldest that is tested. The embedded one writes each
// message to the disk before it confirms (SyncAlways); of another that is for its operator
// to set (jetstream { sync_interval: always }, from 2.10 on).
package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Limits of what the server keeps. A stream that exists keeps its own.
const (
	Tries   = 3                // workers that may try a job
	AckWait = 30 * time.Second // after which a worker that does not beat has lost its job
	Kept    = 24 * time.Hour   // age at which jobs, results and objects are dropped

	WorkBytes   = 256 << 20 // of jobs that wait; more are held back by submitters
	ResultBytes = 512 << 20 // of results, beyond which the oldest are dropped
	ResultCount = 100_000   // of results, likewise
	ObjectBytes = 4 << 30   // of objects
	OutputBytes = 1 << 30   // of results too large for a message

	// Inline is the largest body or result that travels in a message; NATS takes 1 MiB
	// at most. A larger one goes through the object store.
	Inline = 512 << 10

	// Isolations is how many levels of isolation there are: 0 is none.
	Isolations = 4
)

// Config says where the queue is and who we are.
type Config struct {
	URL string // nats://HOST:PORT or tls://HOST:PORT, several with commas; empty: a server in this process

	// Of a server in this process.
	Dir        string   // folder of its store; one process at a time
	Listen     string   // HOST:PORT where others may join; empty: this process only
	Submitters []string // public keys of those who may submit over Listen
	Workers    []string // public keys of those who may work over Listen; with neither, Listen must be a loopback address

	NKey string // file with the seed of the key to log in with (NewKey makes one); empty: none

	// PEM files. A client trusts servers that CA signed and shows Cert, if given. A server with
	// Listen shows Cert, and with CA takes only clients whose certificate CA signed.
	CA, Cert, Key string

	pace pace // zero: usual
}

// Needs is what a job asks of a worker.
type Needs struct {
	Runtime   string // name and version, equal
	Evaluator string // hash of the code around the job, equal
	Protocol  int    // equal
	Isolation int    // at least, 0 to Isolations-1
}

// Offer is what a worker says of itself; Isolation is the strongest that it has.
type Offer Needs

// class is equal for jobs that differ at most in isolation.
func (n Needs) class() string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", n.Runtime, n.Evaluator, n.Protocol))
	return hex.EncodeToString(h[:6])
}

// fit says whether a worker that offers o may do what needs n.
func (n Needs) fit(o Offer) bool {
	return n.class() == Needs(o).class() && n.Isolation <= o.Isolation
}

func (n Needs) check() error {
	if n.Isolation < 0 || n.Isolation >= Isolations {
		return fmt.Errorf("isolation %d: must be 0 to %d", n.Isolation, Isolations-1)
	}
	return nil
}

// checkID refuses what cannot be part of a subject.
func checkID(id string) error {
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return fmt.Errorf("job id %q: must be 1 to 128 letters, digits, - and _", id)
	}
	return nil
}

func hashOf(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}
