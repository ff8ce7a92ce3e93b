// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/packet"
)

// A sequence is text, a step a line:
//
//	edge KIND                       which kind of edge it is for: the first line
//	pass DURATION                   time passes
//	receive HEX                     a frame comes in
//	flood N HEX                     it comes in so many times
//	send SEGMENTS HEX               this host sends one, which is to be cut into so many
//	sweep                           what the daemon does every second
//	look                            all is compared that is not compared after each packet
//	kill udp CLIENT FRONT           a session is ended by hand
//	deny PREFIX SERVICE TTL         listed for a service's number (0: all), for a time (0: for good)
//	allow PREFIX SERVICE TTL [unlimited]
//	undeny PREFIX SERVICE
//	unallow PREFIX SERVICE
//	quietly deny ADDRESS SERVICE TTL   the same for one address, by bpftool: no session is told. If it loosens, 2 s pass
//	doubt PREFIX SERVICE TTL        the daemon doubts a source or network, at a service (by number; 0: at all)
//	bump                            every session is to check anew
//	route N                         the kernel's routes lead to another place: see world.go
//	hop N                           the daemon's word on a next hop: likewise
//	plan N                          another configuration: see plan.go
//	rules N                         other rules, swapped while packets come: see rules.go
//	state SERVICE N                 the daemon's word on how a service (by number) fares
//	grace SERVICE DURATION          sessions that are older than the edge pass its gate for as long
//	answer POOL SERVER OFFSET KIND TTL HEX|several   a server's answer is cached; POOL -: of a local service
//	clock N                         the sequence begins at another time: see clocks
//
// A line may end in a comment behind a #.
type step struct {
	op      string
	frame   []byte // receive, send
	n       int    // flood: times; send: segments; route, hop, plan, clock, rules: which
	pass    time.Duration
	key     model.Key
	list    model.List
	entry   model.EntryKey
	ttl     time.Duration
	free    bool // unlimited
	service int  // state, grace
	cell    loader.AnswerCell
	several bool
	comment string
}

// clocks are when a sequence may begin, apart from the usual time: two seconds before ticks wrap around 32 bits, and before
// the sixteenths of ticks in which loans and rests are kept wrap around 16.
var clocks = []uint64{
	(1<<32 - 2000) << 20, (1<<33 - 60_000) << 20, (1<<20*7 - 2000) << 20,
}

func protoName(p uint8) string {
	if p == packet.TCP {
		return "tcp"
	}
	return "udp"
}

func listName(l model.List) string {
	if l == model.Allow {
		return "allow"
	}
	return "deny"
}

func (s step) String() string {
	var out string
	switch s.op {
	case "receive":
		out = "receive " + hex.EncodeToString(s.frame)
	case "flood", "send":
		out = fmt.Sprintf("%s %d %x", s.op, s.n, s.frame)
	case "pass":
		out = "pass " + s.pass.String()
	case "kill":
		out = fmt.Sprintf("kill %s %v %v", protoName(s.key.Proto), s.key.Client, s.key.Front)
	case "list", "quietly":
		out = fmt.Sprintf("%s %v %d %v", listName(s.list), s.entry.Prefix, s.entry.Service, s.ttl)
		if s.op == "quietly" {
			out = "quietly " + out
		}
		if s.free {
			out += " unlimited"
		}
	case "doubt":
		out = fmt.Sprintf("doubt %v %d %v", s.entry.Prefix, s.entry.Service, s.ttl)
	case "unlist":
		out = fmt.Sprintf("un%s %v %d", listName(s.list), s.entry.Prefix, s.entry.Service)
	case "state":
		out = fmt.Sprintf("state %d %d", s.service, s.n)
	case "grace":
		out = fmt.Sprintf("grace %d %v", s.service, s.ttl)
	case "answer":
		out = fmt.Sprintf("answer %s %s %d %d %v %s", cmp.Or(s.cell.Pool, "-"), s.cell.Server, s.cell.Offset, s.n, s.ttl, s.content())
	case "route", "hop", "plan", "clock", "rules":
		out = fmt.Sprintf("%s %d", s.op, s.n)
	default:
		out = s.op
	}
	if s.comment != "" {
		out += " # " + s.comment
	}
	return out
}

