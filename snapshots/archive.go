package snapshots

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"jird/snapshots/sexpr"
)

// An archive carries images, with all chunks that they need, and refs to another vault.
// Version 1; numbers are big-endian:
//
//	+----------+---------+---------+---------+
//	| jirdpack | version | n       | r       |   8, 4, 4 and 4 bytes; n images, r refs
//	+--------+-+---------+----+----+---------+
//	| length | manifest       |                  n times, by identity, none twice
//	+--------+----------------+
//	| length | ref identity   |                  r times, by name, none twice; the identity
//	+--------+----------------+                  is that of one of the images
//	| length | zstd frame     |                  a chunk: all that the manifests name, each
//	+--------+----------------+                  once, in the order of their first mention
//	| SHA-256 of all before   |                  32 bytes, then the end of the file
//	+-------------------------+
//
// The manifests come first so that a reader knows at each chunk which one it must be: an
// archive can hold nothing that no image needs, in no other order, and how many bytes it
// unpacks to is known before the first is unpacked.
const (
	archiveMagic   = "jirdpack"
	archiveVersion = 1

	maxArchived  = 1 << 16           // images, and refs
	maxManifest  = 16 << 20          // bytes of one; 10,000 files take 1.5 MiB
	maxManifests = 256 << 20         // bytes of all: they are kept while the chunks are read
	maxRef       = 512               // bytes of a ref with its identity
	maxFrame     = chunkSize + 1<<14 // what does not compress grows by less than a hundredth
)

// ErrNoArchive says that a file is something else, or of a newer jird.
var ErrNoArchive = errors.New("not an archive of snapshots that this jird can read")

// ArchiveError says that an archive is not what was exported. Nothing of it was taken.
type ArchiveError struct{ What string }

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("the archive is damaged: %s; nothing of it was taken. Copy it again, or export it again with `jird snapshot export`", e.What)
}

func badArchive(format string, args ...any) error {
	return &ArchiveError{fmt.Sprintf(format, args...)}
}

// Export writes an archive of images and of refs to any of them. Every chunk is
// verified on its way.
func (v *Vault) Export(w io.Writer, ids []ID, refs map[string]ID) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) > maxArchived || len(refs) > maxArchived {
		return fmt.Errorf("%d images and %d refs are more than the %d that an archive holds: export them in parts", len(ids), len(refs), maxArchived)
	}
	buffered := bufio.NewWriterSize(w, 1<<16)
	sum := sha256.New()
	out := io.MultiWriter(buffered, sum)
	header := binary.BigEndian.AppendUint32([]byte(archiveMagic), archiveVersion)
	header = binary.BigEndian.AppendUint32(header, uint32(len(ids)))
	header = binary.BigEndian.AppendUint32(header, uint32(len(refs)))
	if _, err := out.Write(header); err != nil {
		return err
	}
	var chunks []string
	for _, id := range ids {
		m, err := getManifest(v, id)
		if err != nil {
			return err
		}
		data, err := m.encode()
		if err != nil {
			return err
		}
		if len(data) > maxManifest {
			return fmt.Errorf("the manifest of snapshot %.12s has %d bytes, more than the %d that an archive holds", id, len(data), maxManifest)
		}
		chunks = append(chunks, m.chunks()...)
		if err := writeRecord(out, data); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		if _, found := slices.BinarySearch(ids, refs[name]); !found {
			return fmt.Errorf("ref %s is at %.12s, which is not among the images to be exported", name, refs[name])
		}
		if err := writeRecord(out, []byte(name+" "+string(refs[name]))); err != nil {
			return err
		}
	}
	for _, hash := range firstMentions(chunks) {
		packed, _, err := v.readChunk(hash)
		if err != nil {
			return err
		}
		if err := writeRecord(out, packed); err != nil {
			return err
		}
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return buffered.Flush()
}

func writeRecord(w io.Writer, data []byte) error {
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data)))); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func firstMentions(hashes []string) (all []string) {
	seen := map[string]bool{}
	for _, hash := range hashes {
		if !seen[hash] {
			seen[hash] = true
			all = append(all, hash)
		}
	}
	return all
}

// archive is what one holds besides its chunks.
type archive struct {
	ids       []ID
	manifests []*manifest
	refs      map[string]ID
}

