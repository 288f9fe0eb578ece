package snapshots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"jird/snapshots/sexpr"
)

// File is one file of an agent.
type File struct {
	Path       string // relative, with slashes
	Executable bool
	Data       []byte
}

// Image is an agent's code and memory.
type Image struct {
	Name    string // of the agent
	Parents []ID   // images that this one was made from
	Files   []File // sorted by path
	Memory  sexpr.Value
}

// maxImage is the most bytes of an agent folder that is read into memory.
const maxImage = 1 << 30

// ReadDir reads an agent folder: regular files, with their executable bit.
// Empty folders are not part of an image. The memory is the datum of memory.scm,
// if there is one. A folder that does not exist gives an fs.ErrNotExist.
func ReadDir(name, dir string) (Image, error) {
	im := Image{Name: name, Memory: sexpr.List{}}
	root, err := os.OpenRoot(dir) // nothing outside of it can be read
	if err != nil {
		return Image{}, err
	}
	defer root.Close()
	err = walkFolder(root, func(p string, info fs.FileInfo) error {
		data, err := root.ReadFile(p)
		im.Files = append(im.Files, File{p, executable(info), data})
		return err
	})
	if err != nil {
		return Image{}, fmt.Errorf("in %s: %w", dir, err)
	}
	if f := im.File("memory.scm"); f != nil {
		if im.Memory, err = sexpr.Read(f.Data); err != nil {
			return Image{}, fmt.Errorf("%s: %w", filepath.Join(dir, "memory.scm"), err)
		}
	}
	return im, nil
}

// walkFolder calls found with each file of an agent's folder, in the order of an image.
func walkFolder(root *os.Root, found func(path string, info fs.FileInfo) error) error {
	total := int64(0)
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is %s; an agent folder holds plain files only: replace it by a copy, or remove it", p, kindOf(d.Type()))
		}
		if err := checkPath(p); err != nil {
			return fmt.Errorf("%w: rename it", err)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); total > maxImage {
			return fmt.Errorf("%s makes the folder larger than %d MiB; keep what the agent does not load elsewhere", p, maxImage>>20)
		}
		return found(p, info)
	})
}

func executable(info fs.FileInfo) bool { return info.Mode()&0o100 != 0 }

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "something else"
}

// File returns the file of a path, or nil.
func (im *Image) File(path string) *File {
	for i := range im.Files {
		if im.Files[i].Path == path {
			return &im.Files[i]
		}
	}
	return nil
}

// checkPath refuses a path that could leave the folder it is restored to.
func checkPath(p string) error {
	switch {
	case p == "" || path.IsAbs(p):
		return fmt.Errorf("file path %q is not relative", p)
	case !utf8.ValidString(p) || strings.ContainsAny(p, "\\\x00"):
		return fmt.Errorf("file path %q is not plain text in UTF-8 without backslashes", p)
	case path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("file path %q leaves the agent's folder or is not in its shortest form", p)
	}
	return nil
}

// checkPaths refuses files that cannot all be there at once.
func checkPaths(paths []string) error {
	files := map[string]bool{}
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return err
		}
		if files[p] {
			return fmt.Errorf("file path %q stands twice", p)
		}
		files[p] = true
	}
	for _, p := range paths {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return fmt.Errorf("file path %q is a file and the folder of %q", dir, p)
			}
		}
	}
	return nil
}

type entry struct {
	path       string
	executable bool
	size       int64
	chunks     []string
}

type manifest struct {
	name    string
	parents []ID
	files   []entry
	memory  []string
}

func (m *manifest) chunks() []string {
	all := slices.Clone(m.memory)
	for _, e := range m.files {
		all = append(all, e.chunks...)
	}
	return all
}

// The manifest, version 1:
//
//	(jird-image 1 "name" ("parent" ...) (("path" executable? size "chunk" ...) ...) ("memory chunk" ...))
func (m *manifest) encode() ([]byte, error) {
	files := sexpr.List{}
	for _, e := range m.files {
		files = append(files, append(sexpr.List{sexpr.String(e.path), sexpr.Bool(e.executable), sexpr.NewInt(e.size)}, texts(e.chunks)...))
	}
	return sexpr.Canonical(sexpr.List{
		sexpr.Symbol("jird-image"), sexpr.NewInt(1), sexpr.String(m.name), texts(m.parents), files, texts(m.memory),
	})
}

func texts[S ~string](all []S) sexpr.List {
	list := sexpr.List{}
	for _, s := range all {
		list = append(list, sexpr.String(s))
	}
	return list
}

var errManifest = errors.New("manifest is not of the form (jird-image 1 NAME PARENTS FILES MEMORY)")

func decodeManifest(data []byte) (*manifest, error) {
	v, err := sexpr.DecodeCanonical(data)
	if err != nil {
		return nil, err
	}
	list, ok := v.(sexpr.List)
	if !ok || len(list) != 6 || list[0] != sexpr.Symbol("jird-image") {
		return nil, errManifest
	}
	if !sexpr.Equal(list[1], sexpr.NewInt(1)) {
		return nil, fmt.Errorf("manifest is of a version that this jird does not know; use a newer jird")
	}
	name, ok := list[2].(sexpr.String)
	parents, okParents := hashes[ID](list[3])
	files, okFiles := list[4].(sexpr.List)
	memory, okMemory := hashes[string](list[5])
	if !ok || !okParents || !okFiles || !okMemory {
		return nil, errManifest
	}
	m := &manifest{name: string(name), parents: parents, memory: memory}
	for _, f := range files {
		e, err := decodeEntry(f)
		if err != nil {
			return nil, err
		}
		m.files = append(m.files, e)
	}
	return m, checkPaths(m.paths())
}

func (m *manifest) paths() []string {
	paths := make([]string, len(m.files))
	for i, e := range m.files {
		paths[i] = e.path
	}
	return paths
}

func decodeEntry(v sexpr.Value) (entry, error) {
	list, ok := v.(sexpr.List)
	if !ok || len(list) < 3 {
		return entry{}, errManifest
	}
	path, ok := list[0].(sexpr.String)
	executable, okMode := list[1].(sexpr.Bool)
	n, okSize := list[2].(sexpr.Int)
	size, fits := n.Int64()
	chunks, okChunks := hashes[string](list[3:])
	if !ok || !okMode || !okSize || !fits || size < 0 || !okChunks {
		return entry{}, errManifest
	}
	return entry{string(path), bool(executable), size, chunks}, nil
}

func hashes[S ~string](v sexpr.Value) ([]S, bool) {
	list, ok := v.(sexpr.List)
	var all []S
	for _, item := range list {
		s, isString := item.(sexpr.String)
		ok = ok && isString && hashPattern.MatchString(string(s))
		all = append(all, S(s))
	}
	return all, ok
}
