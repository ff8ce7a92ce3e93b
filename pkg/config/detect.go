// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// What `detect.mode` says besides Off.
const (
	DetectBlock = "block"
	DetectWatch = "watch"
)

// Detect is who counts as an attacker, and what becomes of such a source. It takes `samples: always`.
type Detect struct {
	// Mode `block` blocks attackers by itself, for a time and with its reasons (`parry block explain`); `watch` only tells of them; `off`
	// looks for none.
	Mode string `yaml:"mode" check:"enum=block|watch|off"`
	// Risk is the score of a source's connections.
	Risk Risk `yaml:"risk"`
	// Block is how long attackers are blocked.
	Block BlockTerms `yaml:"block"`
}

// Risk is the score of a source's connections within a window: the weights of what is above its bound are summed, at most 1. A connection
// is an attempt at a session, refused ones included; a query is none. An address that people share is allowed as often as sessions last
// there.
type Risk struct {
	// Window is what is counted in.
	Window time.Duration `yaml:"window" check:"min=1s max=1h"`
	// Connections is how many may begin in it.
	Connections uint32 `yaml:"connections" check:"min=1 max=100000"`
	// OneGame is how many of them may go to one game.
	OneGame uint32 `yaml:"one_game" check:"min=1 max=100000"`
	// Robotic is how many may come at intervals that are all equal, rounded to 0.1 s.
	Robotic uint32 `yaml:"robotic" check:"min=1 max=100000"`
	// ConnectionsWeight is what more connections weigh.
	ConnectionsWeight float64 `yaml:"connections_weight" check:"max=1"`
	// OneGameWeight is what more to one game weigh.
	OneGameWeight float64 `yaml:"one_game_weight" check:"max=1"`
	// RoboticWeight is what equal intervals weigh.
	RoboticWeight float64 `yaml:"robotic_weight" check:"max=1"`
	// Above is the risk above which a source is blocked.
	Above float64 `yaml:"above" check:"max=1"`
}

// BlockTerms are how long blocks hold: the first for `first`, each further one `times` as long as the one before, at most `longest`. Every
// `forgive` without an offence takes one off.
type BlockTerms struct {
	// First is for a first offence.
	First time.Duration `yaml:"first" check:"min=1s max=720h"`
	// Times is by how much the next is longer.
	Times uint32 `yaml:"times" check:"min=1 max=1000"`
	// Longest is the longest.
	Longest time.Duration `yaml:"longest" check:"min=1s max=720h"`
	// Forgive is after what time without an offence one is forgotten.
	Forgive time.Duration `yaml:"forgive" check:"min=1m max=720h"`
	// Unproven is how long a source of which comes what anybody may have forged has to prove its address strongly before anything of it gets in.
	Unproven time.Duration `yaml:"unproven" check:"min=1s max=1h"`
}
