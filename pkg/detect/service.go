// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"math"
	"math/bits"
	"time"
)

const (
	slotWidth = int64(time.Second)
	epoch     = int64(10 * time.Second)
	calmFor   = 600 // seconds that the usual is a mean of
	warmUp    = 60  // seconds before anything is unusual
)

// service is what one service sees of new sessions, and what is usual there.
type service struct {
	slot, began     int64 // seconds since start: counted in, and first seen
	attempts, fast  float64
	usual, expected float64 // new sessions a second
	came, proved    float64 // in the epoch
	epoch           int64
	syns, shaken    float64
	origins         [256]float64
	lengths         [64]float64
	entropy         usual
	uniform         usual
	signs           [signKinds]standing
	fares           [2]faring
	faresTurned     int64
	played          int64 // when somebody was last known to play here, 0 = never
}

// usual is what a figure is at a service, learned from epochs.
type usual struct {
	mean float64
	n    int
}

func (u *usual) learn(x float64) {
	u.n = min(u.n+1, calmFor/10)
	u.mean += (x - u.mean) / float64(u.n)
}

// faring is how a service's players fare: whose sessions came to last, and which known ones got nowhere.
type faring struct{ well, ill mark64 }

type mark64 uint64

func (m *mark64) add(hash uint64) { *m |= 1 << (hash & 63) }

// faring is where it is written down who fares how.
func (v *service) faring(now int64) *faring {
	if now-v.faresTurned >= int64(2*time.Minute) {
		if now-v.faresTurned >= int64(4*time.Minute) {
			v.fares[0] = faring{}
		}
		v.faresTurned = now
		v.fares = [2]faring{{}, v.fares[0]}
	}
	return &v.fares[0]
}

// ails tells whether the service's own players can't play: then it is not its strangers' doing if they can't.
func (v *service) ails(now int64) bool {
	v.faring(now)
	well := bits.OnesCount64(uint64(v.fares[0].well | v.fares[1].well))
	ill := bits.OnesCount64(uint64(v.fares[0].ill | v.fares[1].ill))
	return ill >= 5 && ill >= well
}

// silent tells whether a service's server lets nobody play, as far as is known, so that one who got no word of it is no wonder.
func (v *service) silent(now int64) bool { return v.played == 0 || now-v.played > 2*term }

// take counts an observation, and looks at the seconds and epochs that are over.
func (d *Detector) take(e *seen, origin uint8) {
	v, o := e.svc, e.o
	d.roll(v, e)
	w := float64(o.weight())
	switch o.Kind {
	case SYN:
		v.syns += w
		return
	case Handshake:
		v.shaken += w
		v.proved += w
		return
	case Proven:
		v.proved += w
		return
	case Attempt, Refused:
	default:
		return
	}
	v.attempts += w
	v.came += w
	if o.Proof == Strong {
		v.proved += w
	}
	v.origins[origin] += w
	v.lengths[o.Length&63] += w
}

// roll closes seconds and epochs up to an observation's.
func (d *Detector) roll(v *service, e *seen) {
	second := e.at / slotWidth
	if v.slot == 0 {
		v.slot, v.began, v.epoch = second, second, e.at
	}
	if e.at-v.epoch >= epoch {
		d.closeEpoch(v, e)
	}
	for n := 0; v.slot < second; n++ {
		d.closeSecond(v, e)
		v.slot++
		if n == 120 { // nothing came for so long: the rest at once
			v.usual *= math.Pow(1-1.0/calmFor, float64(min(second-v.slot, 1<<20)))
			v.slot, v.fast = second, 0
		}
	}
}

func (d *Detector) closeSecond(v *service, e *seen) {
	p := &d.p.Surge
	v.fast += 0.3 * (v.attempts - v.fast)
	known := float64(v.slot - v.began + 1)
	on := max(p.Least, p.Times*max(v.usual, v.expected))
	surges := &v.signs[Surge]
	calm := known > warmUp && v.fast <= on/2
	if known > warmUp && (v.fast > on || surges.on && !calm) {
		share := 0.0
		if v.came > 0 {
			share = min(v.proved/v.came, 1)
		}
		d.sign(v, e, Surge, true, v.fast, v.usual, share)
	} else {
		d.sign(v, e, Surge, false, v.fast, v.usual, 0)
	}
	memory := min(known, calmFor)
	if surges.on {
		memory = 6 * calmFor // what an attack teaches, it teaches slowly
	}
	v.usual += (v.attempts - v.usual) / memory
	v.attempts = 0
}

func (d *Detector) closeEpoch(v *service, e *seen) {
	p := &d.p.Surge
	if v.came >= p.Samples {
		bitsNow, modal := entropyOf(v.origins[:], v.came), most(v.lengths[:])/v.came
		strange := v.entropy.n >= 6 && math.Abs(bitsNow-v.entropy.mean) > p.Entropy
		d.sign(v, e, Entropy, strange, bitsNow, v.entropy.mean, 0)
		same := v.uniform.n >= 6 && modal >= p.Uniform && v.uniform.mean < p.Uniform*2/3
		d.sign(v, e, UniformSizes, same, modal, v.uniform.mean, 0)
		if !strange {
			v.entropy.learn(bitsNow)
		}
		if !same {
			v.uniform.learn(modal)
		}
	}
	if v.syns > 0 || v.signs[SYNWithoutACK].on {
		open := 1 - min(v.shaken/max(v.syns, 1), 1)
		d.sign(v, e, SYNWithoutACK, v.syns >= p.Samples && open >= p.Unanswered, open, 0, 0)
	}
	v.came, v.proved, v.syns, v.shaken = 0, 0, 0, 0
	v.origins, v.lengths = [256]float64{}, [64]float64{}
	v.epoch = e.at
}

// entropyOf is Shannon's, in bits.
func entropyOf(bins []float64, total float64) (h float64) {
	for _, n := range bins {
		if n > 0 {
			h -= n / total * math.Log2(n/total)
		}
	}
	return h
}

func most(bins []float64) (m float64) {
	for _, n := range bins {
		m = max(m, n)
	}
	return m
}
