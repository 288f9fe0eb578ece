// Package snapshots keeps images of agents, code plus memory, and checkpoints
// of live ones, as content-addressed zstd chunks with a manifest whose hash is
// the identity.
//
// What is put is durable when Put returns, and what Get returns has been
// verified byte by byte against its hashes. The same image has the same
// identity anywhere: no times, owners or places go into it. There is no
// database: the manifests are the index.
//
// Layout of a vault:
//
//	chunks/ab/abcdef…      zstd frame; the name is the SHA-256 of the plain bytes
//	manifests/abcdef…      canonical S-expression; the name is its SHA-256
//	checkpoints/NAME/…     the same; the name is LSN, generation and SHA-256
//	refs/NAME/live         identity of a manifest, and a newline
//	quarantine/…           damaged files, named by time and former path
//	indexes/abcdef…        what a folder looked like when it was captured; may be lost
//
// A chunk is durable before the manifest that names it, a manifest before a
// ref. A crash leaves at worst files that nothing names; KeepCheckpoints and Prune
// remove them.
package snapshots

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"jird/snapshots/disk"
	"jird/snapshots/sexpr"
)

// ID is the identity of an image: the hexadecimal SHA-256 of its manifest.
type ID string

// DamageError says that a stored file is missing or not what it was.
type DamageError struct {
	File string
	What string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: %s; restore it from a copy of the vault, or capture the agent again", e.File, e.What)
}

// Vault is a folder of images. Safe for concurrent use by goroutines and
// processes.
type Vault struct {
	dir     string
	fs      disk.FS
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	broken  atomic.Pointer[error] // by the first sync that failed
	few     int                   // chunks of a batch that are synced each
	many    int                   // chunks that are synced together

	// Of a vault with a second copy only.
	second    atomic.Pointer[Vault]
	say       func(error)
	mirroring sync.Mutex
}

// chunkSize is the most plain bytes of one chunk: small enough that a change in
// a large file adds little.
const chunkSize = 1 << 20

// few chunks of a batch are synced each, the others many at a time.
const few, many = 64, 512

// Options of a vault. The zero Options are of one folder on the machine's disk.
type Options struct {
	// Copy is the folder of a second copy, best on another disk. It is a whole vault
	// by itself. What is written to the first is copied before the call that wrote
	// it returns.
	Copy string
	// Say is called with everything that is wrong with the copy, and with what is
	// read from it because the first is damaged. The first copy counts: no call fails
	// because of the second. It is needed with Copy; it may be called by several
	// goroutines at once.
	Say func(error)
	// Disk is what both are on; nil is disk.OS.
	Disk disk.FS
}

// Open opens the vault in a folder and makes what is missing.
func Open(dir string) (*Vault, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with options. A copy that cannot be reached does not keep the
// first from being opened.
func OpenWith(dir string, o Options) (*Vault, error) {
	if o.Copy != "" && (o.Say == nil || filepath.Clean(o.Copy) == filepath.Clean(dir)) {
		return nil, fmt.Errorf("opening the vault: the copy %s needs another folder, and somebody who is told of its errors", o.Copy)
	}
	// On source text the fastest level stores 7 % more bytes than the default one, in less
	// than a third of the time.
	cores := runtime.GOMAXPROCS(0)
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(cores), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(chunkSize), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	// A damaged or hostile chunk must not expand without bound.
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(cores), zstd.WithDecoderMaxMemory(2*chunkSize))
	if err != nil {
		return nil, err
	}
	if o.Disk == nil {
		o.Disk = disk.OS{}
	}
	v := &Vault{dir: dir, fs: o.Disk, encoder: encoder, decoder: decoder, few: few, many: many, say: o.Say}
	if o.Copy != "" {
		v.second.Store(v.at(o.Copy))
	}
	if err := v.makeDirs(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the vault: %w", err), v.Close())
	}
	return v, nil
}

// at is a vault in another folder, opened anew.
func (v *Vault) at(dir string) *Vault {
	return &Vault{dir: dir, fs: v.fs, encoder: v.encoder, decoder: v.decoder, few: v.few, many: v.many}
}

func (v *Vault) makeDirs() error {
	for _, sub := range []string{"chunks", "manifests", "checkpoints", "refs", "quarantine", "indexes"} {
		if err := v.makeDir(v.path(sub)); err != nil {
			return err
		}
	}
	return v.syncDir(filepath.Dir(v.dir))
}

