// SPDX-License-Identifier: Apache-2.0

package naming

// Proto is a session's transport.
type Proto uint8

// Transports that are read.
const (
	UDP Proto = 17
	TCP Proto = 6
)

// sure is the confidence, in percent, above which nothing that follows could change the name.
const sure = 97

// Namer names sessions: it is what rules look at a packet through, and serves any number of flows, one packet at a time. Its zero
// value is ready, and using it allocates nothing.
type Namer struct {
	p, last packet
	memo    memo // what last looks at
}

// Flow is a session that is being named, in 152 bytes. Its zero value is not usable: Begin begins one.
type Flow struct {
	proto  Proto
	from   bool
	label  Label
	conf   uint8
	heard  [2]bool // the label was seen from this side
	port   uint16
	left   int // bytes that may still be read
	nth    [2]int
	says   string
	latest [2]memo // of each side: down, up
	tcp    segments
}

// Begin begins a session. port is that of the side that didn't begin it; fromStart says that its beginning was seen (of
// TCP: its SYN).
func Begin(proto Proto, port uint16, fromStart bool) Flow {
	f := Flow{proto: proto, from: fromStart, port: port, left: Budget, label: UnknownUDP}
	if proto == TCP {
		f.label = UnknownTCP
	}
	return f
}

// Feed shows a flow a payload: of UDP a packet, of TCP a segment, in order and none twice. up says that it came from who
// began; length is how long it was on the wire, where the capture cut it. It reports whether more could change the name.
func (n *Namer) Feed(f *Flow, up bool, payload []byte, length int) bool {
	if f.left == 0 || len(payload) == 0 {
		return f.left > 0
	}
	side, other := 0, 1
	if up {
		side, other = 1, 0
	}
	n.p = packet{b: payload[:min(len(payload), f.left)], n: max(length, len(payload)), up: up, nth: f.nth[side], from: f.from, port: f.port}
	p := &n.p
	f.left -= len(p.b)
	f.nth[side]++
	if f.proto == TCP {
		f.packet(tcpRules, p, side)
	} else {
		if !f.packet(udpRules, p, side) {
			if r := walk(p); r != nil {
				f.note(r.label, r.conf, r.says, side)
			}
		}
		n.memo = f.latest[other]
		n.last = n.memo.packet()
		f.pairs(answers, &n.last, p, side)
		n.memo = f.latest[side]
		n.last = n.memo.packet()
		f.pairs(sequels, &n.last, p, side)
		f.latest[side].keep(p)
	}
	if f.conf >= sure {
		f.left = 0
	}
	n.p, n.last = packet{}, packet{} // what they look at is not ours
	return f.left > 0
}

// packet asks all rules, and reports whether one of a game's holds.
func (f *Flow) packet(rules []rule, p *packet, side int) (game bool) {
	for i := range rules {
		if r := &rules[i]; r.holds(p) {
			game = game || r.label.Plays()
			f.note(r.label, r.conf, r.says, side)
		}
	}
	return game
}

// walk returns the surest rule of what adds up; nil if none does, or if two games do.
func walk(p *packet) (best *rule) {
	for i := range udpWalks {
		r := &udpWalks[i]
		if !r.holds(p) {
			continue
		}
		if best != nil && best.label != r.label {
			return nil
		}
		if best == nil || r.conf > best.conf {
			best = r
		}
	}
	return best
}

func (f *Flow) pairs(rules []pairRule, last, p *packet, side int) {
	if last.n == 0 {
		return
	}
	for i := range rules {
		if r := &rules[i]; r.conf > f.conf && r.holds(last, p) {
			f.note(r.label, r.conf, r.says, side)
		}
	}
}

// note takes a name that is surer than the one there was; the same name from the other side makes it surer.
func (f *Flow) note(l Label, conf uint8, says string, side int) {
	if l != f.label {
		if conf <= f.conf {
			return
		}
		f.label, f.heard = l, [2]bool{}
	}
	if conf > f.conf {
		f.conf, f.says = conf, says
	}
	if both := f.heard[0] && f.heard[1]; !both {
		if f.heard[side] = true; f.heard[0] && f.heard[1] {
			f.conf += (100 - f.conf) / 2
		}
	}
}

// Done reports whether nothing that follows is read.
func (f *Flow) Done() bool { return f.left == 0 }

// Name tells what the session is taken for so far.
func (f *Flow) Name() Name {
	label, conf, says := f.label, f.conf, f.says
	if f.proto == TCP && f.conf == 0 {
		label, conf, says = f.tcp.silent()
	}
	n := Name{Game: label, Confidence: float64(conf) / 100, Reason: says}
	switch {
	case n.Confidence > 0:
		if f.heard[0] && f.heard[1] {
			n.Reason += "; both sides speak it"
		}
	case f.left == Budget:
		n.Reason = "no payload was seen"
	default:
		n.Reason = "no rule holds of its first packets"
	}
	n.profile()
	return n
}
