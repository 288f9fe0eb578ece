package snapshots

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"jird/snapshots/crash"
)

var (
	seed = flag.Uint64("seed", 0, "of the power cuts; 0: another each time")
	all  = flag.Bool("all", false, "try each step; else a random tenth, or fortieth with a copy")
)

// some is how many steps there are to each that is tried: with a copy there are
// many, much alike.
func some(copied bool) int {
	switch {
	case *all:
		return 1
	case copied:
		return 40
	}
	return 10
}

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

const firstDir, copyDir = "/home/vault", "/copy/vault"

// image and checkpoint are what the scripted guard writes: some pieces change
// with each LSN, some never.
func image(n int) Image {
	return Image{Name: "a", Files: []File{{Path: "agent.scm", Data: []byte(fmt.Sprint("code ", n))}, {Path: "lib.scm", Data: []byte("always")}}}
}

func checkpoint(lsn uint64, image ID) Checkpoint {
	piece := func(n uint64) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%d ", n)), 50) }
	return Checkpoint{Agent: "a", LSN: lsn, Clean: lsn%2 == 0, Image: image, Time: time.Unix(int64(lsn), 5).UTC(), Parts: []Part{
		{"memory", [][]byte{piece(lsn / 2), piece(lsn), []byte("always")}}, {"calls", nil}, {"guard", [][]byte{{}, piece(1000 + lsn)}},
	}}
}

// setUp is the number of steps of newDisk.
const setUp = 3

// newDisk has the folders in which the vaults are to be.
func newDisk() *crash.Disk {
	d := crash.New()
	if err := errors.Join(d.Mkdir("/home"), d.Mkdir("/copy"), d.SyncDir("/")); err != nil {
		panic(err)
	}
	return d
}

// script is a guard at work, and what it was promised.
type script struct {
	disk   *crash.Disk
	vault  *Vault
	copied bool
	acks   []ack
	errs   []error
	ids    []ID  // of the images that it put
	code   []int // their numbers
}

// ack is what must hold from a step of the disk on.
type ack struct {
	step   int
	lsn    uint64
	images int
	ref    ID
}

func (s *script) now() ack {
	if len(s.acks) == 0 {
		return ack{}
	}
	return s.acks[len(s.acks)-1]
}

func (s *script) at(step int) (a ack) {
	for _, b := range s.acks {
		if b.step <= step {
			a = b
		}
	}
	return a
}

// after notes the outcome of a call; change is what it promises.
func (s *script) after(err error, change func(*ack)) {
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	a := s.now()
	change(&a)
	a.step = len(s.disk.Steps()) - 1
	s.acks = append(s.acks, a)
}

func (s *script) open(dir string) (err error) {
	o := Options{Disk: s.disk}
	if s.copied {
		o.Copy, o.Say = copyDir, func(err error) { s.errs = append(s.errs, err) }
	}
	if s.vault, err = OpenWith(dir, o); err != nil {
		return err
	}
	// Of the three chunks or more of a manifest one is synced alone and two together.
	for _, v := range []*Vault{s.vault, s.vault.second.Load()} {
		if v != nil {
			v.few, v.many = 1, 2
		}
	}
	return nil
}

func (s *script) image(n int) {
	id, err := s.vault.Put(image(n))
	s.after(err, func(a *ack) { a.images++; s.ids, s.code = append(s.ids, id), append(s.code, n) })
	if err == nil {
		old := s.now().ref
		s.after(s.vault.SwapRef("a/live", old, id), func(a *ack) { a.ref = id })
	}
}

func (s *script) checkpoint(lsn uint64) {
	_, err := s.vault.PutCheckpoint(checkpoint(lsn, s.now().ref))
	s.after(err, func(a *ack) { a.lsn = lsn })
}

func (s *script) keep() {
	_, err := s.vault.KeepCheckpoints("a", 3)
	s.after(err, func(*ack) {})
}

const lastLSN = 6

// run goes on after errors, as a guard does.
func (s *script) run() {
	if err := s.open(firstDir); err != nil {
		s.errs = append(s.errs, err)
		return
	}
	defer s.vault.Close()
	s.image(1)
	for lsn := uint64(1); lsn <= 5; lsn++ {
		s.checkpoint(lsn)
		if lsn == 3 {
			s.image(2)
		}
	}
	s.keep()
	s.checkpoint(lastLSN)
	s.keep()
}

