// SPDX-License-Identifier: Apache-2.0

// Package event is what happens at an edge, as a stream: a bounded log in memory that anybody may follow. Who publishes never
// waits for who reads: a reader that lags loses events, and is told how many.
package event

import (
	"strings"
	"time"
)

// The types of events. More may come.
const (
	AttackState          = "attack.state" // a service's state moved: normal, elevated, attack
	AttackGates          = "attack.gates" // how strict a service's gates are moved
	AttackStart          = "attack.start"
	AttackEnd            = "attack.end"
	BlockAdd             = "block.add" // of single entries by call or command; an import is one event
	BlockDel             = "block.del"
	AllowAdd             = "allow.add"
	AllowDel             = "allow.del"
	DetectWould          = "detect.would" // the detector only watches, and would have blocked a source
	DetectDoubt          = "detect.doubt" // a source of which comes what anybody may have forged has to prove its address for a while
	DetectSign           = "detect.sign"  // something about a service is out of the ordinary, or is no more
	HopUp                = "hop.up"       // a next hop that packets leave by
	HopDown              = "hop.down"
	ServerRoute          = "server.route" // the way to servers moved, and the fast path with it
	ServerTCP            = "server.tcp"   // what a server takes of TCP came to be known, or otherwise
	InterfaceProtected   = "interface.protected"
	InterfaceUnprotected = "interface.unprotected"
	Reload               = "reload"
	ReloadRefused        = "reload.refused"
	DaemonStart          = "daemon.start"
	DaemonStop           = "daemon.stop"
	GateLoad             = "gate.load"
	ShadowPromote        = "shadow.promote"  // something that only watched was switched on
	ShadowKept           = "shadow.kept"     // its trial is over, and it stays on
	ShadowRollback       = "shadow.rollback" // it only watches again: it hit players, or somebody said so
	GateUnload           = "gate.unload"
	RuleAdd              = "rule.add"
	RuleDel              = "rule.del"    // by hand, or as it expired
	GeoRead              = "geo.read"    // which country and network addresses are in
	GeoRefused           = "geo.refused" // such a file can't be used: what was known before holds
	HealthBad            = "health.bad"  // a watched session shows more gaps, jitter or loss than its game's class can bear
	HealthGood           = "health.good" // it is well again
	HealthMany           = "health.many" // more of both than are told one by one
	Lost                 = "lost"        // told to one reader alone: what it was too slow for is gone
)

// Event is one thing that happened.
type Event struct {
	ID      string         `json:"id,omitempty"` // of this daemon's run: where a reader may go on; empty for what is told to one reader alone
	Time    time.Time      `json:"time"`
	Type    string         `json:"type"`
	Service string         `json:"service,omitempty"` // that it is about
	Text    string         `json:"text"`              // for people
	Data    map[string]any `json:"data,omitempty"`    // the same for programs; its keys depend on the type
}

// Is says whether the event is of a type, or of a group of them: attack is attack.state, attack.start and attack.end.
func (e *Event) Is(kind string) bool {
	rest, ok := strings.CutPrefix(e.Type, kind)
	return ok && (rest == "" || rest[0] == '.')
}
