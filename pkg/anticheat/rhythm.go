// SPDX-License-Identifier: Apache-2.0

package anticheat

import "math"

const (
	windowSeconds = 10 // that behaviour is looked at over
	windowLeast   = 50 // packets of the client's in them
	seriesSeconds = 64 // of bytes that are kept, to compare with others'
	quickMost     = 1.5
)

// features of behaviour, all of one window of the client's packets.
const (
	featRate    = iota // packets a second, log
	featSize           // mean payload, log
	featSizeVar        // coefficient of variation of payloads
	featTimeVar        // coefficient of variation of spacings
	featQuick          // share of spacings below quickMost ms
	featDown           // packets of the server's for each, log
	featGap            // longest spacing, ms, log
	featRepeat         // share of packets that came again, or late
	features
)

// rhythm sums the window that is being looked at, and keeps what the last one said.
type rhythm struct {
	n             uint32
	last          uint64
	time, time2   float64 // ms, and squared
	bytes, bytes2 float64
	longest       float64
	quick         uint32
	highest       uint32 // number at its begin
	numbered      bool   // and it had one
	began         uint64

	ready    bool // of here on what the last window said
	feature  [features]float64
	pace     float64 // packets a second by their numbers, else as they came
	timeVar  float64
	sizeVar  float64
	windows  uint32
	steady   uint32 // windows in a row in which pace stayed
	fast     uint32 // windows in a row, likewise
	robotic  uint32
	odd      uint32
	score    float64
	series   [seriesSeconds]uint16
	seriesAt uint64 // second of the newest
}

// up takes in a packet of the client's.
func (r *rhythm) up(at uint64, length int) {
	if r.last != 0 {
		v := float64(at-r.last) / 1e6
		r.time += v
		r.time2 += v * v
		r.longest = max(r.longest, v)
		if v < quickMost {
			r.quick++
		}
	}
	r.last = at
	r.n++
	r.bytes += float64(length)
	r.bytes2 += float64(length) * float64(length)
}

// variation is the coefficient of variation of n values.
func variation(sum, squares float64, n uint32) float64 {
	if n < 2 || sum == 0 {
		return 0
	}
	mean := sum / float64(n)
	return math.Sqrt(max(squares/float64(n)-mean*mean, 0)) / mean
}

// window closes a window; false: it says too little.
func (s *session) window() bool {
	r := &s.rhythm
	t, full := s.total(windowSeconds)
	for i := uint32(windowSeconds); i > 0; i-- {
		if x := s.ago(i); x != nil {
			r.series[(s.turned-uint64(i))%seriesSeconds] = uint16(min(x.upBytes, math.MaxUint16))
		}
	}
	r.seriesAt = s.turned
	defer func() {
		r.n, r.time, r.time2, r.bytes, r.bytes2, r.longest, r.quick = 0, 0, 0, 0, 0, 0, 0
		r.highest, r.numbered, r.began = s.tracker.highest, s.tracker.believed, s.at
	}()
	if !full || r.n < windowLeast {
		r.ready, r.steady, r.fast, r.robotic, r.odd = false, 0, 0, 0, 0
		return false
	}
	r.windows++
	pace := float64(r.n) / windowSeconds
	if ahead := s.tracker.highest - r.highest; r.numbered && s.tracker.believed && ahead > 0 && ahead < 1<<16 && s.at > r.began {
		pace = float64(ahead) / seconds(s.at-r.began)
	}
	if math.Abs(pace-r.pace) <= 0.01*pace {
		r.steady++
	} else {
		r.steady = 0
	}
	r.pace, r.ready = pace, true
	r.timeVar, r.sizeVar = variation(r.time, r.time2, r.n-1), variation(r.bytes, r.bytes2, r.n)
	r.feature = [features]float64{
		featRate: math.Log(float64(r.n)), featSize: math.Log(r.bytes/float64(r.n) + 1), featSizeVar: r.sizeVar, featTimeVar: math.Log(r.timeVar + 0.1),
		featQuick: part(r.quick, r.n), featDown: math.Log(float64(t.down+1) / float64(r.n)), featGap: math.Log(r.longest + 1),
		featRepeat: part(t.dup+t.late+t.replay, t.numbered),
	}
	return true
}