// holds says what is not as promised in the vault of a folder, and whether it can
// be worked with.
func holds(d *crash.Disk, dir string, a ack, s *script) error {
	v, err := OpenWith(dir, Options{Disk: d})
	if err != nil {
		return err
	}
	defer v.Close()
	if damage := v.Check().Damage; len(damage) > 0 {
		return fmt.Errorf("damaged: %w", errors.Join(damage...))
	}
	for i, id := range s.ids[:a.images] {
		if im, err := v.Get(id); err != nil || string(im.Files[0].Data) != fmt.Sprint("code ", s.code[i]) {
			return fmt.Errorf("image %d: %+v, %w", s.code[i], im, err)
		}
	}
	ref, err := v.Ref("a/live")
	if err != nil && (a.ref != "" || !errors.Is(err, ErrNoRef)) {
		return err
	}
	if i, was := slices.Index(s.ids, ref), slices.Index(s.ids, a.ref); i != was && i != was+1 {
		return fmt.Errorf("the ref is at image %d, not at %d or the next", i, was)
	}
	if err := newestHolds(v, a); err != nil {
		return err
	}
	return worksOn(v, d)
}

func newestHolds(v *Vault, a ack) error {
	c, steps, err := v.Newest("a")
	if a.lsn == 0 && errors.Is(err, ErrNoCheckpoint) {
		return nil
	}
	if err != nil || len(steps) > 0 {
		return fmt.Errorf("newest: %w, passed over %v", err, steps)
	}
	if c.LSN < a.lsn {
		return fmt.Errorf("newest is at %d, acknowledged is %d", c.LSN, a.lsn)
	}
	return same(c, checkpoint(c.LSN, c.Image))
}

func same(got *Checkpoint, want Checkpoint) error {
	if a, b := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", want); a != b {
		return fmt.Errorf("got the checkpoint\n%s\nnot\n%s", a, b)
	}
	return nil
}

// worksOn is the next life of a guard: it puts, prunes, and nothing is left over.
func worksOn(v *Vault, d *crash.Disk) error {
	id, err := v.Put(image(9))
	if err != nil {
		return err
	}
	if _, err := v.PutCheckpoint(checkpoint(100, id)); err != nil {
		return err
	}
	if _, err := v.KeepCheckpoints("a", 3); err != nil {
		return err
	}
	if again, err := v.KeepCheckpoints("a", 3); err != nil || len(again.Checkpoints)+len(again.Chunks)+len(again.Leftovers) > 0 {
		return fmt.Errorf("pruning twice removes %+v, %w", again, err)
	}
	if damage := v.Check().Damage; len(damage) > 0 {
		return fmt.Errorf("after going on: %w", errors.Join(damage...))
	}
	return newestHolds(v, ack{lsn: 100})
}

// cuts runs the script once and draws power cuts after one in each steps. It
// returns what does not hold in the first that fails.
func cuts(r *rand.Rand, draws, each int, copied bool, pretend func(crash.Step) bool) (steps []crash.Step, failed error) {
	d := newDisk()
	d.Pretend = pretend
	var pictures []crash.Cut
	d.After = func(_ int, cut func() crash.Cut) { pictures = append(pictures, cut()) }
	s := &script{disk: d, copied: copied}
	s.run()
	if len(s.errs) > 0 {
		return d.Steps(), errors.Join(s.errs...)
	}
	dirs := []string{firstDir}
	if copied {
		dirs = append(dirs, copyDir)
	}
	for _, i := range r.Perm(len(pictures)) {
		cut, n := pictures[i], setUp+i
		if r.IntN(each) > 0 {
			continue
		}
		for range draws {
			for _, dir := range dirs {
				if err := holds(cut.Restart(r), dir, s.at(n), s); err != nil {
					return d.Steps(), fmt.Errorf("power cut after step %d (%v): %s: %w", n, d.Steps()[n], dir, err)
				}
			}
		}
	}
	return d.Steps(), nil
}

func TestNothingAcknowledgedIsLostInAPowerCut(t *testing.T) {
	for _, copied := range []bool{false, true} {
		t.Run(fmt.Sprint("copied ", copied), func(t *testing.T) {
			t.Parallel()
			steps, err := cuts(random(t), 1, some(copied), copied, nil)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d steps", len(steps))
		})
	}
}

// class names the file of a step by its place.
func class(s crash.Step) string {
	parts := strings.Split(strings.TrimPrefix(s.Path, firstDir+"/"), "/")
	if len(parts) > 1 && parts[0] != "" {
		parts[1] = "*"
	}
	if s.Kind == "sync" { // of a temporary file
		parts[len(parts)-1] = "*"
	}
	return s.Kind + " " + path.Join(parts...)
}