// readArchive reads all of an archive and calls chunk with each one, verified. What it
// returns without an error would be whole in a vault that has the chunks.
func (v *Vault) readArchive(r io.Reader, chunk func(plain []byte) error) (*archive, error) {
	in := &archiveReader{r: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	a := &archive{refs: map[string]ID{}}
	images, refs, err := in.header()
	if err != nil {
		return nil, err
	}
	if err := a.readManifests(in, images); err != nil {
		return nil, err
	}
	if err := a.readRefs(in, refs); err != nil {
		return nil, err
	}
	if err := a.readChunks(v, in, chunk); err != nil {
		return nil, err
	}
	return a, in.end()
}

func (a *archive) readManifests(in *archiveReader, count int) error {
	total := 0
	for range count {
		data, err := in.record("manifest", maxManifest)
		if err != nil {
			return err
		}
		if total += len(data); total > maxManifests {
			return badArchive("its manifests have more than %d bytes", maxManifests)
		}
		id := ID(hashOf(data))
		if n := len(a.ids); n > 0 && a.ids[n-1] >= id {
			return badArchive("its manifests are not in order")
		}
		m, err := decodeManifest(data)
		if err == nil {
			err = m.bounded()
		}
		if err != nil {
			return badArchive("image %.12s: %v", id, err)
		}
		a.ids, a.manifests = append(a.ids, id), append(a.manifests, m)
	}
	return nil
}

// bounded refuses an image that could not be read into memory. What the sizes say is
// held against the chunks later.
func (m *manifest) bounded() error {
	left := int64(maxImage)
	for _, e := range m.files {
		if left -= min(e.size, maxImage+1); left < 0 {
			return fmt.Errorf("its files have more than %d MiB", maxImage>>20)
		}
	}
	return nil
}

func (a *archive) readRefs(in *archiveReader, count int) error {
	last := ""
	for range count {
		data, err := in.record("ref", maxRef)
		if err != nil {
			return err
		}
		name, id, _ := strings.Cut(string(data), " ")
		if !refPattern.MatchString(name) || name <= last {
			return badArchive("%q is no ref, or not in order", name)
		}
		if _, found := slices.BinarySearch(a.ids, ID(id)); !found {
			return badArchive("ref %s is at an image that is not in it", name)
		}
		a.refs[name], last = ID(id), name
	}
	return nil
}

func (a *archive) readChunks(v *Vault, in *archiveReader, chunk func(plain []byte) error) error {
	var named []string
	kept, memories := map[string][]byte{}, 0 // of memories, which must be data
	for _, m := range a.manifests {
		named = append(named, m.chunks()...)
		for _, hash := range m.memory {
			kept[hash] = nil
		}
	}
	sizes := map[string]int64{}
	for _, hash := range firstMentions(named) {
		packed, err := in.record("chunk", maxFrame)
		if err != nil {
			return err
		}
		plain, err := v.decoder.DecodeAll(packed, nil)
		if err != nil || len(plain) > chunkSize || hashOf(plain) != hash {
			return badArchive("chunk %.12s is missing or has other content", hash)
		}
		sizes[hash] = int64(len(plain))
		if _, keep := kept[hash]; keep {
			if memories += len(plain); memories > maxImage {
				return errMemories
			}
			kept[hash] = plain
		}
		if err := chunk(plain); err != nil {
			return err
		}
	}
	memories = 0 // again, for images may share chunks
	for i, m := range a.manifests {
		for _, hash := range m.memory {
			if memories += len(kept[hash]); memories > maxImage {
				return errMemories
			}
		}
		if err := m.fits(sizes, kept); err != nil {
			return badArchive("image %.12s: %v", a.ids[i], err)
		}
	}
	return nil
}

var errMemories = badArchive("its memories have more than %d MiB, which is more than images of one archive may", maxImage>>20)

// fits says whether chunks of these sizes make up the image, as getImage wants it.
func (m *manifest) fits(sizes map[string]int64, kept map[string][]byte) error {
	for _, e := range m.files {
		left := e.size
		for _, hash := range e.chunks {
			left -= sizes[hash]
		}
		if left != 0 {
			return fmt.Errorf("%s has not the size that is said", e.path)
		}
	}
	var memory []byte
	for _, hash := range m.memory {
		memory = append(memory, kept[hash]...)
	}
	if _, err := sexpr.DecodeCanonical(memory); err != nil {
		return fmt.Errorf("its memory: %w", err)
	}
	return nil
}

// archiveReader reads the pieces of an archive and takes their sum.
type archiveReader struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (in *archiveReader) read(n int) ([]byte, error) {
	data := make([]byte, n)
	if _, err := io.ReadFull(in.r, data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, badArchive("it ends too early")
	} else if err != nil {
		return nil, err
	}
	in.sum.Write(data)
	return data, nil
}

func (in *archiveReader) header() (images, refs int, err error) {
	magic, err := in.read(len(archiveMagic))
	var short *ArchiveError
	if errors.As(err, &short) || err == nil && string(magic) != archiveMagic {
		return 0, 0, fmt.Errorf("%w: it does not begin with %q", ErrNoArchive, archiveMagic)
	}
	if err != nil {
		return 0, 0, err
	}
	numbers, err := in.read(12)
	if err != nil {
		return 0, 0, err
	}
	if version := binary.BigEndian.Uint32(numbers); version != archiveVersion {
		return 0, 0, fmt.Errorf("%w: it is of version %d, this jird knows version %d", ErrNoArchive, version, archiveVersion)
	}
	n, r := binary.BigEndian.Uint32(numbers[4:]), binary.BigEndian.Uint32(numbers[8:])
	if n > maxArchived || r > maxArchived {
		return 0, 0, badArchive("it says that it holds %d images and %d refs, more than the %d that can be", n, r, maxArchived)
	}
	return int(n), int(r), nil
}

// record reads a length and so many bytes; the length is not believed beyond limit.
func (in *archiveReader) record(what string, limit uint32) ([]byte, error) {
	prefix, err := in.read(4)
	if err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(prefix)
	if length > limit {
		return nil, badArchive("a %s is said to have %d bytes, more than %d", what, length, limit)
	}
	return in.read(int(length))
}

func (in *archiveReader) end() error {
	want := in.sum.Sum(nil)
	got, err := in.read(len(want))
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return badArchive("its sum is another")
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return err
		}
		return badArchive("something follows its end")
	}
	return nil
}
