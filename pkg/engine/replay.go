// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/frame"
	"parry/pkg/hostfacts"
	"parry/pkg/nexthop"
	"parry/pkg/pcap"
)

// ReplayOptions say what to replay.
type ReplayOptions struct {
	Config  string // path
	Capture string // path of a pcap or pcapng; "-" = standard input
	JSON    bool
}

// replayed is one packet's line (spec 4.5).
type replayed struct {
	N        int       `json:"n"`
	Time     time.Time `json:"time"`
	Verdict  string    `json:"verdict"` // pass, drop, tx, redirect, aborted
	Reason   string    `json:"reason"`
	Service  string    `json:"service"`
	BytesIn  int       `json:"bytes_in"`
	BytesOut int       `json:"bytes_out"`
	Would    string    `json:"would_drop,omitempty"` // reason, where policy isn't enforced
}

type replaySummary struct {
	Packets    int            `json:"packets"`
	Skipped    int            `json:"skipped"` // not a packet of a known link type
	Cut        int            `json:"cut"`     // kept in part: what was cut off is taken for zeros
	Verdicts   map[string]int `json:"verdicts"`
	Reasons    map[string]int `json:"reasons"`
	Services   map[string]int `json:"services"`
	WouldDrop  map[string]int `json:"would_drop"`
	DurationMS int64          `json:"duration_ms"` // from the first packet's time to the last one's
	Sessions   int            `json:"sessions"`    // alive at the end
}

// noRoutes stands for a network in which every server is one hop away: what a capture meets needs no host.
type noRoutes struct{}

func (noRoutes) Resolve(dst netip.Addr) (nexthop.Key, netip.Addr, error) {
	return nexthop.Key{Ifindex: 1, Gateway: dst}, netip.Addr{}, nil
}
func (noRoutes) Links() []nexthop.Link { return nil }

