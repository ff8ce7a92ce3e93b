// SPDX-License-Identifier: Apache-2.0

package query_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"parry/pkg/query"
	"parry/pkg/query/querytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 5 * time.Second

func ask(t *testing.T, h querytest.Handler, q query.Question) (*query.Reply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return query.Ask(ctx, querytest.Listen(t, h), q)
}

var (
	lab   = &querytest.Source{Info: querytest.Info("A server", "ctf_2fort", 7, 24, ""), Players: querytest.Players(7), Rules: querytest.Rules(12)}
	large = querytest.Rules(200) // 6 packets
	arena = &querytest.Quake3{
		Info: `\voip\opus\hostname\An arena\sv_maxclients\8\mapname\oa_dm1\clients\2`, Status: `\sv_hostname\An arena\mapname\oa_dm1\sv_maxclients\8\g_humanplayers\1`,
		Players: "3 0 \"one\"\n5 48 \"two\"\n",
	}
	bedrock = &querytest.RakNet{Text: `MCPE;A \; world;390;1.20.80;3;20;1234567890;Level;Survival;1;19132;19133;`}
)

func TestRepliesAreWhatAClientWouldGet(t *testing.T) {
	const head = "\xff\xff\xff\xff"
	open := *lab
	open.Open = true
	for _, tc := range []struct {
		name   string
		server querytest.Handler
		q      query.Question
		packet string
		basics query.Basics
	}{
		{"info", lab.Handle, query.SourceInfo, head + string(lab.Info), query.Basics{Name: "A server", Map: "ctf_2fort", Players: 7, Max: 24}},
		{"info, no challenge", open.Handle, query.SourceInfo, head + string(lab.Info), query.Basics{Name: "A server", Map: "ctf_2fort", Players: 7, Max: 24}},
		{"players", lab.Handle, query.SourcePlayers, head + string(lab.Players), query.Basics{Players: 7, Max: -1}},
		{"players, no challenge", open.Handle, query.SourcePlayers, head + string(lab.Players), query.Basics{Players: 7, Max: -1}},
		{"rules", lab.Handle, query.SourceRules, head + string(lab.Rules), query.Basics{Players: -1, Max: -1}},
		{
			"old info", (&querytest.Source{Info: []byte("m127.0.0.1:27015\x00Old\x00crossfire\x00valve\x00Half-Life\x00\x03\x10\x2f")}).Handle, query.SourceInfo,
			head + "m127.0.0.1:27015\x00Old\x00crossfire\x00valve\x00Half-Life\x00\x03\x10\x2f", query.Basics{Name: "Old", Map: "crossfire", Players: 3, Max: 16},
		},
		{"getinfo", arena.Handle, query.Quake3Info, head + "infoResponse\n" + arena.Info, query.Basics{Name: "An arena", Map: "oa_dm1", Players: 2, Max: 8}},
		{
			"getstatus", arena.Handle, query.Quake3Status, head + "statusResponse\n" + arena.Status + "\n" + arena.Players,
			query.Basics{Name: "An arena", Map: "oa_dm1", Players: 2, Max: 8},
		},
		{
			"pong", bedrock.Handle, query.RakNetPing, string(bedrock.Handle(pingAt(0), netip.AddrPort{})[0]),
			query.Basics{Name: "A ; world", Map: "Level", Players: 3, Max: 20},
		},
		{"pong of another game", (&querytest.RakNet{}).Handle, query.RakNetPing, string((&querytest.RakNet{}).Handle(pingAt(0), netip.AddrPort{})[0]), query.Basics{Players: -1, Max: -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := ask(t, tc.server, tc.q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([][]byte{[]byte(tc.packet)}, r.Packets); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.basics, r.Basics); diff != "" {
				t.Errorf("basics (-want +got):\n%s", diff)
			}
			if r.Took <= 0 || r.Took > patience {
				t.Errorf("it took %v", r.Took)
			}
		})
	}
}

func pingAt(at byte) []byte {
	p := append(bytes.Repeat([]byte{at}, 9), "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"...)
	p[0] = 1
	return append(p, 1, 2, 3, 4, 5, 6, 7, 8)
}

func TestSplitRepliesAreJoined(t *testing.T) {
	reverse := func(all [][]byte) [][]byte {
		out := make([][]byte, 0, len(all))
		for i := range all {
			out = append(out, all[len(all)-1-i])
		}
		return out
	}
	old := func(id uint32, reply []byte) [][]byte { // without the size
		all := querytest.SplitSource(id, reply, 1000)
		for i, p := range all {
			all[i] = append(p[:10:10], p[12:]...)
		}
		return all
	}
	for _, tc := range []struct {
		name  string
		split func(id uint32, reply []byte) [][]byte
	}{
		{"source", func(id uint32, r []byte) [][]byte { return querytest.SplitSource(id, r, 1200) }},
		{"source, two", func(id uint32, r []byte) [][]byte { return querytest.SplitSource(id, r, (len(r)+1)/2) }},
		{"source, the wrong way round and twice", func(id uint32, r []byte) [][]byte {
			all := querytest.SplitSource(id, r, 1200)
			return append(reverse(all[1:]), append(all[1:], all...)...)
		}},
		{"source, among another's parts", func(id uint32, r []byte) [][]byte {
			all := querytest.SplitSource(id, r, 1200)
			return append([][]byte{all[0], querytest.SplitSource(id+1, r, 1200)[1]}, all[1:]...)
		}},
		{"source, old", old},
		{"goldsrc", func(id uint32, r []byte) [][]byte { return querytest.SplitGoldSrc(id, r, 1200) }},
		{"goldsrc, two, the wrong way round", func(id uint32, r []byte) [][]byte { return reverse(querytest.SplitGoldSrc(id, r, (len(r)+1)/2)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := &querytest.Source{Rules: large, Split: tc.split}
			r, err := ask(t, server.Handle, query.SourceRules)
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("\xff\xff\xff\xff"), large...); !bytes.Equal(r.Body, want) {
				t.Errorf("%d bytes, want %d", len(r.Body), len(want))
			}
			n, size := len(r.Packets), 0
			for i, p := range r.Packets {
				size += len(p)
				if number := int(p[9]); tc.name[:6] == "source" && number != i {
					t.Errorf("packet %d is number %d", i, number)
				}
			}
			if n < 2 || size < len(r.Body) {
				t.Errorf("%d packets of %d bytes in all", n, size)
			}
		})
	}
}