// Close releases what the vault holds in memory.
func (v *Vault) Close() error {
	v.decoder.Close()
	return v.encoder.Close()
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// path is where a file of the vault is, by its path in it.
func (v *Vault) path(rel ...string) string {
	return filepath.Join(v.dir, filepath.Join(rel...))
}

func (v *Vault) chunkPath(hash string) string { return v.path("chunks", hash[:2], hash) }

func (v *Vault) manifestPath(id ID) string { return v.path("manifests", string(id)) }

func (v *Vault) chunk(hash string) ([]byte, error) {
	_, plain, err := v.readChunk(hash)
	return plain, err
}

// readChunk reads a chunk as it is stored, and what it verifies to be.
func (v *Vault) readChunk(hash string) (packed, plain []byte, err error) {
	path := v.chunkPath(hash)
	packed, err = v.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &DamageError{path, "chunk is missing"}
	}
	if err != nil {
		return nil, nil, err
	}
	plain, err = v.decoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, nil, &DamageError{path, fmt.Sprintf("chunk cannot be decompressed (%v)", err)}
	}
	if hashOf(plain) != hash {
		return nil, nil, &DamageError{path, "chunk does not have the content that its name says"}
	}
	return packed, plain, nil
}

func (b *batch) putBytes(data []byte) ([]string, error) {
	var hashes []string
	for part := range slices.Chunk(data, chunkSize) {
		hash, err := b.put(part)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

// Put stores an image. Storing it again changes nothing.
func (v *Vault) Put(im Image) (ID, error) {
	id, err := v.put(im)
	if err == nil {
		v.mirror()
	}
	return id, err
}

func (v *Vault) put(im Image) (ID, error) {
	end, err := v.begin()
	if err != nil {
		return "", err
	}
	defer end()
	b := v.newBatch()
	defer b.close()
	m := manifest{name: im.Name, parents: im.Parents}
	for _, f := range im.Files {
		hashes, err := b.putBytes(f.Data)
		if err != nil {
			return "", err
		}
		m.files = append(m.files, entry{f.Path, f.Executable, int64(len(f.Data)), hashes})
	}
	memory := im.Memory
	if memory == nil {
		memory = sexpr.List{}
	}
	text, err := sexpr.Canonical(memory)
	if err != nil {
		return "", fmt.Errorf("the agent's memory: %w", err)
	}
	if m.memory, err = b.putBytes(text); err != nil {
		return "", err
	}
	if err := checkPaths(m.paths()); err != nil {
		return "", err
	}
	data, err := m.encode()
	if err != nil {
		return "", err
	}
	id := ID(hashOf(data))
	return id, b.seal(v.manifestPath(id), data)
}

// source is where manifests and chunks are read from, verified.
type source interface {
	chunk(hash string) ([]byte, error)
	// file returns the bytes of a manifest by its path in the vault, whose last
	// 64 characters are its hash.
	file(rel string) ([]byte, error)
}

// Get reads an image back, every byte verified.
func (v *Vault) Get(id ID) (*Image, error) { return getImage(v.either(v.sayStep), id) }

func getImage(from source, id ID) (*Image, error) {
	m, err := getManifest(from, id)
	if err != nil {
		return nil, err
	}
	im := &Image{Name: m.name, Parents: m.parents}
	for _, e := range m.files {
		data, err := getBytes(from, e.chunks)
		if err != nil {
			return nil, fmt.Errorf("file %s of snapshot %s: %w", e.path, id, err)
		}
		if int64(len(data)) != e.size {
			return nil, &DamageError{"manifests/" + string(id), fmt.Sprintf("%s has %d bytes, not %d", e.path, len(data), e.size)}
		}
		im.Files = append(im.Files, File{e.path, e.executable, data})
	}
	text, err := getBytes(from, m.memory)
	if err != nil {
		return nil, fmt.Errorf("memory of snapshot %s: %w", id, err)
	}
	if im.Memory, err = sexpr.DecodeCanonical(text); err != nil {
		return nil, &DamageError{"manifests/" + string(id), fmt.Sprintf("the memory is damaged (%v)", err)}
	}
	return im, nil
}

func getBytes(from source, hashes []string) ([]byte, error) {
	var data []byte
	for _, hash := range hashes {
		part, err := from.chunk(hash)
		if err != nil {
			return nil, err
		}
		data = append(data, part...)
	}
	return data, nil
}

func getManifest(from source, id ID) (*manifest, error) {
	if !hashPattern.MatchString(string(id)) {
		return nil, fmt.Errorf("%q is not a snapshot's identity: 64 hexadecimal digits, see `jird snapshot list`", id)
	}
	rel := "manifests/" + string(id)
	data, err := from.file(rel)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, &DamageError{rel, err.Error()}
	}
	return m, nil
}

func (v *Vault) file(rel string) ([]byte, error) {
	path := v.path(rel)
	data, err := v.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{path, "there is no such manifest"}
	}
	if err != nil {
		return nil, err
	}
	if hashOf(data) != rel[max(0, len(rel)-64):] {
		return nil, &DamageError{path, "manifest does not have the content that its name says (truncated or changed)"}
	}
	return data, nil
}

// IDs lists all images, sorted.
func (v *Vault) IDs() ([]ID, error) {
	names, err := v.fs.ReadDir(v.path("manifests"))
	if err != nil {
		return nil, err
	}
	var ids []ID
	for _, name := range names {
		if hashPattern.MatchString(name) {
			ids = append(ids, ID(name))
		}
	}
	return ids, nil
}
