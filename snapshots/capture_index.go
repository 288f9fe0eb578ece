package snapshots

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"jird/snapshots/disk"
)

// folderIndex is how the files of a folder looked when they were captured, so that those
// that still look so need not be read again. It holds no hashes: those are in the
// manifest of the image, which counts only if this vault has it whole. The index is worth
// nothing by itself, and whatever is wrong with it, it is as if there were none.
//
// Stored as the SHA-256 of the rest in hexadecimal, a newline, and JSON.
type folderIndex struct {
	Version int       `json:"version"`
	Image   ID        `json:"image"`
	Began   time.Time `json:"began"` // of the capture, before the first look at a file
	Files   []look    `json:"files"`
}

// look is what is compared of a file. Times are in nanoseconds.
type look struct {
	Path     string `json:"p"`
	Size     int64  `json:"s"`
	Modified int64  `json:"m"`
	Changed  int64  `json:"c"`
	Device   uint64 `json:"d"`
	Inode    uint64 `json:"i"`
}

const indexVersion = 1

// coarse is the longest step of the clocks by which file systems date a change: that of
// FAT. A change within one step of a look may leave the same times.
const coarse = 2 * time.Second

func lookOf(path string, info fs.FileInfo) look {
	l := look{Path: path, Size: info.Size(), Modified: info.ModTime().UnixNano()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		l.Changed, l.Device, l.Inode = s.Ctim.Nano(), uint64(s.Dev), s.Ino
	}
	return l
}

func (v *Vault) indexPath(dir, name string) string {
	return v.path("indexes", hashOf([]byte(name+"\x00"+dir)))
}

func (v *Vault) putIndex(dir, name string, x folderIndex) error {
	x.Version = indexVersion
	data, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return v.write(v.indexPath(dir, name), append([]byte(hashOf(data)+"\n"), data...))
}

func (v *Vault) readIndex(file string) *folderIndex {
	stored, err := v.fs.ReadFile(file)
	if err != nil {
		return nil
	}
	sum, data, _ := bytes.Cut(stored, []byte("\n"))
	x := &folderIndex{}
	if string(sum) != hashOf(data) || json.Unmarshal(data, x) != nil || x.Version != indexVersion {
		return nil
	}
	return x
}

// lastCapture is an index with the image that it is of.
type lastCapture struct {
	vault *Vault
	looks map[string]look
	files map[string]*entry
	until int64 // a file that changed later is read again
}

func (v *Vault) lastCapture(dir, name string) *lastCapture {
	x := v.readIndex(v.indexPath(dir, name))
	if x == nil {
		return nil
	}
	m, err := getManifest(v, x.Image)
	if err != nil {
		return nil
	}
	last := &lastCapture{v, map[string]look{}, map[string]*entry{}, x.Began.Add(-coarse).UnixNano()}
	for _, l := range x.Files {
		last.looks[l.Path] = l
	}
	for i := range m.files {
		last.files[m.files[i].path] = &m.files[i]
	}
	return last
}

// same is the file as it was captured last, or nil if it must be read: it looks
// otherwise, it may have changed while or after it was read without looking otherwise, or
// its chunks are not all there.
func (c *lastCapture) same(now look) *entry {
	if c == nil || now.Changed == 0 || c.looks[now.Path] != now || now.Modified >= c.until || now.Changed >= c.until {
		return nil
	}
	e := c.files[now.Path]
	if e == nil || e.size != now.Size {
		return nil
	}
	for _, hash := range e.chunks {
		if _, err := c.vault.fs.Stat(c.vault.chunkPath(hash)); err != nil {
			return nil
		}
	}
	return e
}

// staleIndexes are the paths of indexes that can be of no use: their image is not among
// those that are there, or they were not written to their end.
func (v *Vault) staleIndexes(there map[ID]bool) (stale []string, err error) {
	files, err := v.fs.ReadDir(v.path("indexes"))
	for _, file := range files {
		rel := "indexes/" + file
		if x := v.readIndex(v.path(rel)); x == nil || !there[x.Image] || strings.HasPrefix(file, disk.TempPrefix) {
			stale = append(stale, rel)
		}
	}
	return stale, err
}
