// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Quake III's protocol, as far as a join and queries need it: words after four ff, then netchan packets of protocol 71,
// whose checksum needs the challenge. The engine compresses the userinfo of a connect; here it is plain.
const (
	quakeGetInfo      = outOfBand + "getinfo"
	quakeGetStatus    = outOfBand + "getstatus"
	quakeGetChallenge = outOfBand + "getchallenge"
	quakeConnect      = outOfBand + "connect "
	quakeChallenge    = outOfBand + "challengeResponse "
	quakeWelcome      = outOfBand + "connectResponse"
	quakeInfo         = outOfBand + "infoResponse\n"
	quakeStatus       = outOfBand + "statusResponse\n"
	quakePrint        = outOfBand + "print\n"

	// ioquake3 lets so many answers to strangers out, whoever they are; its limit by address is off, as an operator sets it
	// behind an edge whose address stands for everyone.
	quakeAnswers     = 10
	quakeAnswersTime = 100 * time.Millisecond
)

// quakePlayer is a client: getchallenge, connect, netchan.
type quakePlayer struct {
	id        uint32
	challenge uint32 // 0 = none yet
	out       uint32
}

func (c *quakePlayer) hello(packet) []byte {
	if c.challenge == 0 {
		return fmt.Appendf(nil, "%s %d Quake3Arena", quakeGetChallenge, int32(c.id)+1000000)
	}
	return fmt.Appendf(nil, "%s\"\\name\\player%d\\rate\\25000\\snaps\\40\\model\\sarge\\handicap\\100\\color1\\4\\color2\\5"+
		"\\cl_anonymous\\0\\protocol\\71\\qport\\%d\\challenge\\%d\"", quakeConnect, c.id, uint16(c.id), int32(c.challenge))
}

func (c *quakePlayer) hear(b []byte) (heard, packet) {
	switch {
	case bytes.HasPrefix(b, []byte(quakeChallenge)):
		words := strings.Fields(string(b[len(quakeChallenge):]))
		if len(words) == 0 {
			return heardNothing, packet{}
		}
		n, err := strconv.ParseInt(words[0], 10, 32)
		if err != nil || n == 0 {
			return heardNothing, packet{}
		}
		c.challenge = uint32(n)
		return heardStep, packet{}
	case bytes.HasPrefix(b, []byte(quakeWelcome)):
		return heardWelcome, packet{player: c.id}
	case bytes.HasPrefix(b, []byte(quakePrint)):
		c.challenge = 0 // "No or bad challenge", say: begin again
		return heardNothing, packet{}
	case len(b) > gameHead && !bytes.HasPrefix(b, []byte(outOfBand)):
		seq := binary.LittleEndian.Uint32(b)
		p, ok := decode(b[gameHead:])
		if !ok || p.kind != kindState || binary.LittleEndian.Uint32(b[4:]) != netchanSum(c.challenge, seq) {
			return heardNothing, p
		}
		return heardState, p
	}
	return heardNothing, packet{}
}

func (c *quakePlayer) move(p packet) []byte {
	c.out++
	h := make([]byte, gameHead, gameHead+packetSize)
	binary.LittleEndian.PutUint32(h[0:], c.out)
	binary.LittleEndian.PutUint16(h[4:], uint16(c.id))
	binary.LittleEndian.PutUint32(h[6:], netchanSum(c.challenge, c.out))
	return append(h, p.bytes()...)
}

// netchanSum is the checksum of protocol 71, in both directions.
func netchanSum(challenge, seq uint32) uint32 { return challenge ^ seq*challenge }

// quakeServer answers queries and lets in who connects with the challenge it was told.
type quakeServer struct {
	seed  maphash.Seed
	lobby lobby
	since time.Time // the leaky bucket's window
	spent int
}

func (s *quakeServer) serve(from netip.AddrPort, b []byte) ([]byte, packet, bool) {
	if !bytes.HasPrefix(b, []byte(outOfBand)) {
		return s.play(from, b)
	}
	if bytes.HasPrefix(b, []byte(quakeConnect)) {
		return s.connect(from, b), packet{}, false
	}
	line, _, _ := strings.Cut(string(b[4:]), "\n")
	words := strings.Fields(line)
	if len(words) == 0 || len(line) > 200 || s.full() {
		return nil, packet{}, false
	}
	words = append(words, "")
	switch words[0] {
	case "getinfo":
		return quakeInfoReply(words[1]), packet{}, false
	case "getstatus":
		return quakeStatusReply(words[1]), packet{}, false
	case "getchallenge":
		return fmt.Appendf(nil, "%s%d %s 71", quakeChallenge, challengeFor(s.seed, from), words[1]), packet{}, false
	}
	return nil, packet{}, false
}

// full says that the bucket for answers to strangers is spent.
func (s *quakeServer) full() bool {
	if now := time.Now(); now.Sub(s.since) > quakeAnswersTime {
		s.since, s.spent = now, 0
	}
	s.spent++
	return s.spent > quakeAnswers
}

func (s *quakeServer) connect(from netip.AddrPort, b []byte) []byte {
	challenge := challengeFor(s.seed, from)
	if !bytes.Contains(b, fmt.Appendf(nil, "\\challenge\\%d\"", challenge)) {
		return []byte(quakePrint + "No or bad challenge for your address.\n")
	}
	if s.lobby.enter(from, challenge) == nil {
		return []byte(quakePrint + "Server is full.\n")
	}
	return fmt.Appendf(nil, "%s %d", quakeWelcome, challenge)
}

func (s *quakeServer) play(from netip.AddrPort, b []byte) ([]byte, packet, bool) {
	g := s.lobby.find(from)
	if g == nil || len(b) <= gameHead || binary.LittleEndian.Uint32(b[6:]) != netchanSum(g.number, binary.LittleEndian.Uint32(b)) {
		return nil, packet{}, false
	}
	p, ok := decode(b[gameHead:])
	if !ok || p.kind != kindMove {
		return nil, p, false
	}
	g.out++
	p.kind = kindState
	h := make([]byte, gameHead, gameHead+packetSize)
	binary.LittleEndian.PutUint32(h[0:], g.out)
	binary.LittleEndian.PutUint32(h[4:], netchanSum(g.number, g.out))
	return append(h, p.bytes()...), p, true
}

func quakeInfoReply(nonce string) []byte {
	return fmt.Appendf(nil, "%s\\challenge\\%s\\protocol\\71\\hostname\\parry lab\\mapname\\q3dm17\\clients\\24\\g_humanplayers\\24"+
		"\\sv_maxclients\\64\\gametype\\0\\pure\\1\\gamename\\Quake3Arena", quakeInfo, nonce)
}

func quakeStatusReply(nonce string) []byte {
	b := fmt.Appendf(nil, "%s\\challenge\\%s\\version\\ioq3 1.36\\protocol\\71\\sv_hostname\\parry lab\\mapname\\q3dm17\\g_gametype\\0"+
		"\\sv_maxclients\\64\\fraglimit\\20\\timelimit\\0\\dmflags\\0\\sv_minRate\\0\\sv_maxRate\\0\\sv_floodProtect\\1\n", quakeStatus, nonce)
	for i := range 24 {
		b = fmt.Appendf(b, "%d %d \"player %d\"\n", i, 20+i, i)
	}
	return b
}
