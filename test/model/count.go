// SPDX-License-Identifier: Apache-2.0

package model

// Reason is why a packet was dropped (docs/drop-reasons.md).
type Reason string

// The reasons. None is no reason.
const (
	None Reason = ""

	BadEthernet  Reason = "bad_ethernet"
	BadIPv4      Reason = "bad_ipv4"
	BadIPv6      Reason = "bad_ipv6"
	BadExtension Reason = "bad_extension"
	BadUDP       Reason = "bad_udp"
	BadTCP       Reason = "bad_tcp"
	BadICMP      Reason = "bad_icmp"
	BadFragment  Reason = "bad_fragment"
	BadAddress   Reason = "bad_address"

	Denied          Reason = "denied"
	NotAllowed      Reason = "not_allowed"
	Doubted         Reason = "doubted"
	PacketSize      Reason = "packet_size"
	FragmentRefused Reason = "fragment_refused"
	RatePackets     Reason = "rate_packets"
	RateBytes       Reason = "rate_bytes"
	RateSessions    Reason = "rate_sessions"
	TooManySessions Reason = "too_many_sessions"
	HostRate        Reason = "host_rate"
	HostSourceRate  Reason = "host_source_rate"
	HostAlwaysRate  Reason = "host_always_rate"
	HostLinkRate    Reason = "host_link_rate"

	NoServer       Reason = "no_server"
	NoPort         Reason = "no_port"
	NoRoute        Reason = "no_route"
	NoNeighbor     Reason = "no_neighbor"
	SessionsFull   Reason = "sessions_full"
	SourcesFull    Reason = "sources_full"
	NoSession      Reason = "no_session"
	FragmentOrphan Reason = "fragment_orphan"
	TTL            Reason = "ttl"
	TooBig         Reason = "too_big"
	ICMPRate       Reason = "icmp_rate"
	ICMPUnrelated  Reason = "icmp_unrelated"
	Race           Reason = "race"
	Internal       Reason = "internal"
	SessionKilled  Reason = "session_killed"

	GateRefused      Reason = "gate_refused"
	StrangerRate     Reason = "stranger_rate"
	Greylisted       Reason = "greylisted"
	StrangersFull    Reason = "strangers_full"
	UnprovenRate     Reason = "unproven_rate"
	AnswerBudget     Reason = "answer_budget"
	QueryRate        Reason = "query_rate"
	Reflection       Reason = "reflection"
	ImpossibleSource Reason = "impossible_source"
	Silent           Reason = "silent"
	PrefixPackets    Reason = "prefix_packets"
	PrefixBytes      Reason = "prefix_bytes"
	PrefixSessions   Reason = "prefix_sessions"
	ServicePackets   Reason = "service_packets"
	ServiceBytes     Reason = "service_bytes"
	ServiceSessions  Reason = "service_sessions"
	WrongPlace       Reason = "geo"
	AnswerQueued     Reason = "answer_queued"
	RuleDropped      Reason = "rule"
	RuleLimited      Reason = "rule_limit"

	BadCookie  Reason = "bad_cookie"
	TCPFlags   Reason = "tcp_flags"
	TCPState   Reason = "tcp_state"
	SYNProxied Reason = "syn_proxy"
)

// Verdict is where a packet goes.
type Verdict string

// The verdicts. An abort is a drop of a packet that was already changed.
const (
	Pass     Verdict = "pass"     // to this host's own stack
	Drop     Verdict = "drop"     //
	TX       Verdict = "tx"       // out by the interface it came in by
	Redirect Verdict = "redirect" // out by another
	Abort    Verdict = "abort"
)

// Outcome is what becomes of one packet.
type Outcome struct {
	Verdict Verdict // "" = it is none of the edge's business (Send alone)
	Reason  Reason
	Shadow  Reason // what policy would have dropped it for
	Service int    // 0 = this host's own traffic
	Out     []byte // the frame as it leaves, of TX and Redirect

	Handshake          bool   // a server's answer that is passed up to become two packets
	ToServer, ToClient []byte // these, without tags; nil: it can't leave
}

// Direction is what travelled one way.
type Direction struct{ Packets, Bytes uint64 }

func (d *Direction) add(packets, bytes uint64) {
	d.Packets += packets
	d.Bytes += bytes
}

// Count is what one service, or (number 0) this host, was sent and answered, packet by packet, dropped ones too.
type Count struct {
	Up, Down                 Direction
	Pass, Drop, TX, Redirect uint64
	Reasons                  map[Reason]Direction // what was dropped
	Shadows                  map[Reason]Direction // what would have been
}

// count counts a packet once, whatever became of it. Bytes are those that its IP header says; of a packet that has no
// believable one, the frame's.
func (e *Edge) count(p *view, o Outcome, packets uint64) {
	c := e.countOf(p.service)
	bytes := uint64(p.length)
	if bytes == 0 {
		bytes = uint64(len(p.frame))
	}
	if p.down {
		c.Down.add(packets, bytes)
	} else {
		c.Up.add(packets, bytes)
	}
	switch o.Verdict {
	case Pass:
		c.Pass += packets
	case TX:
		c.TX += packets
	case Redirect:
		c.Redirect += packets
	default:
		c.Drop += packets
	}
	note(c.Reasons, o.Reason, bytes)
	note(c.Shadows, o.Shadow, bytes)
}

func (e *Edge) countOf(service int) *Count {
	if e.counts[service] == nil {
		e.counts[service] = &Count{Reasons: map[Reason]Direction{}, Shadows: map[Reason]Direction{}}
	}
	return e.counts[service]
}

func note(in map[Reason]Direction, r Reason, bytes uint64) {
	if r != None {
		d := in[r]
		d.add(1, bytes)
		in[r] = d
	}
}

// Counts are all counters, by service.
func (e *Edge) Counts() map[int]*Count { return e.counts }
