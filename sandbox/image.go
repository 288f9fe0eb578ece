package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"jird/sandbox/wire"
	"jird/snapshots/sexpr"
)

//go:embed scheme/prelude.scm
var preludeSource []byte

//go:embed scheme/zygote.scm
var zygoteSource []byte

// Prelude is the trusted Scheme code that every agent process starts with: part
// of what makes a score, so part of an evaluator's identity.
func Prelude() []byte { return slices.Clone(preludeSource) }

// Source is one Scheme file of an agent, with a name for messages.
type Source struct {
	Name string
	Code []byte
}

// Image is everything that a process knows when it starts. It is built from
// bytes, never from a folder.
type Image struct {
	Files       []Source    // loaded in this order
	Definitions []Policy    // grammar policies, installed before the files load
	Memory      sexpr.Value // association list; nil or empty for none
	Sets        uint64      // write-sets that Memory holds; see Live
	// Later, if not nil, gives Memory, a list, and Sets once they are known. A zygote is
	// started meanwhile, up to where the files would be loaded.
	Later  func(context.Context) (memory sexpr.List, sets uint64, err error)
	Recipe *Recipe // cases that the referee makes
	Given  []Case  // cases from outside, if Recipe is nil
}

// Policy is one evolved definition, `(define (name arg ...) body)`, and what it
// answers: "real" or "bool".
type Policy struct {
	Kind       string
	Definition sexpr.Value
}

// Recipe asks the referee's fitness-cases for Count cases.
type Recipe struct {
	Seed  uint64
	Count int
	Data  sexpr.Value
}

// Case is one named case.
type Case struct {
	Name string
	Data sexpr.Value
}

func symbol(name string) sexpr.Value { return sexpr.Symbol(name) }

func policies(definitions []Policy) sexpr.List {
	var list sexpr.List
	for _, d := range definitions {
		list = append(list, sexpr.List{symbol(d.Kind), d.Definition})
	}
	return list
}

func number(n int64) sexpr.Value { return sexpr.NewInt(n) }

// cons is (a . d) for any d.
func cons(a, d sexpr.Value) sexpr.Value {
	switch d := d.(type) {
	case sexpr.List:
		return append(sexpr.List{a}, d...)
	case sexpr.Dotted:
		return sexpr.Dotted{Items: append([]sexpr.Value{a}, d.Items...), Tail: d.Tail}
	}
	return sexpr.Dotted{Items: []sexpr.Value{a}, Tail: d}
}

// plan is the datum that jird-main reads; files maps an image file to its path
// in the process.
func (im Image) plan(files map[string]string, zygote sexpr.Value) sexpr.Value {
	plan := sexpr.List{cons(symbol("definitions"), policies(im.Definitions))}
	if im.Memory != nil {
		plan = append(plan, cons(symbol("memory"), im.Memory))
	}
	plan = append(plan, cons(symbol("sets"), number(int64(im.Sets))))
	if im.Later != nil {
		plan = append(plan, cons(symbol("later"), sexpr.Bool(true)))
	}
	var load sexpr.List
	for _, f := range im.Files {
		load = append(load, cons(sexpr.String(f.Name), sexpr.String(files[f.Name])))
	}
	plan = append(plan, cons(symbol("files"), load))
	if im.Recipe != nil {
		recipe := cons(number(int64(im.Recipe.Seed)), cons(number(int64(im.Recipe.Count)), im.Recipe.Data))
		plan = append(plan, cons(symbol("recipe"), recipe))
	} else if im.Given != nil {
		var given sexpr.List
		for _, c := range im.Given {
			given = append(given, cons(sexpr.String(c.Name), c.Data))
		}
		plan = append(plan, cons(symbol("given"), given))
	}
	if zygote != nil {
		plan = append(plan, cons(symbol("zygote"), zygote))
	}
	return plan
}

// partSize is about how many bytes of memory are sent at once: enough for a system
// call, little enough that the process reads one part while the next is written.
const partSize = 32 << 10

// sendLater sends what Later gives to a process that waits for it.
func (im Image) sendLater(ctx context.Context, to io.Writer) error {
	memory, sets, err := im.Later(ctx)
	if err != nil {
		return err
	}
	for len(memory) > 0 {
		part, size := sexpr.List{symbol("more")}, 0
		for ; len(memory) > 0 && size < partSize; memory = memory[1:] {
			text, err := sexpr.TextOf(memory[0])
			if err != nil {
				return err
			}
			part, size = append(part, text), size+len(text)
		}
		if err := wire.Write(to, part); err != nil {
			return err
		}
	}
	return wire.Write(to, sexpr.List{symbol("sets"), number(int64(sets))})
}

// packed is an image as the files that a process finds in its image folder.
type packed struct {
	names []string
	data  map[string][]byte
}

func (p *packed) add(name string, data []byte) {
	if p.data == nil {
		p.data = map[string][]byte{}
	}
	p.names = append(p.names, name)
	p.data[name] = data
}

func (p *packed) tar() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range p.names {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(p.data[name]))}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err := w.Write(p.data[name]); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// bootHead starts the boot script. Without a terminal neither runtime can be
// trusted to say an uncaught error where it belongs: gsi loses it, gxi prints it
// on stdout.
const bootHead = `(with-exception-catcher
 (lambda (e)
  (display-exception e (current-error-port))
  (force-output (current-error-port))
  (exit 70))
 (lambda ()
`

// pack builds the image folder for a process that sees it at dir. With objects,
// code is compiled; zygote is the datum for jird-zygote-configure!, or nil.
func (im Image) pack(dir string, objects func(Source) (string, []byte, error), zygote sexpr.Value) (*packed, error) {
	p := &packed{}
	code := []Source{{"prelude.scm", preludeSource}}
	if zygote != nil {
		code = append(code, Source{"zygote.scm", zygoteSource})
	}
	trusted := len(code)
	code = append(code, im.Files...)
	files := map[string]string{}
	var boot strings.Builder
	boot.WriteString(bootHead)
	for i, source := range code {
		name, data := fmt.Sprintf("%d.scm", i), source.Code
		if objects != nil {
			var err error
			if name, data, err = objects(source); err != nil {
				return nil, err
			}
		}
		p.add(name, data)
		if i < trusted {
			fmt.Fprintf(&boot, "(load %q)\n", dir+"/"+name)
		} else {
			files[source.Name] = dir + "/" + name
		}
	}
	// By eval: the name is Gambit's, not known to Gerbil's expander.
	fmt.Fprintf(&boot, "(eval '(jird-main %q))))\n", dir+"/plan.sexp")
	plan, err := sexpr.Canonical(im.plan(files, zygote))
	if err != nil {
		return nil, fmt.Errorf("writing the image's plan: %w", err)
	}
	p.add("plan.sexp", plan)
	p.add("boot.scm", []byte(boot.String()))
	return p, nil
}
