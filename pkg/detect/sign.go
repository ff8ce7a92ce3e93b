// SPDX-License-Identifier: Apache-2.0

package detect

import "fmt"

// SignKind is something about a service that is out of the ordinary.
type SignKind uint8

// Kinds of signs.
const (
	Surge         SignKind = iota // new sessions
	Entropy                       // the mix of sources: many more, or far fewer, than usual
	UniformSizes                  // first packets of one size, where they usually differ
	SYNWithoutACK                 // handshakes that begin and never end
	signKinds
)

func (k SignKind) String() string {
	if names := []string{"surge", "entropy", "uniform_sizes", "syn_without_ack"}; int(k) < len(names) {
		return names[k]
	}
	return ""
}

// MarshalText writes the word.
func (k SignKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Sign says that something about a service is out of the ordinary, or is no more. It blocks nobody: a tournament that starts is a
// surge, too.
type Sign struct {
	Service uint16   `json:"-"`
	Kind    SignKind `json:"kind"`
	On      bool     `json:"on"`
	At      uint64   `json:"-"`
	Value   float64  `json:"value"` // new sessions a second; bits; a share
	Usual   float64  `json:"usual"`
	Proven  float64  `json:"proven"` // of a surge: the share of newcomers who proved their address
}

// Text says it for people.
func (s *Sign) Text() string {
	if !s.On {
		return fmt.Sprintf("%v is over", s.Kind)
	}
	switch s.Kind {
	case Surge:
		who := "whether they are players shows when they prove their addresses"
		if s.Proven >= 0.8 {
			who = "these are machines or players, not forged addresses"
		} else if s.Proven < 0.2 {
			who = "such are forged addresses"
		}
		return fmt.Sprintf("%.0f new sessions a second, usual %.1f; %.0f %% proved their address: %s", s.Value, s.Usual, 100*s.Proven, who)
	case Entropy:
		way := "many more networks than usual"
		if s.Value < s.Usual {
			way = "far fewer networks than usual"
		}
		return fmt.Sprintf("new sessions come from %s: %.1f bits, usual %.1f", way, s.Value, s.Usual)
	case UniformSizes:
		return fmt.Sprintf("%.0f %% of first packets have one size, usual %.0f %%", 100*s.Value, 100*s.Usual)
	}
	return fmt.Sprintf("%.0f %% of handshakes never ended", 100*s.Value)
}

// standing is how a sign stands at a service.
type standing struct {
	on   bool
	last int64 // when it was last seen
}

// sign takes in whether a sign was seen: it comes at once, and goes when it was not seen for a while.
func (d *Detector) sign(v *service, e *seen, kind SignKind, there bool, value, usual, share float64) {
	s := &v.signs[kind]
	now := v.slot * slotWidth
	if there {
		s.last = now
	}
	if there == s.on || s.on && now-s.last < int64(d.p.Surge.Hold) {
		return
	}
	s.on = there
	d.counts.Signs++
	if d.h.Sign != nil {
		d.h.Sign(&Sign{Service: e.o.Service, Kind: kind, On: there, At: d.clock.last, Value: value, Usual: usual, Proven: share})
	}
}
