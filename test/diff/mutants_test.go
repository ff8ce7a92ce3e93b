// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/test/need"
)

// mutant is the fast path with one fault made on purpose. The text must be in the file exactly once.
type mutant struct {
	name, file, old, new string
	kind                 string // of the edge that shows it; "" = all
	gate                 string // that the fault is in; "" = in the core
}

// mutants are faults that a review might miss, all over the fast path.
func mutants() []mutant {
	return append(slices.Concat(strangerMutants(), wideMutants(), ruleMutants(), shakenMutants(), watchedMutants(), doubtMutants()), []mutant{
		{"a first fragment's UDP length is that of the part", "stage/parse.h", "(p->frag == FRAG_NONE && len > rest)", "len > rest", "", ""},
		{"routing headers are followed", "stage/parse.h", "p->proto == NEXTHDR_ROUTING && h->left", "0", "", ""},
		{"a TTL of 1 is forwarded", "stage/rewrite.h", "	if (ip->ttl <= 1)", "	if (!ip->ttl)", "", ""},
		{"a UDP checksum of 0 over IPv4 is amended", "stage/rewrite.h", "if (!udp->check && p->family == 4)", "if (0)", "", ""},
		{"a UDP checksum that comes out as 0 is sent", "stage/rewrite.h", "udp->check = check ?: 0xffff", "udp->check = check", "", ""},
		{"one port is left out of the sums", "stage/session.h", "				csum_change2(m->face_port, m->client_port));\n}\n\nstatic __always_inline void up6", "				0);\n}\n\nstatic __always_inline void up6", "", ""},
		{"a bucket gives one less", "lib/rate.h", "(__s64)(tat - t) > (__s64)burst", "(__s64)(tat - t) >= (__s64)burst", "", ""},
		{"loans are forgotten", "stage/limit.h", "		loan_return(&l, LOAN_PACKETS(had), LOAN_BYTES(had));\n", "		;\n", "", ""},
		{"loans last longer", "stage/limit.h", "#define LAPSE 127", "#define LAPSE 255", "", ""},
		{"one session too many", "stage/limit.h", "!most || n < most", "!most || n <= most", "", ""},
		{"only the client's silence counts", "stage/reap.h", "return other < idle ? other : idle;", "return idle;", "", ""},
		{"TCP's ports rest as short as UDP's", "stage/end.h", "#define REST_TCP (60", "#define REST_TCP (30", "", ""},
		{"one FIN closes", "stage/reap.h", "flags & FLOW_FIN_CLIENT && flags & FLOW_FIN_SERVER", "flags & FLOW_FIN_CLIENT || flags & FLOW_FIN_SERVER", "", ""},
		{"what was killed comes back", "stage/revive.h", "if (up->state & FLOW_KILLED)", "if (0)", "", ""},
		{"ports are given out unrested", "lib/ring.h", ">> REST_SHIFT < c >> 48", ">> REST_SHIFT < 0", "", ""},
		{"an expired entry holds on", "stage/deny.h", "if (!e || (e->expires && (__s64)(e->expires - now) <= 0))", "if (!e)", "", ""},
		{"fragments outlive their session", "stage/frag.h", "return half && carries(half->state) ? half : NULL;", "return half;", "", ""},
		{"fragments follow for ever", "stage/frag.h", "(__s32)(f->expires - p->tick) <= 0", "0", "", ""},
		{"two players' fragments may merge", "stage/frag.h", "		ip->id = id;\n", "		;\n", "", ""},
		{"later fragments cost nothing", "stage/frag.h", "	s = f->state & FLOW_UNLIMITED ? NULL : bpf_map_lookup_elem(&source, &f->source);", "	s = NULL;", "", ""},
		{"a router is shown to nobody", "stage/icmp.h", "return !p->down && !(f->state & FLOW_NAT);", "return false;", "", ""},
		{"what lies behind an error is taken for it", "stage/icmp.h", "|| x->l4 + (x->proto == IPPROTO_UDP ? 8 : 18) > x->end)", ")", "", ""},
		{"the budget of ICMP errors is nobody's", "stage/icmp.h", "if (!icmp_budget(p))", "if (0)", "", ""},
		{"an MTU is told with too little quoted", "stage/icmp_reply.h", "p->l4 - p->l3 + 8", "p->l4 - p->l3 + 4", "", ""},
		{"a hop's second tag is its first", "stage/egress.h", "tag[1].tci = h->tag[1].tci", "tag[1].tci = h->tag[0].tci", "", ""},
		{"bytes are the frame's", "stage/exit.h", "p->l3_len ?: p->len", "p->len", "", ""},
		{"segments count once", "stage/local.h", "p->l3_len += (n - 1) * header", "p->l3_len += header", "", ""},
		{"ssh has no budget of its own", "stage/host.h", "if (p->frag != FRAG_LATER && host_always(p))", "if (0)", "", ""},
		{"neighbour discovery is cut off by a flood", "stage/host.h", "*type >= ND_FIRST && *type <= ND_LAST", "*type > ND_FIRST && *type <= ND_LAST", "", ""},
		{"a SYN and ACK begins a session", "stage/admit.h", "return (p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN ||", "return p->tcp & TCP_SYN ||", "", ""},
		{"a limit is used up by those who were refused", "stage/admit.h", "		first_undo(p, s, svc, m);\n	}\n	limit_undo(p, s, svc);", "		first_undo(p, s, svc, m);\n	}", "", ""},
		{"first packets: one that is too big", "stage/begin.h", "if (!h || p->l3_len > h->mtu)", "if (!h)", "", ""},
		{"first packets: a TTL of 1", "stage/begin.h", "p->frag || p->ttl <= 1 ||", "p->frag ||", "", ""},
		{"first packets: what was lent for no session is kept", "stage/begin.h", "	loan_give(&l, &s->packets, &svc->packets, false, m->lent_packets);\n", "", "", ""},
		{"first packets: their sessions get no tokens", "stage/begin.h", "loan_bytes_left(&l, refused, p->l3_len),\n			    loan_holder(p->tick));", "0, loan_holder(p->tick));", "", ""},
		{"first packets: not of their session", "stage/begin.h", "	m->packets = 1;\n", "", "", ""},
		{"a check is believed for three seconds", "stage/flow.h", "#define RECHECK_TICKS (2 *", "#define RECHECK_TICKS (3 *", "", ""},
		{"a way to a server is believed for ever", "stage/admit.h", "p->tick - (__u32)(way >> 32) <= RECHECK_TICKS", "1", "", ""},
		{"ordinary packets: a UDP length beyond the packet", "stage/express.h", "said >= (__s32)sizeof(*udp) && said <= len", "said >= (__s32)sizeof(*udp)", "", ""},
		{"ordinary packets: a moved epoch goes unnoticed", "stage/express.h", "f->epoch == (__u16)policy_epoch()", "1", "", ""},
		{"ordinary packets: one that is too big", "stage/express.h", "fits <= 0xffff && l3_len <= fits", "fits <= 0xffff", "", ""},
		{"ordinary packets: a tagged hop", "stage/express.h", "*(volatile __u32 *)&h->mtu", "(*(volatile __u32 *)&h->mtu & 0xff00ffff)", "", ""},
		{"ordinary packets: a FIN", "stage/express.h", "(TCP_SYN | TCP_FIN | TCP_RST)", "(TCP_SYN | TCP_RST)", "", ""},
		{"noted: deny outweighs allow", "stage/quick.h", "	return e && !allowed4(service, addr) ? e : NULL;", "	return e;", "strict", ""},
		{"noted: one service's denial is all's", "stage/denial.h", "return addr | (__u64)service << 32 |", "return addr |", "strict", ""},
		{"noted: outlives its entry", "stage/denial.h", "		until = e->expires >> DENIAL_SHIFT;", "		until = now + DENIAL_LIFE;", "strict", ""},
		{"noted: is not taken back", "stage/denial.h", "(__u64)policy_looser() << DENIAL_LOOSER_SHIFT", "0", "strict", ""},
		{"noted: a prefix hides who is allowed in it", "stage/denial.h", " && !host_allowed4(addr)", "", "strict", ""},
		{"noted: believed for long", "stage/denial.h", "#define DENIAL_LIFE 118", "#define DENIAL_LIFE 500", "strict", ""},
		{"noted: a slash 25", "stage/denial.h", "e->bits <= DENIAL_NETS_BITS", "e->bits <= 31", "strict", ""},
		{"a server's answer alone proves", "stage/proof.h", "	if (p->proto != IPPROTO_TCP) {\n		__sync_fetch_and_or(&f->state, FLOW_ANSWERED);\n", "	if (p->proto != IPPROTO_TCP) {\n		__sync_fetch_and_or(&f->state, FLOW_ANSWERED);\n		if (up)\n			phase_open(up, 0);\n", "", ""},
	}...)
}

