package isolation

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func archive(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Size = 0
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// No archive can write outside its folder, nor plant a link that leads there.
func TestUnpack(t *testing.T) {
	outside := t.TempDir()
	for name, c := range map[string]struct {
		headers []tar.Header
		ok      bool
	}{
		"files":         {[]tar.Header{{Name: "a"}, {Name: "b/c"}}, true},
		"above":         {[]tar.Header{{Name: "../out"}}, false},
		"absolute":      {[]tar.Header{{Name: outside + "/out"}}, false},
		"twice":         {[]tar.Header{{Name: "a"}, {Name: "a"}}, false},
		"link":          {[]tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "l/out"}}, false},
		"link to above": {[]tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}}, false},
		"device":        {[]tar.Header{{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}}, false},
	} {
		dir := filepath.Join(t.TempDir(), "image")
		err := unpack(archive(t, c.headers...), dir)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(outside); len(left) > 0 {
			t.Fatalf("%s: wrote %v", name, left)
		}
		if info, err := os.Lstat(filepath.Join(dir, "l")); err == nil && !info.Mode().IsRegular() {
			t.Errorf("%s: a link was made", name)
		}
	}
}
