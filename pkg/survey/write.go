// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"fmt"
	"slices"
	"strings"

	"parry/pkg/config"
)

// YAML is the plan as a file that its reader can understand and change.
func (p *Plan) YAML(host, path string) string {
	var b strings.Builder
	pad := func(command string) string { return fmt.Sprintf("%-*s", len("check -c "+path+" --host"), command) }
	fmt.Fprintf(&b, `# What "parry init" found on %s. Read it, change what is wrong: every key is explained in docs/configuration.md.
#
#   sudo parry %s   is the file good, and will it work on this machine?
#   sudo parry %s   for two minutes, then it undoes itself: nothing can go wrong for long
#   sudo parry %s   meanwhile, in a second window: keep it

# Packets of known players pass, floods are dropped. With "false" nothing is dropped, parry only counts what it would
# drop ("parry status"). Let it run so for a day, then write "true".
enforce: false

# The network cards that players' packets come in by.
interfaces:
`, host, pad("check -c "+path+" --host"), pad("try -c "+path), pad("confirm"))
	for _, i := range p.Interfaces {
		text := fmt.Sprintf("  - {name: %s}", i.Name)
		if i.Mode != "native" {
			text = fmt.Sprintf("  - {name: %s, mode: %s}", i.Name, i.Mode)
		}
		if i.Why != "" {
			text += "   # " + i.Why
		}
		fmt.Fprintln(&b, text)
	}
	p.always(&b)
	if len(p.Services) > 0 {
		b.WriteString("\n# What players connect to. The servers run on this machine (forward: local): packets are checked, then go to them as before.\nservices:\n")
	}
	for i, s := range p.Services {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.yaml(&b)
	}
	p.others(&b)
	return b.String()
}

func (p *Plan) always(b *strings.Builder) {
	var words []string
	for _, port := range p.Always {
		words = append(words, config.ProtoPort{Proto: "tcp", Port: port}.String())
	}
	if len(words) == 0 {
		b.WriteString("\n# Your way in works whatever comes. (No ssh was found: this is its usual port.)\nhost: {always: [tcp/22]}\n")
		return
	}
	fmt.Fprintf(b, "\n# Your way in (ssh) works whatever comes.\nhost: {always: [%s]}\n", strings.Join(words, ", "))
}

// mostNamed is how many servers of a service are named one by one.
const mostNamed = 12

func (s *Service) yaml(b *strings.Builder) {
	servers := "1 server"
	if n := len(s.Servers); n != 1 {
		servers = fmt.Sprintf("%d servers", n)
	}
	fmt.Fprintf(b, "  # %s: %s\n", s.Title, servers)
	for i, l := range s.Servers {
		if i == mostNamed && len(s.Servers) > mostNamed+1 {
			fmt.Fprintf(b, "  #   … and %d more\n", len(s.Servers)-i)
			break
		}
		fmt.Fprintf(b, "  #   %d  %s%s\n", l.Port, printable(l.Who()), said(l))
	}
	fmt.Fprintf(b, "  - name: %s\n    game: %s\n    forward: local\n", s.Name, s.Game)
	if len(s.Protocols) == 1 {
		fmt.Fprintf(b, "    protocol: %s\n", s.Protocols[0])
	} else {
		fmt.Fprintf(b, "    protocol: [%s]\n", strings.Join(s.Protocols, ", "))
	}
	if len(s.Listen) <= 2 {
		fmt.Fprintf(b, "    listen: [%s]\n", quoted(s.Listen))
		return
	}
	b.WriteString("    listen:\n")
	for _, l := range s.Listen {
		fmt.Fprintf(b, "      - %q\n", l)
	}
}

// quoted are entries of a list in brackets.
func quoted(all []config.Listen) string {
	words := make([]string, len(all))
	for i, l := range all {
		words[i] = fmt.Sprintf("%q", l)
	}
	return strings.Join(words, ", ")
}

func said(l Listener) string {
	if l.Says == "" {
		return ""
	}
	return ": " + printable(l.Says)
}

// printable keeps a server's words to one line of a comment.
func printable(text string) string {
	const longest = 60
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(text, "?") {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfeff || r == 0x2028 || r == 0x2029 {
			r = ' '
		}
		if n++; n > longest {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// others are what is not taken in, as comments.
func (p *Plan) others(b *strings.Builder) {
	if len(p.Unknown) > 0 {
		b.WriteString("\n# Nobody could tell whether these are games. If players connect there, take the # away (and write the game, if\n" +
			"# `parry profile list` has it). Else leave them: they go to this machine as before.\n")
		if len(p.Services) == 0 {
			b.WriteString("# services:\n")
		}
		for _, l := range p.Unknown {
			why := printable(l.Who())
			if l.Why != "" {
				why += "; " + l.Why
			}
			fmt.Fprintf(b, "#  - {name: %s-%d, game: generic_%s, protocol: %s, forward: local, listen: [%s]}   # %s\n",
				l.Protocol, l.Port, l.Protocol, l.Protocol, quoted(p.listen(l, []config.PortRange{{First: l.Port, Last: l.Port}})), why)
		}
	}
	if len(p.Left) > 0 {
		b.WriteString("\n# Left alone, and none of parry's business: they go to this machine as before, as all does that is not listed.\n")
		for _, g := range grouped(p.Left) {
			fmt.Fprintf(b, "#   %s %s  %s: %s\n", g.protocol, rangesOf(g.all), g.who, g.why)
		}
	}
}

// alike are listeners of programs of one name that are left alone for one reason.
type alike struct {
	protocol, who, why string
	all                []Listener
}

func grouped(left []Listener) []*alike {
	var groups []*alike
	for _, l := range left {
		who := printable(l.Who())
		if l.Process != "" && l.Container == "" {
			who = printable(l.Process)
		}
		i := slices.IndexFunc(groups, func(g *alike) bool { return g.protocol == l.Protocol && g.who == who && g.why == l.Why })
		if i < 0 {
			i, groups = len(groups), append(groups, &alike{protocol: l.Protocol, who: who, why: l.Why})
		}
		groups[i].all = append(groups[i].all, l)
	}
	return groups
}

// rangesOf writes the ports of listeners.
func rangesOf(all []Listener) string {
	ports := portsOf(all)
	words := make([]string, len(ports))
	for i, r := range ports {
		words[i] = r.String()
	}
	const most = 10
	if len(words) > most {
		words = append(words[:most], "…")
	}
	return strings.Join(words, ", ")
}

// Summary says in a few lines what was found.
func (p *Plan) Summary() string {
	var b strings.Builder
	for _, s := range p.Services {
		fmt.Fprintf(&b, "%4d  %s (%s %s)\n", len(s.Servers), s.Title, strings.Join(s.Protocols, " and "), rangesOf(s.Servers))
	}
	if n := len(p.Unknown); n > 0 {
		fmt.Fprintf(&b, "%4d  ports that could not be named: comments in the file\n", n)
	}
	if n := len(p.Left); n > 0 {
		fmt.Fprintf(&b, "%4d  ports of other programs, left alone\n", n)
	}
	return b.String()
}

// Instead says what was found where no game was.
func (p *Plan) Instead(root bool) string {
	var words []string
	for _, l := range p.Unknown {
		words = append(words, "  "+l.String())
	}
	text := ": start your servers first. Where they run on other machines, begin with docs/examples/nat.yaml"
	if !root {
		text = ": as another than root little can be seen, run it with sudo"
	}
	if len(words) > 0 {
		text += ". These ports could not be named; if one is a game, write it down by hand (docs/examples/local.yaml):\n" + strings.Join(words, "\n")
	}
	return text
}
