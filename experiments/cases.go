package experiments

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// maxFile is the most bytes of a file that a user names: far above any real one,
// so that a wrong name does not fill the memory.
const maxFile = 256 << 20

// readFile reads a file that a user named; the error is the reason alone.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	var data []byte
	switch {
	case err != nil:
	case info.IsDir():
		return nil, errors.New("it is a folder, a file is wanted")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it is over %d MiB", maxFile>>20)
	default:
		data, err = os.ReadFile(path)
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return data, err
}

// ReadGenome reads a file with a policy for Evaluate. The error is a *SpecError.
func ReadGenome(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &SpecError{[]Fault{{File: path, Msg: fmt.Sprintf("cannot be read (%v); it holds an expression or a whole definition", err)}}}
	}
	return data, nil
}

// ReadCases reads {"name": {"key": value, ...}, ...}, keeping the order. A case
// becomes an association list, arrays become vectors. The error is a *SpecError.
func ReadCases(path string) ([]sandbox.Case, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &SpecError{[]Fault{{File: path, Msg: fmt.Sprintf("cannot be read (%v)", err)}}}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	cases, err := decodeCases(d)
	if err != nil {
		read := data[:min(int(d.InputOffset()), len(data))]
		return nil, &SpecError{[]Fault{{
			File: path, Line: 1 + bytes.Count(read, []byte("\n")), Column: len(read) - bytes.LastIndexByte(read, '\n'),
			Msg: fmt.Sprintf(`%v; cases look like {"name": {"capacity": 150, "items": [20, 30]}}`, err),
		}}}
	}
	return cases, nil
}

func decodeCases(d *json.Decoder) ([]sandbox.Case, error) {
	t, err := d.Token()
	if err == nil && t != json.Delim('{') {
		err = fmt.Errorf("it begins with %v", t)
	}
	if err != nil {
		return nil, fmt.Errorf("an object of cases is wanted (%w)", err)
	}
	var cases []sandbox.Case
	err = members(d, func(name string) error {
		data, err := jsonDatum(d, 0)
		if err != nil {
			return fmt.Errorf("case %q: %w", name, err)
		}
		if _, ok := data.(sexpr.List); !ok {
			return fmt.Errorf("case %q is not an object", name)
		}
		cases = append(cases, sandbox.Case{Name: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	if len(cases) == 0 {
		return nil, errors.New("there is no case")
	}
	return cases, nil
}

// members reads an object whose brace has been read, to its end.
func members(d *json.Decoder, each func(name string) error) error {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // a key: the decoder sees to it
		switch {
		case name == "":
			return errors.New("a name is empty")
		case seen[name]:
			return fmt.Errorf("%q stands twice", name)
		}
		seen[name] = true
		if err := each(name); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return unfinished(err)
}

// maxNesting bounds the stack that a hostile file costs.
const maxNesting = 100

func jsonDatum(d *json.Decoder, depth int) (sexpr.Value, error) {
	t, err := d.Token()
	if err != nil {
		return nil, unfinished(err)
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	}
	switch t := t.(type) {
	case string:
		return sexpr.String(t), nil
	case bool:
		return sexpr.Bool(t), nil
	case json.Number:
		return sexpr.Read([]byte(t))
	case json.Delim:
		if t == '[' {
			return jsonArray(d, depth)
		}
		return jsonObject(d, depth)
	}
	return nil, errors.New("null is not allowed")
}

func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func jsonArray(d *json.Decoder, depth int) (sexpr.Value, error) {
	vector := sexpr.Vector{}
	for d.More() {
		v, err := jsonDatum(d, depth+1)
		if err != nil {
			return nil, err
		}
		vector = append(vector, v)
	}
	_, err := d.Token()
	return vector, unfinished(err)
}

func jsonObject(d *json.Decoder, depth int) (sexpr.Value, error) {
	list := sexpr.List{}
	err := members(d, func(key string) error {
		v, err := jsonDatum(d, depth+1)
		if err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		name := sexpr.Symbol(key)
		if tail, ok := v.(sexpr.List); ok {
			list = append(list, append(sexpr.List{name}, tail...))
		} else {
			list = append(list, sexpr.Dotted{Items: []sexpr.Value{name}, Tail: v})
		}
		return nil
	})
	return list, err
}
