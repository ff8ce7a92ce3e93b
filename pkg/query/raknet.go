// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"strings"
)

// RakNet's unconnected ping and pong: type, the sender's time (which the pong echoes), the magic and an identity, in another
// order; behind a pong is a text.
const (
	raknetMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
	pingType    = 0x01
	pongType    = 0x1c
	pongTime    = 1
	pongMagic   = 17
	pongLength  = 33
	pongText    = 35
)

func (x *exchange) raknet(Question) (*Reply, error) {
	var own [16]byte // time and identity: nobody who doesn't see the ping can echo them
	rand.Read(own[:])
	ping := append([]byte{pingType}, own[:8]...)
	ping = append(append(ping, raknetMagic...), own[8:]...)
	if err := x.send(ping); err != nil {
		return nil, err
	}
	for {
		p, err := x.receive()
		if err != nil {
			return nil, err
		}
		if !isPong(p) || !bytes.Equal(p[pongTime:pongTime+8], own[:8]) {
			continue
		}
		pong := bytes.Clone(p)
		clear(pong[pongTime : pongTime+8])
		return &Reply{Packets: [][]byte{pong}, Body: pong, Basics: raknetBasics(string(pong[pongText:]))}, nil
	}
}

func isPong(p []byte) bool {
	return len(p) >= pongText && p[0] == pongType && string(p[pongMagic:pongLength]) == raknetMagic &&
		int(binary.BigEndian.Uint16(p[pongLength:])) == len(p)-pongText
}

// raknetBasics reads Minecraft's text: edition, name, protocol, version, players, most players, identity, level, mode …
func raknetBasics(text string) Basics {
	b := unsaid()
	words := strings.Split(strings.ReplaceAll(text, `\;`, "\x00"), ";")
	if len(words) < 6 || words[0] != "MCPE" && words[0] != "MCEE" {
		return b
	}
	b.Name, b.Players, b.Max = strings.ReplaceAll(words[1], "\x00", ";"), count(words[4]), count(words[5])
	if len(words) > 7 {
		b.Map = strings.ReplaceAll(words[7], "\x00", ";")
	}
	return b
}
