// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"parry/test/model"
	"parry/test/packet"
)

// quakePlayer is a session with a service of Quake III's family, nil = there is none.
func (d draw) quakePlayer() *model.Session {
	_, gates := d.w.served()
	all := slices.DeleteFunc(slices.Clone(d.w.model.Sessions()), func(s *model.Session) bool {
		return s.Proto != packet.UDP || s.Closing || gates[s.Front.Port()] != "quake3"
	})
	if len(all) == 0 {
		return nil
	}
	return pick(d, all)
}

// netchan is a Quake III client that asks for a challenge, or plays by the one that it got, or nearly.
func (d draw) netchan() []step {
	s := d.quakePlayer()
	if s == nil || d.one(4) {
		return d.asksForChallenge()
	}
	challenge := pick(d, []uint32{1, 2, 0x7fffffff, 0x80000000, 0xffffffff, d.Uint32(), d.Uint32()})
	steps := []step{d.tells(s, d.challengeText(challenge))}
	if d.one(2) {
		steps = append(steps, d.speaks(s, oob("connect \"\x05\x11\x22\x33\"")))
	}
	if d.one(8) {
		steps = append(steps, d.tells(s, d.challengeText(challenge+1)))
	}
	for range 1 + d.IntN(4) {
		steps = append(steps, d.speaks(s, d.play(challenge)))
		if d.one(5) {
			steps = append(steps, d.tells(s, oob(fmt.Sprintf("connectResponse %d", int32(challenge)))))
		}
	}
	switch d.IntN(8) {
	case 0:
		steps = append(steps, step{op: "pass", pass: pick(d, []time.Duration{3e9, 21e9, 61e9})}, step{op: "sweep"}, d.speaks(s, d.play(challenge)))
	case 1:
		steps = append(steps, step{op: "look"})
	case 2: // the next one by the same address and port
		steps = append(steps, step{op: "kill", key: s.Key()}, step{op: "pass", pass: 1100 * time.Millisecond}, step{op: "sweep"},
			d.speaks(s, oob("getchallenge 5 Quake3Arena")), d.tells(s, oob("print\nServer is full\n")), d.speaks(s, d.play(challenge)))
	}
	return steps
}

// undecided is a Quake III player who lasts, or nearly, before anything of his play can prove him; and then something does.
func (d draw) undecided() []step {
	s := d.quakePlayer()
	if s == nil {
		return nil
	}
	up, down := d.speaks(s, []byte("\x01\x00\x00\x00")), d.tells(s, d.challengeText(7))
	pause := pick(d, []time.Duration{1400 * time.Millisecond, 1600 * time.Millisecond})
	var steps []step
	for range pick(d, []int{18, 20, 21}) {
		steps = append(steps, up, down, step{op: "pass", pass: pause})
	}
	return append(steps, up, step{op: "look"}, d.speaks(s, d.play(7)), d.speaks(s, d.play(7)), step{op: "look"})
}

func (d draw) asksForChallenge() []step {
	ports, gates := d.w.served()
	ports = slices.DeleteFunc(slices.Clone(ports), func(p uint16) bool { return gates[p] != "quake3" })
	if len(ports) == 0 {
		return nil
	}
	from := d.asker()
	to := at(vip(from.Addr()), pick(d, ports))
	ask := packet.NewUDP(from, to, string(oob(fmt.Sprintf("getchallenge %d Quake3Arena", int32(d.Uint32()))))).Bytes()
	steps := d.frames(ask)
	if d.one(3) {
		steps = slices.Insert(steps, 0, d.frames(packet.NewUDP(from, to, string(oob("getinfo xxx"))).Bytes())...)
	}
	if d.one(2) {
		steps = append(steps, step{op: "pass", pass: 250 * time.Millisecond}, steps[len(steps)-1])
	}
	return steps
}

// challengeText is what a server says of a challenge.
func (d draw) challengeText(challenge uint32) []byte {
	n, mine := int32(challenge), int32(d.Uint32())
	return oob(pick(d, []func() string{
		func() string { return fmt.Sprintf("challengeResponse %d %d 71", n, mine) },
		func() string { return fmt.Sprintf("challengeResponse %d %d 71", n, mine) },
		func() string { return fmt.Sprintf("challengeResponse %d %d 71", n, mine) },
		func() string { return fmt.Sprintf("challengeResponse %d ", n) },
		func() string { return fmt.Sprintf("challengeResponse %d", n) },
		func() string { return fmt.Sprintf("challengeResponse %012d %d", n, mine) },
		func() string { return fmt.Sprintf("challengeResponse %011d %d", n, mine) },
		func() string { return fmt.Sprintf("challengeResponse %d\n", n) },
		func() string { return "challengeResponse - 71" },
		func() string { return fmt.Sprintf("challengeResponse  %d 71", n) },
		func() string { return fmt.Sprintf("challengeresponse %d %d 71", n, mine) },
		func() string { return fmt.Sprintf("infoResponse\n\\challenge\\%d", n) },
	})())
}

// play is a packet of play, or nearly.
func (d draw) play(challenge uint32) []byte {
	n := pick(d, []uint32{1, 2, 2, 3, 4, 0, 1<<30 + 1, 1<<31 | 2, 1<<31 | 3, d.Uint32() &^ 1, d.Uint32()})
	number := n &^ (1 << 31)
	sum := challenge ^ number*challenge
	if d.one(6) {
		sum ^= 1 << d.IntN(32)
	}
	b := binary.LittleEndian.AppendUint32(nil, n)
	b = binary.LittleEndian.AppendUint16(b, uint16(d.IntN(1<<16)))
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, d.bytes(d.IntN(30))...)[:pick(d, []int{9, 10, 10, len(b)})]
}

// tells and speaks are a packet of its server's and of its client's.
func (d draw) tells(s *model.Session, b []byte) step {
	if s.Local {
		return step{op: "send", n: pick(d, []int{1, 1, 1, 2}), frame: packet.NewUDP(s.Front, s.Client, string(b)).Bytes()}
	}
	return step{op: "receive", frame: packet.NewUDP(s.Server, s.Face, string(b)).Bytes()}
}

func (d draw) speaks(s *model.Session, b []byte) step {
	p := packet.NewUDP(s.Client, s.Front, string(b))
	if d.one(12) {
		d.shape(&p)
	}
	return step{op: "receive", frame: p.Bytes()}
}