// packedParts is testdata's packed reply as a server sends it: `size` and `sum` as its header says.
func packedParts(t testing.TB, size, sum uint32) (parts [][]byte, reply []byte) {
	t.Helper()
	packed, err := os.ReadFile("testdata/rules.bz2")
	if err != nil {
		t.Fatal(err)
	}
	reply = append([]byte("\xff\xff\xff\xff"), large...)
	if size == 0 {
		size, sum = uint32(len(reply)), crc32.ChecksumIEEE(reply)
	}
	head := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, size), sum)
	return querytest.SplitSource(7|1<<31, append(head, packed...), 400), reply
}

func TestPackedRepliesAreUnpacked(t *testing.T) {
	parts, reply := packedParts(t, 0, 0)
	server := &querytest.Source{Rules: large, Split: func(uint32, []byte) [][]byte { return parts }}
	r, err := ask(t, server.Handle, query.SourceRules)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Body, reply) {
		t.Errorf("%d bytes, want %d", len(r.Body), len(reply))
	}
	if diff := cmp.Diff(parts, r.Packets); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

func TestBadRepliesAreRefused(t *testing.T) {
	const head = "\xff\xff\xff\xff"
	one := func(p string) querytest.Handler {
		return func([]byte, netip.AddrPort) [][]byte { return [][]byte{[]byte(p)} }
	}
	packed := func(size, sum uint32) querytest.Handler {
		parts, _ := packedParts(t, size, sum)
		return func([]byte, netip.AddrPort) [][]byte { return parts }
	}
	many := make([][]byte, 200)
	for i := range many {
		many[i] = []byte("noise")
	}
	for _, tc := range []struct {
		name   string
		server querytest.Handler
		q      query.Question
	}{
		{"cut short", one(head + "I\x11name"), query.SourceInfo},
		{"nothing but its type", one(head + "D"), query.SourcePlayers},
		{"challenges without end", one(head + "A\x01\x02\x03\x04"), query.SourceInfo},
		{"noise without end", func([]byte, netip.AddrPort) [][]byte { return many }, query.RakNetPing},
		{"packed, of a size that is too much", packed(1<<30, 0), query.SourceRules},
		{"packed, of another size", packed(100, 0), query.SourceRules},
		{"packed, of another sum", packed(uint32(len(large)+4), 1), query.SourceRules},
		{"packed, and none", func([]byte, netip.AddrPort) [][]byte {
			return querytest.SplitSource(1<<31, bytes.Repeat([]byte("x"), 100), 60)
		}, query.SourceRules},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r, err := ask(t, tc.server, tc.q); !errors.Is(err, query.ErrBadReply) {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

// Who doesn't see the question can't answer it: of the protocols that have something to echo.
func TestReplyToAnotherQuestionIsPassedOver(t *testing.T) {
	for _, tc := range []struct {
		name   string
		server querytest.Handler
		q      query.Question
	}{
		{"no challenge", func([]byte, netip.AddrPort) [][]byte {
			return arena.Handle([]byte("\xff\xff\xff\xffgetinfo\n"), netip.AddrPort{})
		}, query.Quake3Info},
		{"another challenge", func([]byte, netip.AddrPort) [][]byte {
			return arena.Handle([]byte("\xff\xff\xff\xffgetstatus 0123\n"), netip.AddrPort{})
		}, query.Quake3Status},
		{"a longer challenge", func(r []byte, a netip.AddrPort) [][]byte {
			return arena.Handle(append(bytes.TrimSpace(r), '0'), a)
		}, query.Quake3Info},
		{"another time", func([]byte, netip.AddrPort) [][]byte { return bedrock.Handle(pingAt(9), netip.AddrPort{}) }, query.RakNetPing},
		{"another type", func([]byte, netip.AddrPort) [][]byte {
			return [][]byte{append([]byte("\xff\xff\xff\xff"), lab.Rules...)}
		}, query.SourceInfo},
		{"a part of a reply", func([]byte, netip.AddrPort) [][]byte { return querytest.SplitSource(1, lab.Rules, 100)[1:] }, query.SourceRules},
		{"nothing", func([]byte, netip.AddrPort) [][]byte { return nil }, query.SourceInfo},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			r, err := query.Ask(ctx, querytest.Listen(t, tc.server), tc.q)
			if !errors.Is(err, query.ErrNoReply) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	bound := querytest.Listen(t, func([]byte, netip.AddrPort) [][]byte { return nil })
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), bound.Port()) // bound at 127.0.0.1 alone
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := query.Ask(ctx, at, query.SourceInfo); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}
