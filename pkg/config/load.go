// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
)

// Load reads and parses the file at path. Every error is an Errors. A file without node
// gets the host's name.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, Errors{{File: path, Message: err.Error()}}
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	if c.Node == "" {
		// Any name will do where the kernel's is none.
		if c.Node, err = os.Hostname(); err != nil || !nodeForm.MatchString(c.Node) {
			c.Node = "parry"
		}
	}
	return c, nil
}

// read returns at most a byte more than a configuration may have.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", cause(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", cause(err))
	}
	return data, nil
}

// cause strips the path from a file error: the report begins with it.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Parse reads a configuration from data; name stands for the file in errors. On success
// everything is complete: defaults are merged in, and each service's limits, timeouts, protocol, class
// and enforce are resolved. On failure the error is an Errors with all faults.
func Parse(name string, data []byte) (*Config, error) {
	root, errs := parseYAML(name, data)
	if len(errs) > 0 {
		return nil, errs.sorted(0)
	}
	c := Default()
	d := &decoder{
		source: source{file: name, pos: map[string]place{"": {1, 1}}},
		bad:    map[string]bool{},
		fresh:  c.fresh,
		games:  c.gameNames,
		fields: map[reflect.Type]map[string]field{},
	}
	d.value(root, reflect.ValueOf(c).Elem(), "", rules{})
	c.complete()
	(&checker{decoder: d, c: c}).all()
	if len(d.errs) > 0 {
		return nil, d.errs.sorted(d.more)
	}
	c.src = &d.source
	return c, nil
}

// At makes an Error about the value at path ("services[0].listen[0]"), with its place in the
// file that c was parsed from, for faults that only the running system shows.
func (c *Config) At(path, hint, format string, args ...any) Error {
	e := Error{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}
	if c.src != nil {
		p := c.src.find(path)
		e.File, e.Line, e.Column = c.src.file, p.line, p.column
	}
	return e
}
