package snapshots

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"jird/snapshots/sexpr"
)

// FolderError says that an agent's folder cannot be captured as it is.
type FolderError struct {
	Dir string
	Err error
}

func (e *FolderError) Error() string { return fmt.Sprintf("in %s: %v", e.Dir, e.Err) }

// Unwrap returns the cause.
func (e *FolderError) Unwrap() error { return e.Err }

// filesAtOnce is how many files are captured or restored at once: more than there are
// cores, since most of them wait for the disk.
const filesAtOnce = 16

// Capture stores an agent's folder as ReadDir and Put would, without having it in
// memory. A file that looks as it did when the folder was last captured into this vault
// is not read again, unless verify is set: then all are, and every chunk that is stored
// already is too. What is wrong with the folder is a *FolderError.
func (v *Vault) Capture(name, dir string, parents []ID, verify bool) (ID, error) {
	id, err := v.capture(name, dir, parents, verify)
	if err == nil {
		v.mirror()
	}
	return id, err
}

func (v *Vault) capture(name, dir string, parents []ID, verify bool) (ID, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	began := time.Now()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", &FolderError{dir, err}
	}
	defer root.Close()
	end, err := v.begin()
	if err != nil {
		return "", err
	}
	defer end()
	c := capture{batch: v.newBatch(), root: root, dir: dir, next: folderIndex{Began: began}}
	defer c.batch.close()
	if !verify {
		c.last = v.lastCapture(dir, name)
	}
	m := &manifest{name: name, parents: parents}
	if m.files, err = c.readFiles(); err != nil {
		return "", err
	}
	if m.memory, err = c.readMemory(m.files); err != nil {
		return "", err
	}
	if err := checkPaths(m.paths()); err != nil {
		return "", &FolderError{dir, err}
	}
	data, err := m.encode()
	if err != nil {
		return "", err
	}
	id := ID(hashOf(data))
	if err := c.batch.seal(v.manifestPath(id), data); err != nil {
		return "", err
	}
	c.next.Image = id
	return id, v.putIndex(dir, name, c.next)
}

// capture is a folder on its way into the vault.
type capture struct {
	batch *batch
	root  *os.Root
	dir   string
	last  *lastCapture // nil: every file is read
	next  folderIndex
}

func (c *capture) wrong(err error) error { return &FolderError{c.dir, err} }

func (c *capture) readFiles() ([]entry, error) {
	var files []entry
	err := walkFolder(c.root, func(path string, info fs.FileInfo) error {
		files = append(files, entry{path: path, executable: executable(info)})
		c.next.Files = append(c.next.Files, lookOf(path, info))
		return nil
	})
	if err != nil {
		return nil, c.wrong(err)
	}
	var g errgroup.Group
	g.SetLimit(filesAtOnce)
	for i := range files {
		if same := c.last.same(c.next.Files[i]); same != nil {
			files[i].size, files[i].chunks = same.size, same.chunks
			continue
		}
		g.Go(func() error { return c.readFile(&files[i]) })
	}
	return files, g.Wait()
}

// buffers are of one chunk each. To make a new one for each chunk costs a tenth of the time
// that it takes to compress it.
var buffers = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

func (c *capture) readFile(e *entry) error {
	f, err := c.root.Open(e.path)
	if err != nil {
		return c.wrong(err)
	}
	defer f.Close()
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for part := *buffer; ; {
		n, err := io.ReadFull(f, part)
		if n > 0 {
			hash, err := c.batch.put(part[:n])
			if err != nil {
				return err
			}
			e.size, e.chunks = e.size+int64(n), append(e.chunks, hash)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return c.wrong(err)
		}
		if e.size > maxImage {
			return c.wrong(fmt.Errorf("%s grows faster than it can be read", e.path))
		}
	}
}

// readMemory stores the datum of memory.scm, if that is among the files.
func (c *capture) readMemory(files []entry) ([]string, error) {
	text := []byte("()")
	if i := slices.IndexFunc(files, func(e entry) bool { return e.path == "memory.scm" }); i >= 0 {
		var err error
		if text, err = c.memoryText(files[i]); err != nil {
			return nil, c.wrong(fmt.Errorf("memory.scm: %w", err))
		}
	}
	return c.batch.putBytes(text)
}

func (c *capture) memoryText(file entry) ([]byte, error) {
	data, err := c.root.ReadFile(file.path)
	if err != nil {
		return nil, err
	}
	var hashes []string
	for part := range slices.Chunk(data, chunkSize) {
		hashes = append(hashes, hashOf(part))
	}
	if !slices.Equal(hashes, file.chunks) {
		return nil, errors.New("it changed while it was captured; capture the folder again")
	}
	memory, err := sexpr.Read(data)
	if err != nil {
		return nil, err
	}
	return sexpr.Canonical(memory)
}
