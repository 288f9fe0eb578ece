package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/journal"
	"jird/orchestrator/serve"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// BenchmarkRestart is from starting `jird serve` for a guard that was killed to its
// first answer, with 10,000 keys and 8 MiB of journal behind the last checkpoint. The
// baseline is `jird version`, which does nothing, and then a cold gsi.
func BenchmarkRestart(b *testing.B) {
	p := newPlace(b)
	p.ok("init", "notes", "--example", "self-destruct")
	p.ends(p.served("notes/agent"), syscall.SIGTERM)
	agent := filepath.Join(p.home, "agents", "notes")
	appendCalls(b, filepath.Join(agent, "journal"))
	var ours, floor []time.Duration
	for b.Loop() {
		began := time.Now()
		c := p.command("serve", "notes")
		var said bytes.Buffer
		c.Stderr = &said
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		err := firstAnswer(b.Context(), filepath.Join(agent, "guard.sock"))
		ours = append(ours, time.Since(began))
		p.ends(c, syscall.SIGKILL)
		if err != nil {
			b.Fatalf("%v\n%s", err, said.String())
		}
		began = time.Now()
		p.ok("version")
		if err := exec.Command("gsi", "-e", "(display (+ 1 2))").Run(); err != nil {
			b.Fatal(err)
		}
		floor = append(floor, time.Since(began))
	}
	slices.Sort(ours)
	slices.Sort(floor)
	b.ReportMetric(ours[len(ours)/2].Seconds()*1000, "ms-p50")
	b.ReportMetric(ours[0].Seconds()*1000, "ms-least")
	b.ReportMetric(float64(ours[len(ours)/2])/float64(floor[len(floor)/2]), "p50/floor")
	b.ReportMetric(0, "ns/op")
}

// firstAnswer calls as soon as somebody listens.
func firstAnswer(ctx context.Context, socket string) error {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(began) > 10*time.Second {
			return err
		}
	}
	answer, _, err := serve.NewClient(socket).Call(ctx, "(recall key-7)", nil)
	if err == nil && answer == "#f" {
		err = errors.New("the first answer does not know key-7")
	}
	return err
}

// appendCalls writes 8 MiB of calls that noted something under 10,000 keys, as a
// guard does.
func appendCalls(b *testing.B, dir string) {
	b.Helper()
	l, err := wal.Open(dir, wal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for n, size := 0, 0; size < 8<<20; n++ {
		sum := sha256.Sum256(fmt.Append(nil, n))
		body := hex.EncodeToString(sum[:])
		key := sexpr.List{sexpr.Symbol("note"), sexpr.Symbol(fmt.Sprintf("key-%d", n%10_000))}
		record, err := journal.Encode(&journal.Call{
			ID: fmt.Sprintf("%s-%08d", body[:18], n), Body: body, Time: time.Now().UnixMilli(),
			Reply:  journal.Reply{Status: journal.OK, Value: sexpr.Symbol("done")},
			Writes: []journal.Write{{Key: key, Value: sexpr.String(fmt.Sprintf("what was noted by call %d", n))}},
		})
		if err == nil {
			_, err = l.Append(record)
		}
		if err != nil {
			b.Fatal(err)
		}
		size += len(record)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