// writeSequence writes a sequence as text.
func writeSequence(w io.Writer, kind string, steps []step, why string) error {
	b := bufio.NewWriter(w)
	for line := range strings.Lines(why) {
		fmt.Fprintf(b, "# %s\n", strings.TrimRight(line, "\n"))
	}
	fmt.Fprintln(b, "edge", kind)
	for _, s := range steps {
		fmt.Fprintln(b, s)
	}
	return b.Flush()
}

// readSequence reads what writeSequence wrote.
func readSequence(r io.Reader) (kind string, steps []step, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if kind == "" {
			if len(words) != 2 || words[0] != "edge" {
				return "", nil, fmt.Errorf("line %d: not the name of an edge", n)
			}
			kind = words[1]
			continue
		}
		s, err := readStep(words)
		if err != nil {
			return "", nil, fmt.Errorf("line %d: %q: %w", n, text, err)
		}
		steps = append(steps, s)
	}
	return kind, steps, lines.Err()
}

func readStep(words []string) (s step, err error) {
	s.op = words[0]
	args := words[1:]
	need := map[string]int{"receive": 1, "flood": 2, "send": 2, "pass": 1, "kill": 3, "deny": 3, "allow": 3, "undeny": 2, "doubt": 3, "unallow": 2, "quietly": 4,
		"route": 1, "hop": 1, "plan": 1, "clock": 1, "rules": 1, "state": 2, "grace": 2, "answer": 6, "sweep": 0, "bump": 0, "look": 0}
	n, ok := need[s.op]
	if !ok || len(args) < n {
		return s, errors.New("no such step, or it says too little")
	}
	switch s.op {
	case "receive":
		s.frame, err = hex.DecodeString(args[0])
	case "flood", "send":
		if s.n, err = strconv.Atoi(args[0]); err == nil {
			s.frame, err = hex.DecodeString(args[1])
		}
	case "pass":
		s.pass, err = time.ParseDuration(args[0])
	case "kill":
		err = s.readKey(args)
	case "route", "hop", "plan", "clock", "rules":
		s.n, err = strconv.Atoi(args[0])
	case "state", "grace", "answer":
		err = s.readWord(args)
	case "quietly":
		if s, err = readStep(args); err == nil && (s.op != "list" || !s.entry.Prefix.IsSingleIP()) {
			return s, errors.New("only an entry of one address is listed quietly")
		}
		s.op = "quietly"
	case "sweep", "bump", "look":
	default:
		err = s.readEntry(args)
	}
	return s, err
}

func (s *step) readKey(args []string) (err error) {
	s.key.Proto = packet.UDP
	if args[0] == "tcp" {
		s.key.Proto = packet.TCP
	}
	if s.key.Client, err = netip.ParseAddrPort(args[1]); err == nil {
		s.key.Front, err = netip.ParseAddrPort(args[2])
	}
	return err
}

func (s *step) readEntry(args []string) (err error) {
	name, gone := strings.CutPrefix(s.op, "un")
	if s.op = "list"; gone {
		s.op = "unlist"
	}
	if name == "allow" {
		s.list = model.Allow
	}
	if name == "doubt" {
		s.op = name
	}
	if s.entry.Prefix, err = netip.ParsePrefix(args[0]); err != nil {
		return err
	}
	if s.entry.Service, err = strconv.Atoi(args[1]); err != nil || gone {
		return err
	}
	s.ttl, err = time.ParseDuration(args[2])
	s.free = len(args) > 3
	return err
}

// which is the loader's name of a list.
func which(l model.List) loader.List {
	if l == model.Allow {
		return loader.Allow
	}
	return loader.Deny
}
