// Package snapshots keeps images of agents: code plus memory, as
// content-addressed zstd chunks with a manifest whose hash is the image's
// identity.
//
// What is put is durable when Put returns, and what Get returns has been
// verified byte by byte against its hashes. The same content has the same
// identity anywhere: no times, owners or places go into it. There is no
// database: the manifests are the index.
//
// Layout of a vault:
//
//	chunks/ab/abcdef…      zstd frame; the name is the SHA-256 of the plain bytes
//	manifests/abcdef…      canonical S-expression; the name is its SHA-256
//	refs/NAME/live         identity of a manifest, and a newline
package snapshots

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

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
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// chunkSize is the most plain bytes of one chunk: small enough that a change in
// a large file adds little.
const chunkSize = 1 << 20

// Open opens the vault in a folder and makes what is missing.
func Open(dir string) (*Vault, error) {
	for _, sub := range []string{"chunks", "manifests", "refs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("opening the vault: %w", err)
		}
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	// A damaged or hostile chunk must not expand without bound.
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*chunkSize))
	if err != nil {
		return nil, err
	}
	return &Vault{dir: dir, encoder: encoder, decoder: decoder}, nil
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

func (v *Vault) chunkPath(hash string) string {
	return filepath.Join(v.dir, "chunks", hash[:2], hash)
}

func (v *Vault) manifestPath(id ID) string { return filepath.Join(v.dir, "manifests", string(id)) }

// write puts a file durably in place: temporary file, fsync, rename, fsync of
// the folder, so that a crash leaves the old state or the new.
func write(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (v *Vault) putChunk(plain []byte) (string, error) {
	hash := hashOf(plain)
	path := v.chunkPath(hash)
	if stored, err := v.getChunk(hash); err == nil && bytes.Equal(stored, plain) {
		return hash, nil
	}
	return hash, write(path, v.encoder.EncodeAll(plain, nil))
}

func (v *Vault) getChunk(hash string) ([]byte, error) {
	path := v.chunkPath(hash)
	packed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{path, "chunk is missing"}
	}
	if err != nil {
		return nil, err
	}
	plain, err := v.decoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, &DamageError{path, fmt.Sprintf("chunk cannot be decompressed (%v)", err)}
	}
	if hashOf(plain) != hash {
		return nil, &DamageError{path, "chunk does not have the content that its name says"}
	}
	return plain, nil
}

func (v *Vault) putBytes(data []byte) ([]string, error) {
	var hashes []string
	for part := range slices.Chunk(data, chunkSize) {
		hash, err := v.putChunk(part)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func (v *Vault) getBytes(hashes []string) ([]byte, error) {
	var data []byte
	for _, hash := range hashes {
		part, err := v.getChunk(hash)
		if err != nil {
			return nil, err
		}
		data = append(data, part...)
	}
	return data, nil
}

// Put stores an image. Storing it again changes nothing.
func (v *Vault) Put(im Image) (ID, error) {
	m := manifest{name: im.Name, parents: im.Parents}
	for _, f := range im.Files {
		hashes, err := v.putBytes(f.Data)
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
	if m.memory, err = v.putBytes(text); err != nil {
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
	if stored, err := os.ReadFile(v.manifestPath(id)); err == nil && bytes.Equal(stored, data) {
		return id, nil
	}
	return id, write(v.manifestPath(id), data)
}

// Get reads an image back, every byte verified.
func (v *Vault) Get(id ID) (*Image, error) {
	m, err := v.manifest(id)
	if err != nil {
		return nil, err
	}
	im := &Image{Name: m.name, Parents: m.parents}
	for _, e := range m.files {
		data, err := v.getBytes(e.chunks)
		if err != nil {
			return nil, fmt.Errorf("file %s of snapshot %s: %w", e.path, id, err)
		}
		if int64(len(data)) != e.size {
			return nil, &DamageError{v.manifestPath(id), fmt.Sprintf("%s has %d bytes, not %d", e.path, len(data), e.size)}
		}
		im.Files = append(im.Files, File{e.path, e.executable, data})
	}
	text, err := v.getBytes(m.memory)
	if err != nil {
		return nil, fmt.Errorf("memory of snapshot %s: %w", id, err)
	}
	if im.Memory, err = sexpr.DecodeCanonical(text); err != nil {
		return nil, &DamageError{v.manifestPath(id), fmt.Sprintf("the memory is damaged (%v)", err)}
	}
	return im, nil
}

func (v *Vault) manifest(id ID) (*manifest, error) {
	if !hashPattern.MatchString(string(id)) {
		return nil, fmt.Errorf("%q is not a snapshot's identity: 64 hexadecimal digits, see `jird snapshot list`", id)
	}
	path := v.manifestPath(id)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{path, "there is no such manifest"}
	}
	if err != nil {
		return nil, err
	}
	if hashOf(data) != string(id) {
		return nil, &DamageError{path, "manifest does not have the content that its name says (truncated or changed)"}
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, &DamageError{path, err.Error()}
	}
	return m, nil
}

// Restore writes an image into a folder that does not exist yet or is empty.
func (v *Vault) Restore(id ID, dir string) error {
	im, err := v.Get(id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("restoring into a new folder: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%s is not empty: restore into a new folder", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range im.Files {
		if err := restoreFile(root, f); err != nil {
			return fmt.Errorf("restoring into %s, which is incomplete now: %w", dir, err)
		}
	}
	return nil
}

func restoreFile(root *os.Root, f File) error {
	mode := fs.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	if err := root.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	return root.WriteFile(f.Path, f.Data, mode)
}

// IDs lists all images, sorted.
func (v *Vault) IDs() ([]ID, error) {
	entries, err := os.ReadDir(filepath.Join(v.dir, "manifests"))
	if err != nil {
		return nil, err
	}
	var ids []ID
	for _, e := range entries {
		if hashPattern.MatchString(e.Name()) {
			ids = append(ids, ID(e.Name()))
		}
	}
	return ids, nil
}
