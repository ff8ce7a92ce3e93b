// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"strings"
)

// Quake III and its kin: four ff bytes, a word, and what it is about.

const argumentMost = 128

func gateQuake3(g *First) Said {
	b := g.Payload
	if len(b) < 5 || len(b) >= 1400 || !bytes.Equal(b[:4], four) {
		return Said{}
	}
	if bytes.HasPrefix(b[4:], []byte("connect ")) && len(b) > 12 { // what follows is compressed
		return Said{Word: Admit}
	}
	word, argument := oobWord(b[4:])
	if !printable(argument) || len(argument) > argumentMost+1 {
		return Said{}
	}
	switch word {
	case "getinfo":
		return g.quakeQuery(0, "infoResponse", argument)
	case "getstatus":
		return g.quakeQuery(1, "statusResponse", argument)
	case "getchallenge":
		return Said{Word: Admit}
	}
	return Said{}
}

// oobWord is a line's word, and what follows it with the space before. Up to two LF or NUL end a line.
func oobWord(b []byte) (word, argument string) {
	line := string(b)
	for range 2 {
		if n := len(line); n > 0 && (line[n-1] == 0 || line[n-1] == '\n') {
			line = line[:n-1]
		}
	}
	at := strings.IndexByte(line, ' ')
	if at < 0 {
		return line, ""
	}
	return line[:at], line[at:]
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// quakeQuery: the server's answer has the asker's own challenge in it, in front of all else.
func (g *First) quakeQuery(kind int, line, argument string) Said {
	a := g.fresh(kind)
	plain := argument == "" || len(argument) > 1 && !strings.ContainsAny(argument[1:], " \\;\"%/")
	if g.Watch || a == nil || !plain {
		return Said{Word: Query}
	}
	head := "\xff\xff\xff\xff" + line
	rest, ok := strings.CutPrefix(string(a.Data), head)
	if !ok {
		return Said{Word: Query}
	}
	if argument == "" {
		return Said{Word: Reply, Payload: a.Data}
	}
	out := head + "\n\\challenge\\" + argument[1:] + strings.TrimPrefix(rest, "\n")
	if len(out) > 1400 {
		return Said{Word: Query}
	}
	return Said{Word: Reply, Payload: []byte(out)}
}
