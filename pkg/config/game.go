// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"parry/pkg/game"
)

// Game is a game that parry doesn't know: services name it as any other. `parry profile learn` writes one from a capture of good play.
type Game struct {
	// Name is what services call it: none of the names of games that parry knows.
	Name string `yaml:"name" check:"required format=name"`
	// Title is its name for people. Default: `name`.
	Title string `yaml:"title"`
	// Class is the latency class. Default: `mmorpg`.
	Class string `yaml:"class" check:"enum=@classes"`
	// Protocol is what it is played over, the protocol of play first.
	Protocol []string `yaml:"protocol" check:"required single enum=udp|tcp items=2"`
	// First is what a stranger's first packet looks like, over the protocol of play: it has one of these shapes, or is refused
	// (`gate_refused`) before anything is stored about it. Default: any is let in.
	First []Shape `yaml:"first" check:"items=3"`
}

// Shape is what first packets of one kind have in common. What a shape asks for besides lengths is looked up in windows of eight
// bytes: at most three of them in all shapes of a game.
type Shape struct {
	// Length is how long the payload is: `20-48`, `20-` (at least) or `20` bytes. Default: as long as its bytes need.
	Length game.Bounds `yaml:"length"`
	// At is where in the payload `bytes` begin, counted from 0.
	At uint16 `yaml:"at" check:"max=1472"`
	// Bytes are those that never change, in hexadecimal and in quotes, two dots for one that may be anything: `"ffffffff..02"`.
	Bytes string `yaml:"bytes" check:"format=bytes"`
}

const maxPattern = 1472 // characters of a shape's bytes; windows bound them far below

// parseLength reads 20-48, 20- or 20.
func parseLength(s string) (game.Bounds, error) {
	first, last, isRange := strings.Cut(s, "-")
	least, err := strconv.ParseUint(first, 10, 16)
	most := least
	if err == nil && isRange && last == "" {
		most = 0
	} else if err == nil && isRange {
		most, err = strconv.ParseUint(last, 10, 16)
	}
	switch {
	case err != nil:
		return game.Bounds{}, faultf("", "%q is no length: want bytes, as 20-48, 20- or 20, up to 65535", s)
	case isRange && last != "" && most < least:
		return game.Bounds{}, faultf(fmt.Sprintf("%d-%d", most, least), "length %s runs backwards", s)
	case least == 0 && (most > 0 || !isRange):
		return game.Bounds{}, faultf("", "length %s: a first packet without a payload never comes to a gate; want 1 at least", s)
	case least == 0:
		return game.Bounds{}, faultf("", "length %s is every packet's: leave it out", s)
	}
	return game.Bounds{Min: uint16(least), Max: uint16(most)}, nil
}

func bytesFault(s string) *fault {
	if len(s) > maxPattern {
		return faultf("", "bytes of %d characters: at most %d", len(s), maxPattern)
	}
	if _, err := game.ParsePattern(s); err != nil {
		return faultf("", "%s", err)
	}
	return nil
}

// shapes are a game's first packets as its gate is told them.
func (g *Game) shapes() []game.Shape {
	var out []game.Shape
	for _, f := range g.First {
		pattern, err := game.ParsePattern(f.Bytes)
		if err != nil {
			continue // refused where it stands
		}
		out = append(out, game.Shape{Length: f.Length, At: int(f.At), Bytes: pattern})
	}
	return out
}

// Profiles are the games that the configuration defines.
func (c *Config) Profiles() []game.Profile {
	var all []game.Profile
	for i := range c.Games {
		all = append(all, c.Games[i].profile())
	}
	return all
}

func (g *Game) profile() game.Profile {
	return game.Custom(g.Name, g.Title, g.Class, g.Protocol, g.shapes())
}

// profile is what a service's game stands for.
func (c *Config) profile(name string) (game.Profile, bool) {
	if i := slices.IndexFunc(c.Games, func(g Game) bool { return g.Name == name }); i >= 0 {
		return c.Games[i].profile(), true
	}
	return game.Lookup(name)
}

func (c *Config) gameNames() []string {
	var names []string
	for i := range c.Games {
		names = append(names, c.Games[i].Name)
	}
	return names
}

// games checks that names are free, and that some packet can have each shape.
func (k *checker) games() {
	at := func(i int) string { return fmt.Sprintf("games[%d].name", i) }
	k.unique(len(k.c.Games), "game", at, func(i int) string { return k.c.Games[i].Name })
	for i := range k.c.Games {
		g := &k.c.Games[i]
		if _, known := game.Lookup(g.Name); known && k.has(at(i)) {
			k.fail(at(i), "", "%s is a game that parry knows: call yours otherwise", g.Name)
		}
		sound := true
		for j, f := range g.First {
			path := fmt.Sprintf("games[%d].first[%d]", i, j)
			if k.bad[path] || k.bad[path+".length"] || k.bad[path+".at"] || k.bad[path+".bytes"] {
				sound = false
				continue
			}
			one := Game{First: []Shape{f}}
			if why := one.shapes()[0].Fault(); why != "" {
				sound = false
				k.fail(path, "", "%s", why)
			}
		}
		if path := fmt.Sprintf("games[%d].first", i); sound && !k.bad[path] {
			if _, err := game.ShapeParams("udp", g.shapes()); err != nil {
				k.fail(path, "", "%s", err)
			}
		}
	}
}
