// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"fmt"
	"strings"
	"time"
)

// yaml is the proposal as a file that its reader can understand and change.
func (p *Profile) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What "parry profile learn" saw of %s: %d packets of %d sessions and %d sources in %v.
# It is a proposal: read it, then
#
#   parry check -c FILE             is the file good?
#   sudo parry replay -c FILE %s   what would the edge have done with that very play?
`, p.Server, p.Packets, p.Sessions, p.Sources, time.Duration(p.Seconds*float64(time.Second)).Round(time.Second), plain(p.Files[0]))
	if p.Replay != nil {
		fmt.Fprintf(&b, "#\n# It was %s.\n", p.Replay)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "#\n# Note: %s.\n", n)
	}
	b.WriteString(`
# With "false" nothing is dropped, parry only counts what it would drop ("parry status"). Let it run so for a day, then write "true".
enforce: false
`)
	p.game(&b)
	p.service(&b)
	return b.String()
}

// Enforced is the same configuration, enforced.
func (p *Profile) Enforced() string {
	return strings.Replace(p.YAML, "\nenforce: false\n", "\nenforce: true\n", 1)
}

// plain keeps a file's name to a line of a comment.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd {
			return '?'
		}
		return r
	}, name)
}

// game writes the game, where it is none that parry knows.
func (p *Profile) game(b *strings.Builder) {
	if !p.own {
		if !p.Known {
			fmt.Fprintf(b, "\n# No first packet is told from another: %s.\n", p.WhyNot)
		}
		return
	}
	fmt.Fprintf(b, "\ngames:\n  - name: %s\n    class: mmorpg   # yours to say: fps, moba, rts or mmorpg\n    protocol: %s\n", p.Game, p.Server.Protocol)
	if len(p.First) == 0 {
		fmt.Fprintf(b, "    # no first packet is told from another: %s\n", p.WhyNot)
		return
	}
	fmt.Fprintf(b, "    # What all of %d first packets have in common; lengths have some room. Bytes that are numbers (lengths, ports, times) are left out.\n", p.firsts)
	if h := p.HeldOut; h != nil {
		fmt.Fprintf(b, "    # Held out: learned of %d of them, sent by half of the sources, %d of the other half's %d pass.\n", h.Learned, h.Passed, h.Asked)
	}
	b.WriteString("    first:\n")
	for _, s := range p.First {
		if s.Bytes == "" {
			fmt.Fprintf(b, "      - {length: %s}\n", s.Length)
			continue
		}
		fmt.Fprintf(b, "      - {length: %s, at: %d, bytes: %q}\n", s.Length, s.At, s.Bytes)
	}
}

func (p *Profile) service(b *strings.Builder) {
	fmt.Fprintf(b, "\nservices:\n  - name: %s\n    game: %s", p.Service, p.Game)
	if p.Known {
		fmt.Fprintf(b, "   # %s", p.confidence)
	}
	fmt.Fprintf(b, "\n    protocol: %s\n    listen: %q\n", p.Server.Protocol, p.Server.Address)
	b.WriteString("    forward: local   # the server runs on this machine; for one elsewhere write pool: instead, and a pool (docs/examples/nat.yaml)\n")
	if p.gate == "watch" {
		b.WriteString("    enforce_gate: false   # the game's gate refused some of this play: it only watches, and counts\n")
	}
	if p.fromServer > 0 {
		fmt.Fprintf(b, "    # (the server's longest packet: %d bytes; nothing bounds those)\n", p.fromServer)
	}
	open := ""
	for _, f := range p.Limits {
		parts := strings.Split(f.Section, ".")
		if f.Section != open {
			if top, _, _ := strings.Cut(open, "."); top != parts[0] {
				fmt.Fprintf(b, "    %s:\n", parts[0])
			}
			if len(parts) > 1 {
				fmt.Fprintf(b, "      %s:\n", parts[1])
			}
			open = f.Section
		}
		fmt.Fprintf(b, "%s%s: %s   # %s\n", strings.Repeat("  ", len(parts)+2), f.Key, f.Value, f.Why)
	}
}
