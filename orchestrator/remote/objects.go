package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// chunkSize is what of an object travels in one message: the server syncs each.
const chunkSize = 512 << 10

// object is what may have to be put again.
type object struct {
	data []byte
	uses int // Puts, which are for good, and Dos under way; guarded by Queue.mu

	mu  sync.Mutex // held while it is sent
	put time.Time  // when it was last seen on the server
}

// Put makes data available to all jobs and returns its SHA-256, by which a worker asks
// for it. It is sent once however often it is put, and again when the server has lost
// it: data must not be changed, and stays in memory until Close.
func (q *Queue) Put(ctx context.Context, data []byte) (hash string, err error) {
	ctx, release, err := q.within(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	hash, _, err = q.put(ctx, data)
	return hash, err
}

// put is Put; the object is forgotten when drop is called.
func (q *Queue) put(ctx context.Context, data []byte) (hash string, drop func(), err error) {
	hash = hashOf(data)
	q.mu.Lock()
	o := q.objects[hash]
	if o == nil {
		o = &object{data: data}
		q.objects[hash] = o
	}
	o.uses++
	q.mu.Unlock()
	drop = func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if o.uses--; o.uses == 0 {
			delete(q.objects, hash)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.put.IsZero() {
		err = q.send(ctx, hash, o, false)
	}
	if err != nil {
		drop()
	}
	return hash, drop, err
}

// send sends an object; unless again, only where the server has none of this name. The
// object's mu is held.
func (q *Queue) send(ctx context.Context, hash string, o *object, again bool) error {
	err := q.link.persist(ctx, "putting an object", q.repair, func(limited context.Context) error {
		bucket, err := q.link.js.ObjectStore(limited, objectBucket)
		if err != nil {
			return err
		}
		if !again {
			info, err := bucket.GetInfo(limited, hash)
			if err == nil && info.Size == uint64(len(o.data)) {
				return nil
			}
		}
		return write(ctx, q.link, bucket, hash, o.data)
	})
	if err == nil {
		o.put = time.Now()
	}
	return err
}

func write(ctx context.Context, l *link, bucket jetstream.ObjectStore, hash string, data []byte) error {
	return l.limited(ctx, transferLimit(len(data)), func(ctx context.Context) error {
		_, err := bucket.Put(ctx, jetstream.ObjectMeta{Name: hash, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}, bytes.NewReader(data))
		return err
	})
}

// errChanged says that an object does not have the hash that is its name.
var errChanged = errors.New("it is not what its name says")

// read is the object of a hash, verified.
func read(ctx context.Context, l *link, bucket, hash string) (data []byte, err error) {
	var b jetstream.ObjectStore
	var info *jetstream.ObjectInfo
	err = l.limited(ctx, callLimit, func(ctx context.Context) error {
		if b, err = l.js.ObjectStore(ctx, bucket); err == nil {
			info, err = b.GetInfo(ctx, hash)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = l.limited(ctx, transferLimit(int(info.Size)), func(ctx context.Context) error {
		data, err = b.GetBytes(ctx, hash)
		return err
	})
	if err == nil && hashOf(data) != hash || errors.Is(err, jetstream.ErrDigestMismatch) {
		return nil, fmt.Errorf("object %s: %w", hash, errChanged)
	}
	return data, err
}

// lost says that an object is not there, or not whole.
func lost(err error) bool {
	return errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, errChanged)
}

// transferLimit allows a line of 1 MiB/s.
func transferLimit(size int) time.Duration {
	return 30*time.Second + time.Duration(size>>20)*time.Second
}

// missingLimit is how long a submitter may take to put an object again.
const missingLimit = 10 * time.Minute

// putAgain answers a worker that misses an object, if we have it.
func (q *Queue) putAgain(m *nats.Msg) {
	hash := string(m.Data)
	q.mu.Lock()
	o := q.objects[hash]
	q.mu.Unlock()
	if o == nil {
		return
	}
	asked := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.put.Before(asked) { // else it was sent for another worker meanwhile
		if q.send(q.ctx, hash, o, true) != nil {
			return
		}
	}
	m.Respond(nil)
}
