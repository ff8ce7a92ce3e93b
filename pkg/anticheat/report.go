// SPDX-License-Identifier: Apache-2.0

package anticheat

import "fmt"

// Report is what is known of a session.
type Report struct {
	Findings []Finding
	// Unkept is how many findings there were beyond those.
	Unkept uint64
	// Unjudged says of which kinds nothing can be said, and why.
	Unjudged []Unjudged
	// Types is the rate of the client's packets of each type that can be read, packets a second.
	Types map[string]float64
	// Flagged: its player or address has earlier findings.
	Flagged bool
}

// Unjudged is a detector that had too little.
type Unjudged struct {
	Kind Kind
	Why  string
}

const (
	judgedLeast  = 50 // packets of the client's
	judgedWithin = 5  // seconds of play
)

// Report tells what was found of a session so far, and what was not judged. False: it is not followed.
func (a *Analyser) Report(k Session) (r Report, ok bool) {
	s := a.sessions[k]
	if s == nil {
		return r, false
	}
	return a.report(s), true
}

func (a *Analyser) report(s *session) Report {
	r := Report{Unkept: s.unkept, Flagged: s.flagged, Types: s.typeRates()}
	for _, f := range s.findings {
		r.Findings = append(r.Findings, *f)
	}
	for _, kind := range Kinds() {
		if why := a.unjudged(s, kind); why != "" {
			r.Unjudged = append(r.Unjudged, Unjudged{kind, why})
		}
	}
	return r
}

// Sample is one of the last packets of a client.
type Sample struct {
	At   uint64 // ns of the packets' clock, to a microsecond
	Size int    // of the payload, bytes
	Type string // "": it can't be read
}

// Samples are the last packets of a session's client, 1,000 at most, the oldest first.
func (a *Analyser) Samples(k Session) []Sample {
	s := a.sessions[k]
	if s == nil {
		return nil
	}
	all := make([]Sample, 0, len(s.samples))
	for i := range s.samples {
		x := &s.samples[(s.next+i)%len(s.samples)]
		// Their times are the low bits of microseconds since the session began; none is older than the last packet by 71 minutes.
		ago := uint32((s.at-s.began)/1000) - x.at
		all = append(all, Sample{s.at - uint64(ago)*1000, int(x.size), typeNames(x.kind)})
	}
	return all
}

// typeNames are what types of packets are called.
func typeNames(kind uint8) string {
	return [kindsOfPacket]string{1: "out_of_band", 2: "part", 3: "play", 4: "ack", 5: "nak"}[kind%kindsOfPacket]
}

func (s *session) typeRates() map[string]float64 {
	all := map[string]float64{}
	for i, v := range s.types.rate {
		if name := typeNames(uint8(i)); name != "" && v > 0.01 {
			all[name] = float64(v)
		}
	}
	return all
}

// unjudged says why a kind is not judged of a session; "": it is.
func (a *Analyser) unjudged(s *session, kind Kind) string {
	switch kind {
	case Signature:
		if a.p.Signatures == nil {
			return "there are no rules"
		}
		return ""
	case Size:
		if s.bounds.payload == 0 {
			return "nobody has said how long packets of its game are"
		}
		return ""
	}
	if s.whole == 0 && s.sums[0].looks > 0 {
		switch kind {
		case Frequency, Flood, Duplicate, LagDrop:
			return "only sums of it are known: suspects are found by them, no more"
		}
		return "only sums of it are known"
	}
	if s.whole == 0 {
		return "only samples of it are known"
	}
	if ups := len(s.samples); ups < judgedLeast || s.at-s.wholeSince < judgedWithin*1e9 {
		return fmt.Sprintf("%d packets of the client within %.0f s are too few", ups, seconds(s.at-s.wholeSince))
	}
	switch kind {
	case Duplicate, Replay, Tampered, LagDrop:
		if !s.tracker.believed {
			return "its packets have no numbers that can be read"
		}
	}
	switch kind {
	case LagDrop, LagHold, FakeLag:
		if s.lag.rate < rateLeast {
			return fmt.Sprintf("the client sends %.0f packets a second: a silence shows from %d on", s.lag.rate, rateLeast)
		}
		if s.lag.downRate < downsLeast {
			return "its server says too little for its own silences to show"
		}
	case SpeedUp, Robotic, Anomaly, Farm:
		return a.lonely(s, kind)
	}
	return ""
}
