package snapshots

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func FuzzDecodeCheckpoint(f *testing.F) {
	m := checkpointManifest{"a", math.MaxUint64, 3, true, ID(strings.Repeat("ab", 32)), time.Unix(1, 5), []checkpointPart{{"memory", []string{strings.Repeat("cd", 32)}}, {"", nil}}}
	data, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, bad := range []string{`1 "a"`, `#t`, `18446744073709551615`, `-1`, `"memory"`} {
		f.Add(bytes.Replace(data, []byte(bad), []byte("()"), 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeCheckpoint(b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q decodes, and encodes as %q (%v)", b, again, err)
		}
	})
}

func TestDecodeCheckpointIsStrict(t *testing.T) {
	hash := `"` + strings.Repeat("ab", 32) + `"`
	good := `(jird-checkpoint 1 "a" 5 3 #t ` + hash + ` "1970-01-01T00:00:01Z" (("memory" ` + hash + `)))`
	if _, err := decodeCheckpoint([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for old, bad := range map[string][]string{
		`"a"`: {`"../a"`, `a`, `""`}, ` 5 `: {` -5 `, ` 5. `, ` 18446744073709551616 `, `  5 `}, `#t`: {`1`}, hash + ` "1`: {`"ab" "1`},
		`"1970-01-01T00:00:01Z"`: {`"1970-01-01T01:00:01+01:00"`, `"1970-01-01T00:00:01.0Z"`, `"now"`},
		`(("memory"`:             {`(("memory") ("memory"`, `((memory`, `(() ("memory"`, `("x" ("memory"`},
		`)))`:                    {`)) 1)`, `))`, `))) `, ` "x")))`},
	} {
		for _, b := range bad {
			text := strings.Replace(good, old, b, 1)
			if text == good {
				t.Fatal("not changed: ", old)
			}
			if _, err := decodeCheckpoint([]byte(text)); err == nil {
				t.Errorf("taken: %s", text)
			}
		}
	}
}