// Replay sends a capture through the real program, on maps of its own and at the capture's own times. Every next hop
// is known, so nothing is lost for want of one; addresses that NAT would take from the host's routes are made up.
func Replay(ctx context.Context, o ReplayOptions, out io.Writer) (err error) {
	c, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	in, err := pcap.Open(o.Capture)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := lacking(hostfacts.Read("/"), func(string) {}); err != nil {
		return err
	}
	e, err := loader.Open(loader.Options{Sizes: sizesOf(c), Log: slog.New(slog.DiscardHandler), Injected: true, Traced: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := replayEdge(c, e); err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<16)
	r := replay{edge: e, cfg: c, out: w, json: o.JSON, summary: replaySummary{
		Verdicts: map[string]int{}, Reasons: map[string]int{}, Services: map[string]int{}, WouldDrop: map[string]int{},
	}}
	err = r.run(ctx, in)
	return errors.Join(err, w.Flush())
}

// replayEdge readies an edge that forwards everything by one made-up next hop.
func replayEdge(c *config.Config, e *loader.Edge) error {
	plan, _, err := planOf(c, noRoutes{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	gates, err := gatesFor(c, nil)
	if err != nil {
		return err
	}
	places, err := placesFor(c, nil)
	if err != nil {
		return err
	}
	plan.Inside, plan.Gates = nil, gates.used(c)
	places.put(c, plan)
	for i := range plan.Services {
		plan.Services[i].Answers = false // a capture has no server to ask
	}
	for i := range plan.Pools {
		for j := range plan.Pools[i].Servers {
			s := &plan.Pools[i].Servers[j]
			if len(s.NAT) == 0 { // RFC 5737 and RFC 3849: for documentation
				s.NAT = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
				if !s.Addr.Is4() {
					s.NAT = []netip.Addr{netip.MustParseAddr("2001:db8::1")}
				}
			}
		}
	}
	gen, err := e.Prepare(plan)
	if err != nil {
		return err
	}
	if err := e.Use(gen); err != nil {
		return err
	}
	_, err = e.SetHop(loader.Hop{
		HopKey: loader.HopKey{Ifindex: 1, Gateway: replayGateway}, Phys: 1, MTU: 65535,
		Dst: [6]byte{2, 0, 0, 0, 0, 2}, Src: [6]byte{2, 0, 0, 0, 0, 1}, Valid: true,
	})
	return err
}

var replayGateway = netip.AddrFrom4([4]byte{192, 0, 2, 254})

type replay struct {
	edge    *loader.Edge
	cfg     *config.Config
	out     *bufio.Writer
	json    bool
	summary replaySummary
	first   time.Time
	last    time.Time
	passed  time.Duration // of the capture's time
	swept   time.Duration
}

// boot is what the capture's first packet's time is for the fast path: long after boot, as on a real host.
const boot = time.Hour

func (r *replay) run(ctx context.Context, in *pcap.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			return r.finish()
		}
		if errors.Is(err, pcap.ErrPacket) {
			r.summary.Skipped++
			continue
		}
		if err != nil {
			return err
		}
		if err := r.packet(&p); err != nil {
			return fmt.Errorf("packet %d: %w", p.N, err)
		}
	}
}

// longestStep is how far the capture's clock may jump: captures that were put together are years apart, and the fast path counts
// nanoseconds since boot.
const longestStep = 24 * time.Hour

// clock sets the fast path's time to the packet's, and ends what has been idle by then. Time never goes back.
func (r *replay) clock(t time.Time) error {
	if r.first.IsZero() {
		r.first, r.last = t, t
	}
	if t.After(r.last) {
		r.passed += min(t.Sub(r.last), longestStep)
		r.last = t
	}
	now := boot + r.passed
	if now-r.swept >= 3*time.Second { // while nothing came the daemon swept: ending has two steps, a second apart
		if err := errors.Join(r.at(now-2*time.Second), r.sweep(now-2*time.Second)); err != nil {
			return err
		}
	}
	if err := r.at(now); err != nil || now-r.swept < time.Second {
		return err
	}
	return r.sweep(now)
}

// at sets the world's time.
func (r *replay) at(now time.Duration) error {
	return r.edge.SetEnv(loader.Env{Now: now, Chance: uint64(r.summary.Packets), Hop: loader.HopKey{Ifindex: 1, Gateway: replayGateway}})
}

func (r *replay) sweep(now time.Duration) error {
	r.swept = now
	_, err := r.edge.Sweep(nil)
	return err
}

func (r *replay) packet(p *pcap.Packet) error {
	if err := r.clock(p.Time); err != nil {
		return err
	}
	if len(p.Data) < 14 {
		r.summary.Skipped++
		return nil
	}
	data := r.whole(p)
	run := r.edge.Process
	if r.sentHere(data) {
		run, data = r.edge.Told, short(data)
	}
	res, err := run(data)
	if err != nil {
		return err
	}
	line := replayed{
		N: p.N, Time: p.Time.UTC(), Verdict: res.Verdict, Reason: res.Reason, Service: r.edge.ServiceNames()[res.Service], BytesIn: len(p.Data),
		BytesOut: len(res.Out), Would: res.Shadow,
	}
	if line.Verdict == "abort" {
		line.Verdict = "aborted"
	}
	if line.Verdict == "drop" || line.Verdict == "aborted" {
		line.BytesOut = 0
	}
	r.count(&line)
	if r.json {
		return json.NewEncoder(r.out).Encode(line)
	}
	_, err = fmt.Fprintf(r.out, "%6d  %s  %-8s  %-20s  %s\n", line.N, line.Time.Format("15:04:05.000000"), line.Verdict, line.Reason, line.Service)
	return err
}

// whole is the frame as long as it was on the wire: a capture may have kept its beginning alone.
func (r *replay) whole(p *pcap.Packet) []byte {
	if p.WireLen <= len(p.Data) || p.WireLen > pcap.MaxPacket {
		return p.Data
	}
	r.summary.Cut++
	return append(append(make([]byte, 0, p.WireLen), p.Data...), make([]byte, p.WireLen-len(p.Data))...)
}

// short cuts what a test run of the egress program is too small for: what this host sends may be longer than a frame, for its NIC cuts
// it. How it is told stays, but for its bytes.
func short(data []byte) []byte {
	const longest, kept, ethernet, tag = 3072, 1500, 14, 4
	if len(data) <= longest {
		return data
	}
	at := ethernet
	for at < ethernet+2*tag && (binary.BigEndian.Uint16(data[at-2:]) == 0x8100 || binary.BigEndian.Uint16(data[at-2:]) == 0x88a8) {
		at += tag
	}
	out := slices.Clone(data[:at+kept])
	switch ip := out[at:]; ip[0] >> 4 {
	case 4:
		binary.BigEndian.PutUint16(ip[2:], kept)
		if header := int(ip[0]&15) * 4; ip[9] == frame.UDP {
			binary.BigEndian.PutUint16(ip[header+4:], uint16(kept-header))
		}
	case 6:
		binary.BigEndian.PutUint16(ip[4:], kept-40)
		if ip[6] == frame.UDP {
			binary.BigEndian.PutUint16(ip[44:], kept-40)
		}
	}
	return out
}

// sentHere tells whether a local service's server says this: then it doesn't come in, it leaves.
func (r *replay) sentHere(data []byte) bool {
	var p frame.Packet
	if !frame.Parse(data, &p) || p.Src.Port() == 0 {
		return false
	}
	proto := map[uint8]string{frame.UDP: "udp", frame.TCP: "tcp"}[p.Proto]
	for i := range r.cfg.Services {
		s := &r.cfg.Services[i]
		if s.Forward != config.ForwardLocal || !s.HasProtocol(proto) {
			continue
		}
		if slices.ContainsFunc(s.Listen, func(l config.Listen) bool { return l.Contains(p.Src) }) {
			return true
		}
	}
	return false
}

func (r *replay) count(l *replayed) {
	s := &r.summary
	s.Packets++
	s.Verdicts[l.Verdict]++
	if l.Reason != "" {
		s.Reasons[l.Reason]++
	}
	if l.Service != "" {
		s.Services[l.Service]++
	}
	if l.Would != "" {
		s.WouldDrop[l.Would]++
	}
}

func (r *replay) finish() error {
	s := &r.summary
	s.DurationMS = r.last.Sub(r.first).Milliseconds()
	if s.Packets > 0 {
		if err := r.edge.Sessions(func(*loader.Session) bool { s.Sessions++; return true }); err != nil {
			return err
		}
	}
	if r.json {
		return json.NewEncoder(r.out).Encode(map[string]any{"summary": s})
	}
	fmt.Fprintf(r.out, "\n%d packets in %v", s.Packets, r.last.Sub(r.first).Round(time.Millisecond))
	if s.Skipped > 0 {
		fmt.Fprintf(r.out, ", %d more could not be read as packets", s.Skipped)
	}
	if s.Cut > 0 {
		fmt.Fprintf(r.out, ", %d were cut off and filled up with zeros", s.Cut)
	}
	fmt.Fprintf(r.out, "; %d sessions alive at the end\n", s.Sessions)
	for _, part := range []struct {
		name   string
		counts map[string]int
	}{{"verdict", s.Verdicts}, {"dropped for", s.Reasons}, {"would be dropped for", s.WouldDrop}, {"service", s.Services}} {
		for _, k := range byCount(part.counts) {
			fmt.Fprintf(r.out, "  %-22s %-22s %d\n", part.name, k, part.counts[k])
		}
	}
	return nil
}

func byCount(m map[string]int) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
	return keys
}
