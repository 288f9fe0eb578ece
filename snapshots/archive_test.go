package snapshots

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"jird/snapshots/sexpr"
)

// carried is a small vault and its archive, of two images that share a chunk.
func carried(t testing.TB) (v *Vault, ids []ID, packed []byte) {
	t.Helper()
	v = vault(t)
	for n := range 2 {
		id, err := v.Put(image(n))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	var b bytes.Buffer
	if err := v.Export(&b, ids, map[string]ID{"a/live": ids[0], "a/previous": ids[1]}); err != nil {
		t.Fatal(err)
	}
	return v, ids, b.Bytes()
}

// listing is all that is in a folder, with sizes.
func listing(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" {
			return err
		}
		info, err := d.Info()
		all = append(all, fmt.Sprint(path, " ", info.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantRefused wants an archive to be refused by name, with nothing left.
func wantRefused(t testing.TB, v *Vault, what string, packed []byte, says string) {
	t.Helper()
	before := listing(t, v.dir)
	_, err := v.Import(bytes.NewReader(packed))
	var bad *ArchiveError
	if !errors.As(err, &bad) && !errors.Is(err, ErrNoArchive) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: not refused as it should be: %v", what, err)
	}
	if after := listing(t, v.dir); !reflect.DeepEqual(before, after) {
		t.Errorf("%s: left behind: %q", what, after)
	}
}

func TestImagesArriveWhole(t *testing.T) {
	from, ids, packed := carried(t)
	to := vault(t)
	for turn, fresh := range []int{2, 0} { // twice is harmless
		in, err := to.Import(bytes.NewReader(packed))
		if err != nil || in.New != fresh || len(in.Images) != 2 || in.Refs["a/live"] != ids[0] || in.Refs["a/previous"] != ids[1] {
			t.Fatalf("turn %d: %+v, %v", turn, in, err)
		}
		for _, id := range ids {
			want, err := from.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := to.Get(id); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v", id, got, err)
			}
		}
		if c := to.Check(); len(c.Damage) > 0 || c.Unused > 0 || c.Images != 2 {
			t.Errorf("%+v", c)
		}
	}
	if refs, err := to.Refs(); err != nil || len(refs) > 0 {
		t.Errorf("importing pointed refs: %v, %v", refs, err)
	}
	var again bytes.Buffer
	if err := to.Export(&again, ids, map[string]ID{"a/live": ids[0], "a/previous": ids[1]}); err != nil || !bytes.Equal(again.Bytes(), packed) {
		t.Errorf("exported again it is another archive (%v)", err)
	}
}

// Every bit of an archive counts, and each of its ends.
func TestNoFlippedNorTruncatedArchiveIsTaken(t *testing.T) {
	t.Parallel()
	_, _, packed := carried(t)
	v := vault(t)
	for at := range packed {
		flipped := bytes.Clone(packed)
		flipped[at] ^= 1 << (at % 8)
		wantRefused(t, v, fmt.Sprint("flipped at ", at), flipped, "")
		wantRefused(t, v, fmt.Sprint("cut at ", at), packed[:at], "")
	}
	wantRefused(t, v, "longer", append(bytes.Clone(packed), 0), "something follows its end")
}

func TestExportNamesDamage(t *testing.T) {
	v, ids, _ := carried(t)
	chunks, err := filepath.Glob(filepath.Join(v.dir, "chunks", "*", "*"))
	if err != nil || len(chunks) == 0 {
		t.Fatal(chunks, err)
	}
	if err := os.Truncate(chunks[0], 3); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if err := v.Export(&bytes.Buffer{}, ids, nil); !errors.As(err, &damage) || damage.File != chunks[0] {
		t.Error(err)
	}
	if err := v.Export(&bytes.Buffer{}, ids[:1], map[string]ID{"a/live": ids[1]}); err == nil || !strings.Contains(err.Error(), "a/live") {
		t.Error(err)
	}
}

// forged is an archive of any pieces, with a right sum.
func forged(version, images, refs uint32, records ...[]byte) []byte {
	b := []byte(archiveMagic)
	for _, n := range []uint32{version, images, refs} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, r := range records {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(r))), r...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func TestHostileArchivesAreRefused(t *testing.T) {
	t.Parallel()
	v := vault(t)
	chunk := func(plain []byte) []byte { return v.encoder.EncodeAll(plain, nil) }
	encode := func(m manifest) []byte {
		data, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	empty := hashOf([]byte("()"))
	one := encode(manifest{name: "a", memory: []string{empty}})
	two := encode(manifest{name: "b", memory: []string{empty}})
	if hashOf(one) > hashOf(two) {
		one, two = two, one
	}
	if _, err := vault(t).Import(bytes.NewReader(forged(1, 2, 0, one, two, chunk([]byte("()"))))); err != nil {
		t.Fatal("the forger is no good: ", err)
	}
	ref := func(name string) []byte { return []byte(name + " " + hashOf(one)) }
	x, y := hashOf([]byte("x")), hashOf([]byte("y"))
	files := func(size int64, chunks ...string) []byte {
		return encode(manifest{files: []entry{{"f", false, size, chunks}}, memory: []string{empty}})
	}
	zeros := bytes.Repeat([]byte{0}, chunkSize)
	bomb := bytes.Repeat([]byte{0}, 64<<20)
	many := make([]string, 2000)
	for i := range many {
		many[i] = hashOf(zeros)
	}
	for what, test := range map[string]struct {
		packed []byte
		says   string
	}{
		"of a newer version":      {forged(2, 0, 0), "version 2"},
		"too many images":         {forged(1, 1<<31, 0), "more than the"},
		"too many refs":           {forged(1, 0, 1<<31), "more than the"},
		"fewer images than said":  {forged(1, 3, 0, one, two, chunk([]byte("()"))), ""},
		"images out of order":     {forged(1, 2, 0, two, one, chunk([]byte("()"))), "not in order"},
		"an image twice":          {forged(1, 2, 0, one, one, chunk([]byte("()"))), "not in order"},
		"an endless manifest":     {append(forged(1, 1, 0)[:20], 0xff, 0xff, 0xff, 0xff), "is said to have"},
		"no manifest":             {forged(1, 1, 0, []byte("(jird-image 2)")), ""},
		"a file outside":          {forged(1, 1, 0, encode(manifest{files: []entry{{path: "../x"}}, memory: []string{empty}}), chunk([]byte("()"))), "leaves the agent's folder"},
		"an absolute file":        {forged(1, 1, 0, encode(manifest{files: []entry{{path: "/etc/x"}}, memory: []string{empty}}), chunk([]byte("()"))), "not relative"},
		"a file that is a folder": {forged(1, 1, 0, encode(manifest{files: []entry{{path: "a"}, {path: "a/b"}}, memory: []string{empty}}), chunk([]byte("()"))), "folder of"},
		"a ref outside":           {forged(1, 1, 1, one, ref("../a/live"), chunk([]byte("()"))), "no ref"},
		"a ref of no image":       {forged(1, 1, 1, one, []byte("a/live "+x), chunk([]byte("()"))), "not in it"},
		"a ref twice":             {forged(1, 1, 2, one, ref("a/live"), ref("a/live"), chunk([]byte("()"))), "not in order"},
		"refs out of order":       {forged(1, 1, 2, one, ref("b/live"), ref("a/live"), chunk([]byte("()"))), "not in order"},
		"a chunk missing":         {forged(1, 1, 0, one), ""},
		"a chunk that none needs": {forged(1, 1, 0, one, chunk([]byte("()")), chunk([]byte("x"))), ""},
		"chunks out of order":     {forged(1, 1, 0, files(2, x, y), chunk([]byte("()")), chunk([]byte("y")), chunk([]byte("x"))), "other content"},
		"a chunk of other bytes":  {forged(1, 1, 0, one, chunk([]byte("(1)"))), "other content"},
		"a chunk in no frame":     {forged(1, 1, 0, one, []byte("()")), "other content"},
		"a bomb":                  {forged(1, 1, 0, files(int64(len(bomb)), hashOf(bomb)), chunk([]byte("()")), chunk(bomb)), "other content"},
		"a bomb of many mentions": {forged(1, 1, 0, files(2000<<20, many...), chunk([]byte("()")), chunk(zeros)), "more than 1024 MiB"},
		"a size too small":        {forged(1, 1, 0, files(1, many...), chunk([]byte("()")), chunk(zeros)), "not the size"},
		"a bomb of memory":        {forged(1, 1, 0, encode(manifest{memory: many}), chunk(zeros)), "more than 1024 MiB"},
		"a memory that is none":   {forged(1, 1, 0, encode(manifest{memory: []string{x}}), chunk([]byte(")"))), ""},
		"of another kind":         {[]byte("PK\x03\x04 and so on"), "does not begin"},
		"empty":                   {nil, "does not begin"},
	} {
		wantRefused(t, v, what, test.packed, test.says)
	}
}

// A big image, so that chunks are many, goes through whatever order its files have.
func TestManyChunksArrive(t *testing.T) {
	t.Parallel()
	from, to := vault(t), vault(t)
	r := rand.New(rand.NewPCG(1, 2))
	im := Image{Name: "a", Memory: sexpr.List{}}
	for i := range 12 {
		data := make([]byte, r.IntN(3<<20))
		for k := 0; k < len(data); k += 1 + r.IntN(100) {
			data[k] = byte(r.IntN(256))
		}
		im.Files = append(im.Files, File{Path: fmt.Sprint("f", r.IntN(1000), "-", i), Data: data})
	}
	id, err := from.Put(im)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := from.Export(&b, []ID{id}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Import(bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	if got, err := to.Get(id); err != nil || !reflect.DeepEqual(got.Files, im.Files) {
		t.Error("the files differ: ", err)
	}
}

// Whatever is taken is whole.
func FuzzImport(f *testing.F) {
	_, _, packed := carried(f)
	f.Add(packed)
	f.Add(forged(1, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := vault(t)
		in, err := v.Import(bytes.NewReader(data))
		if c := v.Check(); len(c.Damage) > 0 || c.Unused > 0 || err == nil && c.Images != len(in.Images) || err != nil && c.Images > 0 {
			t.Errorf("%+v after %v", c, err)
		}
	})
}