// kept is the sequence by which the fuzzer once caught it, cut down.
func (m mutant) kept() string {
	slug := strings.Trim(regexp.MustCompile("[^a-z0-9]+").ReplaceAllString(strings.ToLower(m.name), "-"), "-")
	return filepath.Join("testdata", "mutants", slug+".seq")
}

// everyMutant-th is compiled in a quick run; `make mutants` compiles all of them, which takes minutes.
const everyMutant = 24

// Every mutant is caught: by the sequence that is kept of it, so that luck has no part in it. PARRY_MUTANTS=search (make
// fuzz-mutants) has the fuzzer catch each anew, and keeps the sequence of one that has none.
func TestMutants(t *testing.T) {
	need.Root(t)
	clang := os.Getenv("BPF2GO_CC")
	if clang == "" {
		clang = "clang-14"
	}
	if _, err := exec.LookPath(clang); err != nil {
		t.Skipf("needs %s (make setup-generate)", clang)
	}
	catch := mutant.replay
	switch {
	case os.Getenv("PARRY_MUTANTS") == "search":
		catch = mutant.search
	case os.Getenv("PARRY_MUTANTS") == "" && os.Getenv("PARRY_E2E") == "":
		t.Skip("compiles for a minute: set PARRY_MUTANTS=all (make mutants does)")
	}
	for i, m := range mutants() {
		if os.Getenv("PARRY_MUTANTS") == "" && i%everyMutant != 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			catch(m, t, m.compile(t, clang))
		})
	}
}

