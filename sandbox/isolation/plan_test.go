package isolation

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var good = Machine{Root: true, Namespaces: true, Landlock: 7, Seccomp: true}

func TestDecideRefuses(t *testing.T) {
	for _, c := range []struct {
		machine Machine
		names   []string
	}{
		{Machine{Root: true, Landlock: 7, Seccomp: true}, []string{"namespaces"}},
		{Machine{Namespaces: true, Seccomp: true}, []string{"Landlock"}},
		{Machine{Namespaces: true, Landlock: 1}, []string{"seccomp"}},
		{Machine{}, []string{"namespaces", "Landlock", "seccomp"}},
	} {
		plan, err := Decide(Policy{Level: Full}, c.machine)
		if !errors.Is(err, ErrUnavailable) || plan.Level != "" {
			t.Errorf("%+v: %+v, %v", c.machine, plan, err)
			continue
		}
		for _, name := range []string{"namespaces", "Landlock", "seccomp"} {
			want := false
			for _, n := range c.names {
				want = want || n == name
			}
			if strings.Contains(err.Error(), name) != want {
				t.Errorf("%+v: %v; names %s: want %v", c.machine, err, name, want)
			}
		}
		if !strings.Contains(err.Error(), "--isolation none") {
			t.Errorf("no cure in %v", err)
		}
		// What is asked for by name is given, and says so.
		if plan, err := Decide(Policy{Level: None}, c.machine); err != nil || plan.String() != "none" || len(plan.Rlimits) > 0 {
			t.Errorf("none: %v, %v", plan, err)
		}
	}
	for _, level := range []Level{"", "best-effort", "FULL"} {
		if _, err := Decide(Policy{Level: level}, good); err == nil || !strings.Contains(err.Error(), string(level)) {
			t.Errorf("level %q: %v", level, err)
		}
	}
}

func TestDecideOnMachines(t *testing.T) {
	for abi, want := range map[int]struct {
		fs         uint64
		net, scope bool
	}{
		1: {0x1fff, false, false}, 2: {0x3fff, false, false}, 3: {0x7fff, false, false}, 4: {0x7fff, true, false},
		5: {0xffff, true, false}, 6: {0xffff, true, true}, 7: {0xffff, true, true}, 99: {0xffff, true, true},
	} {
		m := good
		m.Landlock = abi
		plan, err := Decide(Policy{Level: Full}, m)
		if err != nil || plan.LandlockFS != want.fs || (plan.LandlockNet == 3) != want.net || (plan.LandlockScope == 3) != want.scope {
			t.Errorf("ABI %d: %+v, %v", abi, plan, err)
		}
	}
	for _, root := range []bool{true, false} {
		m := good
		m.Root = root
		plan, err := Decide(Policy{Level: Full}, m)
		if err != nil || plan.UserNamespace == root || (plan.ProcAttr(false).UidMappings == nil) != root {
			t.Errorf("root %v: %+v, %v", root, plan, err)
		}
		if strings.Contains(plan.String(), "user and other") == root || !strings.HasPrefix(plan.String(), "full (") {
			t.Errorf("root %v: %s", root, plan)
		}
	}
}

func limitOf(limits []Rlimit, kind int) int64 {
	for _, l := range limits {
		if l.Kind == kind {
			return l.Value
		}
	}
	return -1
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		policy                      Policy
		heap, space, files, fs, cpu int64
	}{
		{Policy{Level: Full}, 64 << 20, 4*64<<20 + 512<<20, 16, 0, -1},
		{Policy{Level: Full, Heap: 1 << 30, OpenFiles: 100, Workspace: 5 << 20, CPU: 1500 * time.Millisecond}, 1 << 30, 4<<30 + 512<<20, 100, 5 << 20, 2},
	} {
		plan, err := Decide(c.policy, good)
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []Role{Server, Zygote} {
			limits := plan.limits(role)
			nproc, files, cpu := int64(0), c.files, c.cpu
			if role == Zygote {
				nproc, files, cpu = -1, max(c.files, zygoteFiles), -1
			}
			for kind, want := range map[int]int64{rlimitAS: c.space, rlimitNoFile: files, rlimitFSize: c.fs, rlimitCPU: cpu, rlimitNProc: nproc, rlimitCore: 0, rlimitMemlock: 0} {
				if got := limitOf(limits, kind); got != want {
					t.Errorf("%s, %+v: limit %d is %d, want %d", role, c.policy, kind, got, want)
				}
			}
		}
		if plan.Heap != c.heap || plan.Workspace != c.fs {
			t.Errorf("%+v", plan)
		}
		for kind := range map[int]bool{rlimitAS: true, rlimitNoFile: true, rlimitFSize: true, rlimitCPU: true, rlimitNProc: true} {
			if limitOf(plan.limits(Compiler), kind) <= 0 {
				t.Errorf("a compiler's resource %d is not limited", kind)
			}
		}
	}
}
