package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	workStream   = "JIRD_WORK"
	resultStream = "JIRD_RESULTS"
	deadStream   = "JIRD_DEAD"
	objectBucket = "JIRD_OBJECTS"
	outputBucket = "JIRD_OUTPUTS"

	workerSubject  = "jird.worker"
	missingSubject = "jird.missing"
	wakeSubject    = "jird.wake"
	deadSubject    = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + workStream + ".*"
)

// Headers of messages.
const (
	objectHeader = "Jird-Object" // the bytes are the object of this hash
	noteHeader   = "Jird-Note"   // what a worker says of a job:
	noteBeat     = "beat"        // it is at it
	noteFailed   = "failed"      // it cannot do it, and why
	noteReturned = "returned"    // it ends, and gives it back
)

func resultSubject(id string) string { return "jird.result." + id }
func noteSubject(id string) string   { return "jird.job." + id + ".note" }
func heardSubject(id string) string  { return "jird.job." + id + ".*" }

func (n Needs) subject(id string) string {
	return fmt.Sprintf("jird.work.%s.%d.%s", n.class(), n.Isolation, id)
}

func (n Needs) consumer() string { return fmt.Sprintf("%s-%d", n.class(), n.Isolation) }

const deadBytes = 16 << 20 // of what the server says of dead jobs

func streams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name: resultStream, Subjects: []string{"jird.result.*"},
			MaxAge: Kept, MaxBytes: ResultBytes, MaxMsgs: ResultCount, Discard: jetstream.DiscardOld,
			AllowDirect: true,
			// Who waits hears of a result when it is the first one, and is stored.
			RePublish: &jetstream.RePublish{Source: "jird.result.*", Destination: "jird.job.{{wildcard(1)}}.result"},
		},
		{
			Name: deadStream, Subjects: []string{deadSubject},
			MaxAge: Kept, MaxMsgs: 10_000, MaxBytes: deadBytes, Discard: jetstream.DiscardOld,
		},
		{
			Name: workStream, Subjects: []string{"jird.work.>"}, Retention: jetstream.WorkQueuePolicy,
			MaxAge: Kept, MaxBytes: WorkBytes, Discard: jetstream.DiscardNew,
			AllowDirect: true,
		},
	}
}

func buckets() []jetstream.ObjectStoreConfig {
	return []jetstream.ObjectStoreConfig{
		{Bucket: objectBucket, TTL: Kept, MaxBytes: ObjectBytes},
		{Bucket: outputBucket, TTL: Kept, MaxBytes: OutputBytes},
	}
}

// build makes the streams and buckets that are missing. It returns the streams, in the
// order of streams.
func build(ctx context.Context, js jetstream.JetStream) (all []jetstream.Stream, err error) {
	for _, c := range streams() {
		s, err := js.Stream(ctx, c.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = js.CreateStream(ctx, c)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by another submitter, just now
			s, err = js.Stream(ctx, c.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", c.Name, err)
		}
		all = append(all, s)
	}
	for _, c := range buckets() {
		_, err := js.ObjectStore(ctx, c.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			_, err = js.CreateObjectStore(ctx, c)
		}
		if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
			return nil, fmt.Errorf("object store %s: %w", c.Bucket, err)
		}
	}
	return all, nil
}

// created is when each stream was made: where it is another time, it is another stream.
func created(all []jetstream.Stream) (times []time.Time) {
	for _, s := range all {
		times = append(times, s.CachedInfo().Created)
	}
	return times
}

// buildConsumer makes the consumer of one kind of job, if it is missing.
func buildConsumer(ctx context.Context, js jetstream.JetStream, n Needs, ackWait time.Duration) (made bool, err error) {
	_, err = js.Consumer(ctx, workStream, n.consumer())
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, err
	}
	_, err = js.CreateConsumer(ctx, workStream, jetstream.ConsumerConfig{
		Durable: n.consumer(), FilterSubject: n.subject("*"),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: Tries,
		MaxAckPending: 10_000, // jobs under way at once
		MaxWaiting:    10_000, // idle slots of workers
		// Long enough for its jobs, since without it they would not be found.
		InactiveThreshold: 2 * Kept,
	})
	if errors.Is(err, jetstream.ErrConsumerExists) { // by another submitter, just now
		return false, nil
	}
	return err == nil, err
}

// missing says that a part of the layout is gone, or that nobody answers for it.
func missing(err error) bool {
	for _, e := range []error{
		jetstream.ErrStreamNotFound, jetstream.ErrConsumerNotFound, jetstream.ErrBucketNotFound,
		jetstream.ErrNoStreamResponse, jetstream.ErrConsumerDoesNotExist, errNoResponders,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func code(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}

// Codes of the server that the client has no name for.
const (
	storeFailed  jetstream.ErrorCode = 10077 // a stream has no room
	serverSmall  jetstream.ErrorCode = 10047
	accountSmall jetstream.ErrorCode = 10002
)

// full says that a stream has no room.
func full(err error) bool { return code(err) == storeFailed }

// small says that a server, or our account there, has less storage than what is to be
// made may take.
func small(err error) bool { return code(err) == serverSmall || code(err) == accountSmall }

// taken says that there is a message for the subject already.
func taken(err error) bool {
	c := code(err)
	return c == jetstream.JSErrCodeStreamWrongLastSequence || c == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}