// open makes an edge of the mutant's kind.
func (m mutant) open(t *testing.T, object []byte) *world {
	t.Helper()
	kind := cmp.Or(m.kind, "all")
	if m.gate != "" {
		g, err := loader.ReadGate(object)
		if err != nil {
			t.Fatal(err)
		}
		return open(t, kind, nil, g)
	}
	return open(t, kind, bytes.NewReader(object))
}

// replay wants the edge to come apart from its model where it did when the sequence was kept.
func (m mutant) replay(t *testing.T, object []byte) {
	w := m.open(t, object)
	kind, steps := load(t, m.kept())
	if kind != w.kind {
		t.Fatalf("%s is for edge %s, not %s", m.kept(), kind, w.kind)
	}
	differs, err := isFailure(w.replay(steps))
	if err != nil {
		t.Fatal(err)
	}
	if !differs {
		t.Fatalf("%s: nobody noticed (after a change of what it shows: remove it, and `make fuzz-mutants` looks for another)", m.kept())
	}
}

const (
	caughtWithin = 2 * time.Minute
	cutWithin    = time.Minute
	sureAfter    = 4 // edges of its own that a kept sequence must show it on
)

// search has the fuzzer find it.
func (m mutant) search(t *testing.T, object []byte) {
	w := m.open(t, object)
	for seed := firstSeed(t); ; seed += 1 << 32 {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), caughtWithin)
		err := w.fuzz(ctx, seed, math.MaxInt)
		cancel()
		var f *failure
		switch {
		case err == nil:
			t.Fatalf("%d packets, and nobody noticed", w.seen.Packets)
		case !errors.As(err, &f):
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(f.why.Error(), "\n")
		t.Logf("caught after %d packets, %v: %s", w.seen.Packets, time.Since(began).Round(time.Millisecond), first)
		if _, err := os.Stat(m.kept()); err == nil || m.keep(t, object, w, f) {
			return
		}
	}
}

// keep cuts a failing sequence down and keeps it, if other edges show it too: what depends on how a kernel's tables are
// seeded is of no use.
func (m mutant) keep(t *testing.T, object []byte, w *world, f *failure) bool {
	ctx, cancel := context.WithTimeout(t.Context(), cutWithin)
	defer cancel()
	small, err := w.shrink(ctx, f)
	if err != nil {
		t.Fatalf("cutting down: %v", err)
	}
	for range sureAfter {
		if differs, err := isFailure(m.open(t, object).replay(small.steps)); err != nil {
			t.Fatal(err)
		} else if !differs {
			t.Logf("%d steps, but not on every edge", len(small.steps))
			return false
		}
	}
	var b bytes.Buffer
	if err := writeSequence(&b, small.kind, explained(w, small.steps), m.name+"\n"+small.why.Error()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.kept(), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("kept %d steps in %s", len(small.steps), m.kept())
	return true
}

// compile builds a copy of bpf/ with the fault in it.
func (m mutant) compile(t *testing.T, clang string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "bpf"), os.DirFS("../../bpf")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "bpf", m.file)
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has %d times what the mutant changes:\n%s", m.file, n, m.old)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(dir, "mutant.o")
	machine, err := exec.Command("uname", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	what := "parry.bpf.c"
	if m.gate != "" {
		what = filepath.Join("gate", m.gate+".bpf.c")
	}
	cmd := exec.Command(clang, "-O2", "-g", "-mcpu=v3", "-Wno-unused", "-target", "bpfel", "-I", filepath.Join(dir, "bpf"),
		"-idirafter", "/usr/include/"+strings.TrimSpace(string(machine))+"-linux-gnu", "-c", filepath.Join(dir, "bpf", what), "-o", object)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
