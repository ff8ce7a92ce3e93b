// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"parry/pkg/query/querytest"
)

type sent struct {
	from, to netip.AddrPort
	payload  []byte
}

type recorder struct {
	all []sent
	err error
}

func (r *recorder) Send(from, to netip.AddrPort, payload []byte) error {
	r.all = append(r.all, sent{from, to, payload})
	return r.err
}

type holder map[Cell][][]byte

func (h holder) Packets(c Cell, _ int) [][]byte { return h[c] }

func asked(client string) Asked {
	return Asked{
		Client: netip.AddrPortFrom(netip.MustParseAddr(client), 4000), Front: netip.MustParseAddrPort("203.0.113.10:27015"),
		Cell: Cell{Pool: "arena", Server: "a"}, Kind: 2,
	}
}

func TestAnswersAreSentWithNumbersOfTheirOwn(t *testing.T) {
	for _, id := range []uint32{7, 7 | 1<<31} {
		parts := querytest.SplitSource(id, querytest.Rules(100), 1200)
		kept := [][]byte{bytes.Clone(parts[0]), bytes.Clone(parts[1])}
		var out recorder
		r := NewResponder(holder{asked("192.0.2.1").Cell: parts}, &out)
		for range 2 {
			if err := r.Answer(asked("192.0.2.1")); err != nil {
				t.Fatal(err)
			}
		}
		if len(out.all) != 2*len(parts) {
			t.Fatalf("%d packets of %d", len(out.all), 2*len(parts))
		}
		for i, p := range out.all {
			part := parts[i%len(parts)]
			if p.from != asked("192.0.2.1").Front || p.to != asked("192.0.2.1").Client {
				t.Errorf("from %v to %v", p.from, p.to)
			}
			if !bytes.Equal(p.payload[:4], part[:4]) || !bytes.Equal(p.payload[8:], part[8:]) || p.payload[7]>>7 != part[7]>>7 {
				t.Errorf("packet %d is %q, of %q", i, p.payload, part)
			}
			if first := out.all[i/len(parts)*len(parts)].payload; !bytes.Equal(p.payload[4:8], first[4:8]) {
				t.Errorf("packet %d has another number than its first", i)
			}
		}
		if bytes.Equal(out.all[0].payload[4:8], out.all[len(parts)].payload[4:8]) {
			t.Error("two answers have one number")
		}
		if !bytes.Equal(kept[0], parts[0]) || !bytes.Equal(kept[1], parts[1]) {
			t.Error("what is kept was written to")
		}
		if c := r.Counts(); c != (Counts{Answered: 2, Packets: uint64(2 * len(parts))}) {
			t.Errorf("counted %+v", c)
		}
	}
}

func TestWholeAnswersAreSentAsTheyAre(t *testing.T) {
	packet := []byte("\xff\xff\xff\xffIand so on")
	var out recorder
	r := NewResponder(holder{asked("192.0.2.1").Cell: {packet}}, &out)
	if err := r.Answer(asked("192.0.2.1")); err != nil || len(out.all) != 1 || !bytes.Equal(out.all[0].payload, packet) {
		t.Errorf("sent %v, %v", out.all, err)
	}
}

func TestAnswersKeepWithinTheirBudget(t *testing.T) {
	parts := querytest.SplitSource(7, querytest.Rules(200), 1200) // 6
	n := len(parts)
	synctest.Test(t, func(t *testing.T) {
		var out recorder
		r := NewResponder(holder{asked("192.0.2.1").Cell: parts}, &out)
		answer := func(client string, times int) (packets int) {
			before := len(out.all)
			for range times {
				if err := r.Answer(asked(client)); err != nil {
					t.Fatal(err)
				}
			}
			return len(out.all) - before
		}
		if got, want := answer("192.0.2.1", 1000), sourceBurst/n*n; got != want {
			t.Errorf("at once one gets %d packets, want %d", got, want)
		}
		if got := answer("192.0.2.2", 1); got != n {
			t.Errorf("another one gets %d packets", got)
		}
		time.Sleep(time.Second)
		if got := answer("192.0.2.1", 1000); got < sourcePackets-n || got > sourcePackets+n {
			t.Errorf("a second later one gets %d packets", got)
		}
		if got := answer("2001:db8::1", 1000) + answer("2001:db8::2", 1000); got != sourceBurst/n*n {
			t.Errorf("two of a /64 get %d packets", got)
		}
		time.Sleep(time.Minute)
		all := 0
		for i := range 4000 {
			all += answer(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}).String(), 1)
		}
		if all != totalBurst/n*n {
			t.Errorf("at once all get %d packets, want %d", all, totalBurst/n*n)
		}
		if c := r.Counts(); c.Packets != uint64(len(out.all)) || c.Answered*uint64(n) != c.Packets || c.Refused == 0 || c.Failed+c.Stale != 0 {
			t.Errorf("%d packets, counted %+v", len(out.all), c)
		}
	})
}

func TestWhatCannotBeAnsweredIsCounted(t *testing.T) {
	out := recorder{err: errors.New("no route")}
	r := NewResponder(holder{asked("192.0.2.1").Cell: {[]byte("short")}}, &out)
	if err := r.Answer(asked("192.0.2.1")); !errors.Is(err, out.err) {
		t.Errorf("got %v", err)
	}
	stale := asked("192.0.2.1")
	stale.Cell.Server = "b"
	if err := r.Answer(stale); err != nil {
		t.Error(err)
	}
	if c := r.Counts(); c != (Counts{Failed: 1, Stale: 1}) {
		t.Errorf("counted %+v", c)
	}
}
