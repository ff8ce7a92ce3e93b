// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"parry/pkg/query"
)

// Answer is what a server told.
type Answer struct {
	Family string // source, raknet, quake3 or minecraft_java
	Game   string // title that the answer names; "" = it names none that the configuration knows
	Name   string // of the server
}

const (
	askPatience = 700 * time.Millisecond
	askAtOnce   = 32
)

// askAll asks every listener that may be a game, several at once.
func askAll(ctx context.Context, ask func(context.Context, *Listener) (Answer, bool), all []Listener) {
	if ask == nil {
		return
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, askAtOnce)
	for i := range all {
		if l := &all[i]; l.worthAsking() {
			wg.Go(func() {
				turn <- struct{}{}
				defer func() { <-turn }()
				if a, ok := ask(ctx, l); ok {
					l.answered(a)
				}
			})
		}
	}
	wg.Wait()
}

// worthAsking leaves alone what is no game: a database takes a stranger's words for an attack.
func (l *Listener) worthAsking() bool {
	if _, system := systemOf(l.Process); system || adminPorts[l.Port] != "" || webPorts[l.Port] != "" || !l.ask.Addr().IsValid() {
		return false
	}
	if l.Protocol == "udp" {
		return true
	}
	// Of TCP only Minecraft tells who it is.
	return l.Game == "minecraft" || l.Game == "" && (strings.Contains(l.subject, "java") || l.Port >= 25500 && l.Port < 25700)
}

// answered takes what a server says of itself. Its program's name stays where it is no relative of the answer's: a game's port for
// queries speaks another protocol than play.
func (l *Listener) answered(a Answer) {
	l.Says = a.Name
	answer := a.Game
	if answer == "" {
		answer = a.Family
	}
	switch {
	case l.Game == "" || l.Game == "source" && a.Family == "source" || l.Game == "raknet":
		l.named(named{game: answer})
	case a.Family == "source" && familyOf(l.Game) != "source", a.Family == "source" && isOpen(l.Game):
		l.Kind = Query
	case a.Family == "raknet" && familyOf(l.Game) != "raknet": // Bedrock players beside Java's (Geyser)
		l.named(named{game: answer})
	}
}

// Ask asks a server in the protocols that have a question for anybody.
func Ask(ctx context.Context, l *Listener) (Answer, bool) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	if l.Protocol == "tcp" {
		name, err := minecraftStatus(ctx, l.ask)
		return Answer{Family: "minecraft_java", Game: "minecraft", Name: name}, err == nil
	}
	questions := []struct {
		q    query.Question
		read func(*query.Reply) Answer
	}{{query.SourceInfo, sourceAnswer}, {query.RakNetPing, raknetAnswer}, {query.Quake3Info, quake3Answer}}
	answers := make(chan Answer, len(questions))
	var wg sync.WaitGroup
	for _, v := range questions {
		wg.Go(func() {
			if r, err := query.Ask(ctx, l.ask, v.q); err == nil {
				answers <- v.read(r)
				cancel() // one answer is enough
			}
		})
	}
	wg.Wait()
	close(answers)
	a, ok := <-answers
	return a, ok
}

// steamGames are titles by their number at Steam.
var steamGames = map[uint16]string{10: "cs16", 240: "css", 320: "hl2dm", 440: "tf2", 550: "l4d2", 570: "dota2", 730: "cs2", 4000: "gmod"}

// sourceAnswer reads name, map, folder, game and number of an A2S_INFO.
func sourceAnswer(r *query.Reply) Answer {
	a := Answer{Family: "source", Name: r.Name}
	const header = 6 // -1, type, version
	if len(r.Body) < header || r.Body[4] != 'I' {
		return a
	}
	rest := r.Body[header:]
	for range 4 {
		_, behind, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return a
		}
		rest = behind
	}
	if len(rest) >= 2 {
		a.Game = steamGames[binary.LittleEndian.Uint16(rest)]
	}
	return a
}

// raknetAnswer: Minecraft's editions begin with their mark, others with what they like.
func raknetAnswer(r *query.Reply) Answer {
	a := Answer{Family: "raknet", Name: r.Name}
	if bytes.Contains(r.Body, []byte("MCPE;")) {
		a.Game = "bedrock"
	}
	return a
}

// quake3Games are titles by the names that servers give, in lower case.
var quake3Games = []struct{ key, value, game string }{
	{"gamename", "openarena", "openarena"}, {"game", "baseoa", "openarena"}, {"gamename", "quake3arena", "ioquake3"}, {"game", "q3ut4", "urbanterror"},
	{"gamename", "q3ut4", "urbanterror"}, {"gamename", "xonotic", "xonotic"}, {"gamename", "call of duty 4", "cod4"}, {"game", "etmain", "et"},
	{"gamename", "et", "et"}, {"game", "legacy", "et"}, {"game", "basejka", "jedi_academy"},
}

func quake3Answer(r *query.Reply) Answer {
	a := Answer{Family: "quake3", Name: r.Name}
	_, info, _ := strings.Cut(string(r.Body), "\n")
	words := strings.Split(strings.TrimSpace(info), `\`)
	for i := 1; i+1 < len(words); i += 2 {
		for _, g := range quake3Games {
			if strings.EqualFold(words[i], g.key) && strings.HasPrefix(strings.ToLower(words[i+1]), g.value) {
				a.Game = g.game
				return a
			}
		}
	}
	return a
}
