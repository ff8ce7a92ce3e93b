// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"reflect"

	"parry/pkg/game"
	"parry/pkg/signature"
)

// signatureFile is a file of signatures.
type signatureFile struct {
	Signatures []Signature `yaml:"signatures" check:"required items=1024"`
}

// Signature is one rule of a file of signatures (docs/cheat.md).
type Signature struct {
	// Name is what findings call it.
	Name string `yaml:"name" check:"required format=name"`
	// Content are its bytes, in hexadecimal and in quotes, two dots for one that may be anything: `"deadbeef..01"`. Either this or `text`.
	Content string `yaml:"content" check:"format=bytes"`
	// Text are its bytes as they are read.
	Text string `yaml:"text"`
	// Offset is where in the payload they begin, counted from 0. Default: anywhere.
	Offset *uint16 `yaml:"offset" check:"max=65535"`
	// Length is how long the payload is: `20-48`, `20-` (at least) or `20` bytes. Default: any.
	Length game.Bounds `yaml:"length"`
	// Direction is which way the packet goes: `up` from the client, `down` from the server, or `both`.
	Direction string `yaml:"direction" check:"enum=up|down|both"`
	// Game is a family or title: only its packets are looked at. Default: all.
	Game string `yaml:"game" check:"enum=@games"`
	// Severity is that of a finding: above 0.8 it is acted upon.
	Severity float64 `yaml:"severity" check:"max=1"`
}

// LoadSignatures reads and compiles a file of signatures. Every error is an Errors.
func LoadSignatures(path string) (*signature.Set, error) {
	data, err := read(path)
	if err != nil {
		return nil, Errors{{File: path, Message: err.Error()}}
	}
	return ParseSignatures(path, data)
}

// ParseSignatures reads and compiles signatures; name stands for the file in errors, which are all faults of it, an Errors.
func ParseSignatures(name string, data []byte) (*signature.Set, error) {
	root, errs := parseYAML(name, data)
	if len(errs) > 0 {
		return nil, errs.sorted(0)
	}
	d := &decoder{
		source: source{file: name, pos: map[string]place{"": {1, 1}}}, bad: map[string]bool{}, fields: map[reflect.Type]map[string]field{},
		games: func() []string { return nil },
		fresh: func(t reflect.Type) reflect.Value {
			v := reflect.New(t).Elem()
			if s, ok := v.Addr().Interface().(*Signature); ok {
				s.Direction, s.Severity = string(signature.Up), 0.9
			}
			return v
		},
	}
	var file signatureFile
	d.value(root, reflect.ValueOf(&file).Elem(), "", rules{})
	rules := d.signatures(file.Signatures)
	if len(d.errs) > 0 {
		return nil, d.errs.sorted(d.more)
	}
	set, err := signature.Compile(rules)
	if err != nil {
		return nil, Errors{{File: name, Line: 1, Column: 1, Message: err.Error()}}
	}
	return set, nil
}

// signatures makes rules of what was read, and says what is wrong with them where they stand.
func (d *decoder) signatures(all []Signature) []signature.Rule {
	names := map[string]int{}
	var out []signature.Rule
	for i := range all {
		s, at := &all[i], fmt.Sprintf("signatures[%d]", i)
		if first, is := names[s.Name]; is && d.has(at+".name") {
			d.fail(at+".name", "", "signature %s is already there, in line %d", s.Name, d.find(fmt.Sprintf("signatures[%d].name", first)).line)
		}
		names[s.Name] = i
		if d.bad[at] || d.bad[at+".content"] || d.bad[at+".text"] || d.bad[at+".length"] || d.bad[at+".offset"] || d.bad[at+".severity"] {
			continue
		}
		r, err := s.rule()
		if err != nil {
			d.fail(at+".content", "", "%s", err)
			continue
		}
		if why := r.Fault(); why != "" {
			where := at + ".content"
			if s.Text != "" {
				where = at + ".text"
			}
			d.fail(where, "", "%s", why)
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s *Signature) rule() (signature.Rule, error) {
	r := signature.Rule{
		Name: s.Name, Game: s.Game, Direction: signature.Direction(s.Direction), Offset: signature.Anywhere, Length: s.Length, Severity: s.Severity,
	}
	if s.Offset != nil {
		r.Offset = int(*s.Offset)
	}
	if (s.Content == "") == (s.Text == "") {
		return r, errors.New("want either content (in hexadecimal) or text")
	}
	if s.Text != "" {
		for _, b := range []byte(s.Text) {
			r.Content = append(r.Content, int16(b))
		}
		return r, nil
	}
	var err error
	r.Content, err = game.ParsePattern(s.Content)
	return r, err
}
