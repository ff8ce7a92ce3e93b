// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"fmt"
	"slices"

	"parry/pkg/game"
)

// judge says of each listener whether it is a game's.
func judge(all []Listener, ephemeral [2]uint16) {
	for i := range all {
		l := &all[i]
		l.judge(ephemeral)
	}
	for i := range all {
		all[i].among(all, ephemeral)
	}
}

// judge looks at one listener by itself.
func (l *Listener) judge(ephemeral [2]uint16) {
	what, system := systemOf(l.Process)
	p, known := game.Lookup(l.Game)
	switch {
	case l.Kind == Query: // it answered
	case l.Protocol == "tcp" && adminPorts[l.Port] != "":
		l.Kind, l.Why = Admin, adminPorts[l.Port]
	case system:
		l.Kind, l.Why = System, what
	case known && l.Says != "":
		l.Kind = Play
	case known && slices.Contains(p.Protos, l.Protocol):
		l.Kind = Play
	case known: // TCP of a game that is played over UDP, or the other way round
		l.Kind, l.Why = Admin, "remote control or web of "+l.Title
		if l.Protocol == "udp" {
			l.Kind, l.Why = Beside, "of "+l.Title+", which is played over TCP"
		}
	case webPorts[l.Port] != "":
		l.Kind, l.Why = System, webPorts[l.Port]
	case l.Protocol == "udp" && ephemeral[0] <= l.Port && l.Port <= ephemeral[1] && !slices.Contains(l.own, l.Port):
		l.Kind, l.Why = Ephemeral, "a port of the kernel's choice: it asks others"
	default:
		l.Why = hint(l)
	}
}

// hint names a game that is usual at a port.
func hint(l *Listener) string {
	for _, p := range game.Profiles() {
		if p.Port == l.Port && slices.Contains(p.Protos, l.Protocol) && !p.IsFamily() {
			return fmt.Sprintf("%s is usual there", p.Title)
		}
	}
	return ""
}

// among looks at a program's ports beside each other: it has a port or two for players, and some for itself.
func (l *Listener) among(all []Listener, ephemeral [2]uint16) {
	if l.Kind != Play || l.Says != "" {
		return
	}
	var said, meant, chosen bool // another port of the same program answered; is what it was told, or usual; is none of the kernel's choice
	usual, given := l.meant(), ephemeral[0] <= l.Port && l.Port <= ephemeral[1]
	for i := range all {
		o := &all[i]
		if o.PID != l.PID || o.Container != l.Container || l.PID == 0 || o.Protocol != l.Protocol || o.Port == l.Port {
			continue
		}
		said = said || o.Kind == Play && o.Says != "" && familyOf(o.Game) == familyOf(l.Game)
		meant = meant || o.Kind == Play && o.meant()
		chosen = chosen || o.Kind == Play && (o.Port < ephemeral[0] || o.Port > ephemeral[1])
	}
	switch {
	case said:
		l.Kind, l.Why = Beside, "of "+l.Title+", beside the port that answers for it"
	case given && chosen && !usual:
		l.Kind, l.Why = Ephemeral, "a port of the kernel's choice: it asks others"
	case meant && !usual:
		l.Kind, l.Why = Beside, "of "+l.Title+", beside the port that it was given"
	}
}

// meant says that a port is the game's usual one, or stands on its command line.
func (l *Listener) meant() bool {
	p, _ := game.Lookup(l.Game)
	return l.Port == p.Port || slices.Contains(l.own, l.Port)
}

func familyOf(name string) string {
	p, _ := game.Lookup(name)
	return p.Family
}

// isOpen says that a title's players open otherwise than its family's gate believes: its port for queries is another.
func isOpen(name string) bool {
	p, _ := game.Lookup(name)
	return p.QueryPort != 0 || p.Gate == "" && p.Family == "source"
}