// Each kind of sync is needed: the test above fails if the disk only pretends to
// do it.
func TestThePowerCutsFindEachMissingSync(t *testing.T) {
	t.Parallel()
	r := random(t)
	steps, err := cuts(r, 0, 1, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range steps[setUp:] {
		if c := class(s); strings.HasPrefix(s.Kind, "sync") && !seen[c] {
			seen[c] = true
			if _, err := cuts(r, 3, 1, false, func(s crash.Step) bool { return class(s) == c }); err == nil {
				t.Errorf("without %s nothing is lost", c)
			}
		}
	}
	if len(seen) < 10 || !seen["syncfs chunks"] {
		t.Errorf("only %v", seen)
	}
}

// A process that is killed leaves what it did in the system's memory, where the
// next one finds it and takes it for durable, until the power goes.
func TestNothingIsLostWhenAKillIsFollowedByAPowerCut(t *testing.T) {
	t.Parallel()
	r := random(t)
	whole := &script{disk: newDisk()}
	whole.run()
	for kill := setUp; kill < len(whole.disk.Steps()); kill++ {
		if r.IntN(some(false)) > 0 {
			continue
		}
		d := newDisk()
		d.Refuse = func(n int, _ crash.Step) error {
			if n >= kill {
				return errors.New("killed")
			}
			return nil
		}
		s := &script{disk: d}
		s.run()
		d.Refuse = nil
		if err := s.open(firstDir); err != nil {
			t.Fatal(err)
		}
		id, err := s.vault.Put(image(1))
		if err != nil {
			t.Fatal(err)
		}
		// The same pieces as those of the one that may have been under way.
		lsn := s.now().lsn + 1
		if _, err := s.vault.PutCheckpoint(checkpoint(lsn, id)); err != nil {
			t.Fatal(err)
		}
		s.vault.Close()
		cut := d.Cut()
		for range 3 {
			v, err := OpenWith(firstDir, Options{Disk: cut.Restart(r)})
			if err != nil {
				t.Fatal(err)
			}
			if err := newestHolds(v, ack{lsn: lsn}); err != nil {
				t.Fatalf("killed at step %d (%v): %v", kill, whole.disk.Steps()[kill], err)
			}
			v.Close()
		}
	}
}

// Any one step that the disk refuses is an error of the call, or is said of the
// copy; what was acknowledged before and after is there, now and after a cut.
func TestEachRefusedStepIsReportedAndHarmsNothing(t *testing.T) {
	for _, copied := range []bool{false, true} {
		t.Run(fmt.Sprint("copied ", copied), func(t *testing.T) {
			t.Parallel()
			r := random(t)
			whole := &script{disk: newDisk(), copied: copied}
			whole.run()
			for n, step := range whole.disk.Steps()[setUp:] {
				if r.IntN(some(copied)) > 0 {
					continue
				}
				if err := refused(r, setUp+n, step, copied); err != nil {
					t.Fatalf("step %d (%v) refused: %v", n, step, err)
				}
			}
		})
	}
}

func refused(r *rand.Rand, n int, step crash.Step, copied bool) error {
	cause := syscall.EIO
	if slices.Contains([]string{"create", "write", "mkdir", "rename"}, step.Kind) {
		cause = syscall.ENOSPC
	}
	d := newDisk()
	d.Refuse = func(i int, _ crash.Step) error {
		if i == n {
			return cause
		}
		return nil
	}
	s := &script{disk: d, copied: copied}
	s.run()
	if !errors.Is(errors.Join(s.errs...), cause) {
		return fmt.Errorf("nobody was told: %v", s.errs)
	}
	// What failed may be there or not: only the promises count.
	if err := holds(d.Cut().Restart(r), firstDir, s.now(), s); err != nil {
		return fmt.Errorf("after a power cut: %w", err)
	}
	if !strings.HasPrefix(step.Path, "/copy") {
		return holds(d, firstDir, s.now(), s)
	}
	// The copy catches up with the next write.
	again := &script{disk: d, copied: true, acks: s.acks, ids: s.ids, code: s.code}
	if err := again.open(firstDir); err != nil {
		return err
	}
	defer again.vault.Close()
	again.checkpoint(lastLSN + 1)
	if len(again.errs) > 0 {
		return errors.Join(again.errs...)
	}
	return holds(d, copyDir, again.now(), again)
}
