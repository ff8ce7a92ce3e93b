// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
)

// quake3 asks with a challenge of its own, so that nobody who doesn't see the question can answer it, and takes it out of
// the reply: what is left is the reply to a question without.
func (x *exchange) quake3(q Question) (*Reply, error) {
	request, line := "getinfo", "infoResponse\n"
	if q == Quake3Status {
		request, line = "getstatus", "statusResponse\n"
	}
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	challenge := hex.EncodeToString(b[:])
	if err := x.send([]byte(whole + request + " " + challenge + "\n")); err != nil {
		return nil, err
	}
	for {
		p, err := x.receive()
		if err != nil {
			return nil, err
		}
		if body, ok := withoutChallenge(p, line, challenge); ok {
			return &Reply{Packets: [][]byte{body}, Body: body, Basics: quake3Basics(string(body[4+len(line):]), q == Quake3Status)}, nil
		}
	}
}

// withoutChallenge takes the challenge out of a reply whose first line is line, false if it isn't one that has it.
func withoutChallenge(p []byte, line, challenge string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(p, []byte(whole+line))
	if !ok {
		return nil, false
	}
	key := []byte(`\challenge\` + challenge)
	info, _, _ := bytes.Cut(rest, []byte("\n")) // behind it are players
	at := bytes.Index(info, key)
	if at < 0 {
		return nil, false
	}
	if end := at + len(key); end < len(info) && info[end] != '\\' {
		return nil, false
	}
	out := make([]byte, 0, len(p)-len(key))
	out = append(out, p[:len(p)-len(rest)+at]...)
	return append(out, rest[at+len(key):]...), true
}

// quake3Basics reads `\key\value…`, and of a status the lines of players behind it.
func quake3Basics(text string, status bool) Basics {
	b := unsaid()
	info, players, _ := strings.Cut(text, "\n")
	words := strings.Split(info, `\`)
	for i := 1; i+1 < len(words); i += 2 {
		switch v := words[i+1]; strings.ToLower(words[i]) {
		case "hostname", "sv_hostname":
			b.Name = v
		case "mapname":
			b.Map = v
		case "clients":
			b.Players = count(v)
		case "sv_maxclients":
			b.Max = count(v)
		}
	}
	if status {
		b.Players = strings.Count(players, "\n")
	}
	return b
}

// count reads a number of players; -1 = it is none.
func count(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
