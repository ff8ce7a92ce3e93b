// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"parry/test/need"
)

const goodBody = "	return g->length == 16 ? GATE_PASS : GATE_REFUSE;"

func TestReadGateTellsWhatItIs(t *testing.T) {
	g, err := ReadGate(need.Gate(t, need.GateText(goodBody)))
	if err != nil {
		t.Fatal(err)
	}
	if g.Name != "mygame" || g.ABI != 1 || g.Proof.String() != "strong" || g.About != "MyGame: a test" || g.Instructions < 5 || g.Instructions > 50 {
		t.Errorf("%+v", Gate{g.Name, g.About, g.ABI, g.Proof, g.Instructions, nil})
	}
}

// What ReadGate refuses before the kernel hears of it.
func TestBadObjectsAreRefusedInWords(t *testing.T) {
	good := need.Gate(t, need.GateText(goodBody))
	patched := func(old, now string) []byte { return bytes.Replace(good, []byte(old), []byte(now), 1) }
	about := "\x01\x00\x00\x00\x02\x00\x00\x00mygame\x00"
	if !bytes.Contains(good, []byte(about)) {
		t.Fatal("struct parry_gate is not where it is looked for")
	}
	end := "\nPARRY_GATE_LICENSE;\n"
	for _, row := range []struct {
		name   string
		object []byte
		want   string
	}{
		{"nothing", nil, "not an object that clang makes for BPF"},
		{"text", []byte("int main() {}"), "not an object that clang makes for BPF"},
		{"half an object", good[:len(good)/2], "not an object that clang makes for BPF"},
		{"100 MB", make([]byte, 100_000_000), "too large: at most 1048576"},
		{"an ABI to come", patched(about, "\x02"+about[1:]), "gate mygame: it was built for gate ABI 2, this parry speaks 1: build it again"},
		{"a proof that is none", patched(about, about[:4]+"\x07"+about[5:]), "gate mygame: it claims proof 7"},
		{"a path for a name", patched(about, about[:8]+"../../\x00"), `"../../" can't be a gate's name`},
		{"a name that says something else", patched(about, about[:8]+"off\x00\x00\x00\x00"), `"off" can't be a gate's name`},
		{"no PARRY_GATE", need.Gate(t, "#include \"parry_gate.h\"\nSEC(\"xdp\") int gate(struct xdp_md *ctx) { return 1; }"+end), "it doesn't say what it is"},
		{"no program", need.Gate(t, "#include \"parry_gate.h\"\nconst struct parry_gate parry_gate SEC(\".rodata.parry_gate\") = {.abi = 1, .name = \"mygame\"};"+end),
			`gate mygame: no program "gate" in it`},
		{"a foreign section", need.Gate(t, "#include \"parry_gate.h\"\nconst struct parry_gate parry_gate SEC(\".rodata.parry_gate\") = {.abi = 1, .name = \"mygame\"};\n"+
			"SEC(\"tc\") int gate(struct __sk_buff *s) { return 1; }"+end), `gate mygame: its program is in section "tc": a gate is SEC("xdp")`},
		{"a second program", need.Gate(t, need.GateText(goodBody)+"SEC(\"kprobe/do_exit\") int more(void *ctx) { return 0; }\n"), "program more in section \"kprobe/do_exit\" is no business of a gate"},
		{"a frame that begins elsewhere", need.Gate(t, need.GateText("	return bpf_xdp_adjust_head(ctx, 14) ? 0 : 1;")), "it calls bpf_xdp_adjust_head: a gate judges"},
		{"a packet sent elsewhere", need.Gate(t, need.GateText("	return bpf_redirect(1, 0);")), "it calls bpf_redirect: "},
		{"zeros without end", need.Gate(t, "#include \"parry_gate.h\"\nchar zeros[0x70000000];\n"+strings.TrimPrefix(need.GateText("	return zeros[g->service];"), "#include \"parry_gate.h\"\n")),
			"section .bss has 1879048192 bytes, at most 64 MiB"},
		{"too many instructions", need.Gate(t, need.GateText("	asm volatile(\".rept 17000; r0 = 0; .endr\" ::: \"r0\");\n"+goodBody)),
			"a gate is asked for each packet of a flood, so at most 16384"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ReadGate(row.object)
			if err == nil || !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v\nwant an ErrGate with %q", err, row.want)
			}
		})
	}
}

func TestMapsThatAGateMayNotHave(t *testing.T) {
	for _, row := range []struct{ name, kind, more, want string }{
		{"programs", "PROG_ARRAY", "", "map own is of type ProgramArray: a gate may have arrays, hashes and tries"},
		{"devices", "DEVMAP", "", "map own is of type DevMap"},
		{"a ring", "ARRAY", "__uint(pinning, LIBBPF_PIN_BY_NAME);", "map own wants to be pinned"},
		{"memory", "ARRAY", "__uint(map_flags, 0); __uint(max_entries, 20000000);", "its own maps are too many or too large: at most 16, with 64 MiB together"},
		{"any amount of it", "HASH", "__uint(max_entries, 0xffffffff);", "its own maps are too many or too large"},
		{"a good one", "LRU_HASH", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			source := "#include \"parry_gate.h\"\nstruct { __uint(type, BPF_MAP_TYPE_" + row.kind + "); __type(key, __u32); __type(value, __u32);" +
				map[bool]string{true: row.more, false: row.more + "__uint(max_entries, 4);"}[strings.Contains(row.more, "max_entries")] + " } own SEC(\".maps\");\n" +
				strings.TrimPrefix(need.GateText("	__u32 k = 1;\n	return bpf_map_lookup_elem(&own, &k) ? GATE_PASS : GATE_REFUSE;"), "#include \"parry_gate.h\"\n")
			_, err := ReadGate(need.Gate(t, source))
			if row.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
	other := "#define gate_box another\n#include \"parry_gate.h\"\n#undef gate_box\nstruct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, struct gate); __uint(max_entries, 1); } gate_box SEC(\".maps\");\n" +
		strings.TrimPrefix(need.GateText(goodBody), "#include \"parry_gate.h\"\n")
	if _, err := ReadGate(need.Gate(t, other)); err == nil || !strings.Contains(err.Error(), "map gate_box is parry's own, of type PerCPUArray: here it is Hash") {
		t.Errorf("another gate_box: %v", err)
	}
}

// Whatever a file has lost, it is refused and nothing panics.
func TestTruncatedObjects(t *testing.T) {
	good := need.Gate(t, need.GateText(goodBody))
	for n := 0; n < len(good); n += 37 {
		if _, err := ReadGate(good[:n]); !errors.Is(err, ErrGate) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
}

// The kernel's reasons, in words, with the line of C.
func TestTheVerifiersRefusalsAreToldInWords(t *testing.T) {
	need.Root(t)
	for _, row := range []struct {
		name, body string
		want       []string
	}{
		{"loops for ever", "	volatile __u32 n = 0;\n	for (;;)\n		n++;\n", []string{"without end", "loop"}},
		{"loops for as long as the packet says", "	volatile __u64 n = 0;\n	for (__u64 i = 0; i < g->now; i++)\n		n += i;\n	return n;\n", []string{"without end", "loop"}},
		{"reads out of bounds", "	__u8 *p = (void *)(long)ctx->data;\n	return p[99] ? GATE_PASS : GATE_REFUSE;\n",
			[]string{"at mygame.c:5: `", "it reads the packet where it may have ended", "invalid access to packet"}},
		{"reads beyond the gate", "	return ((__u8 *)g)[2000];\n", []string{"at mygame.c:4: `", "beyond the end of a map's value"}},
		{"does not look for NULL", "	__u32 k = g->service;\n	struct gate_answer *a = bpf_map_lookup_elem(&gate_answer, &k);\n	return a->several;\n",
			[]string{"at mygame.c:6: `return a->several;`", "may be NULL"}},
		{"keeps a pointer over a change", "	__u8 *p = gate_data(ctx, g, 4);\n	if (!p || gate_resize(ctx, g, 8))\n		return 0;\n	return *p;\n",
			[]string{"at mygame.c:7: `return *p;`", "before the packet was changed"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := TryGate(need.Gate(t, need.GateText(row.body)))
			if !errors.Is(err, ErrGate) {
				t.Fatalf("%v, want an ErrGate", err)
			}
			t.Log(err)
			for _, want := range append(row.want, "gate mygame: ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
				t.Errorf("no sentence: %d bytes", len(err.Error()))
			}
		})
	}
}

// tableOfGates is what the core gives gates: their maps, its table, and a program that asks the gate in cell 1.
func tableOfGates(t *testing.T, object []byte, frags bool) *ebpf.Collection {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	spec.Maps[bpfMapGates] = &ebpf.MapSpec{Name: bpfMapGates, Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4}
	spec.Maps[bpfMapGateAnswer].MaxEntries, spec.Maps[bpfMapGateSecret].MaxEntries = 64, 2 // not what a gate's own header says
	ask := spec.Programs[gateProgram]
	ask.Instructions = asm.Instructions{
		asm.LoadMapPtr(asm.R2, 0).WithReference(bpfMapGates), asm.Mov.Imm(asm.R3, 1), asm.FnTailCall.Call(), asm.Mov.Imm(asm.R0, 77), asm.Return(),
	}
	ask.Instructions[0] = ask.Instructions[0].WithSymbol(gateProgram)
	if ask.Flags &^= xdpHasFrags; frags {
		ask.Flags |= xdpHasFrags
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	return coll
}

// askGate has the program ask the gate about a payload of a length; 77 = there is no gate.
func askGate(t *testing.T, coll *ebpf.Collection, length uint16) uint32 {
	t.Helper()
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	box := make([]byte, coll.Maps["gate_box"].ValueSize())
	binary.LittleEndian.PutUint16(box[10:], 42)
	binary.LittleEndian.PutUint16(box[12:], length)
	boxes := make([][]byte, cpus)
	for i := range boxes {
		boxes[i] = box
	}
	if err := coll.Maps["gate_box"].Put(uint32(0), boxes); err != nil {
		t.Fatal(err)
	}
	verdict, err := coll.Programs[gateProgram].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

// A gate works on the core's maps, whether the core takes large frames or not.
func TestGatesSitInTheCoresTable(t *testing.T) {
	need.Root(t)
	object := need.Gate(t, need.GateText(goodBody))
	g, err := ReadGate(object)
	if err != nil {
		t.Fatal(err)
	}
	for _, frags := range []bool{false, true} {
		coll := tableOfGates(t, object, frags)
		plan := &Plan{Frags: frags, Gates: []Gate{g}, Services: []Service{{Name: "a"}, {Name: "b", Gate: "mygame"}, {Name: "c", Gate: "mygame"}}}
		if got := askGate(t, coll, 16); got != 77 {
			t.Fatalf("frags %v: before it is loaded the gate says %d", frags, got)
		}
		loaded, err := new(Edge).loadGates(plan, coll)
		if err != nil {
			t.Fatal(err)
		}
		for length, want := range map[uint16]uint32{16: 1, 17: 0} {
			if got := askGate(t, coll, length); got != want {
				t.Errorf("frags %v: of %d bytes the gate says %d, want %d", frags, length, got, want)
			}
		}
		if err := loaded.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A plan that can't be carried out leaves nothing behind.
func TestPlansWithBadGates(t *testing.T) {
	need.Root(t)
	good := need.Gate(t, need.GateText(goodBody))
	coll := tableOfGates(t, good, false)
	bad := need.Gate(t, need.GateText("	return ((__u8 *)g)[2000];"))
	for _, row := range []struct {
		name, want string
		plan       Plan
	}{
		{"unknown", "service a: there is no gate nobody", Plan{Services: []Service{{Name: "a", Gate: "nobody"}}}},
		{"refused", "beyond the end of a map's value", Plan{Services: []Service{{Gate: "mygame"}}, Gates: []Gate{{Name: "mygame", Object: bad}}}},
		{"too many", "4 gates are in use: at most 3", Plan{Gates: make([]Gate, 4)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			loaded, err := new(Edge).loadGates(&row.plan, coll)
			if err == nil || !strings.Contains(err.Error(), row.want) || loaded != nil {
				t.Errorf("%v, %v, want %q", loaded, err, row.want)
			}
			if got := askGate(t, coll, 16); got != 77 {
				t.Errorf("a gate was left in the table: it says %d", got)
			}
		})
	}
}

// The maps of a gate that was built from another header are not taken for the core's.
func TestSharedMapsOfAnotherShape(t *testing.T) {
	need.Root(t)
	good := need.Gate(t, need.GateText(goodBody))
	coll := tableOfGates(t, good, false)
	coll.Maps["gate_box"], coll.Maps["gate_secret"] = coll.Maps["gate_secret"], coll.Maps["gate_box"]
	_, err := loadGate(good, coll.Maps, false)
	if !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "build it with the parry_gate.h of this parry") {
		t.Error(err)
	}
	coll.Maps["gate_box"], coll.Maps["gate_secret"] = coll.Maps["gate_secret"], coll.Maps["gate_box"]
}

// The manual's example: the edge's own challenge under attack, and the proof of who echoes it.
func TestTheExampleProvesWhoEchoesItsChallenge(t *testing.T) {
	need.Root(t)
	source, err := os.ReadFile("../examples/gate/mygame.c")
	if err != nil {
		t.Fatal(err)
	}
	object := need.Gate(t, string(source))
	coll := tableOfGates(t, object, false)
	g, err := ReadGate(object)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := new(Edge).loadGates(&Plan{Gates: []Gate{g}}, coll)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	const ( // parry_gate.h
		refuse, pass, query, answer = 0, 1, 2, 3
		watch, cookies              = 2, 8
	)
	say := func(flags uint8, version uint64, payload []byte) (verdict uint32, proof uint8, out []byte) {
		t.Helper()
		return show(t, coll, bpfGate{
			Now: 1 << 40, Payload: 42, Length: uint16(len(payload)), Family: 4, Proto: ProtoUDP, Src: [16]uint8{192, 0, 2, 1}, Dst: [16]uint8{203, 0, 113, 10},
			Sport: 7, Dport: 9, Answers: noServer, Flags: flags, Params: [6]uint64{version},
		}, payload)
	}
	hello := append([]byte{'M', 'G', 1, 3}, make([]byte, 12)...)
	for _, row := range []struct {
		name    string
		flags   uint8
		version uint64
		payload []byte
		want    uint32
	}{
		{"a hello in peace", 0, 3, hello, pass},
		{"one of an old version", 0, 4, hello, refuse},
		{"a short one", 0, 3, hello[:15], refuse},
		{"a status query", 0, 3, append([]byte{'M', 'G', 3, 3}, make([]byte, 12)...), query},
		{"another kind", 0, 3, append([]byte{'M', 'G', 2, 3}, make([]byte, 12)...), refuse},
		{"under attack", cookies, 3, hello, answer},
		{"under attack, watching", cookies | watch, 3, hello, pass},
	} {
		if got, proof, _ := say(row.flags, row.version, row.payload); got != row.want || proof != 0 {
			t.Errorf("%s: verdict %d and proof %d, want %d and none", row.name, got, proof, row.want)
		}
	}
	_, _, challenge := say(cookies, 3, hello)
	if len(challenge) != 8 || !bytes.HasPrefix(challenge, []byte{'M', 'G', 2, 0}) {
		t.Fatalf("the challenge is %x", challenge)
	}
	copy(hello[4:8], challenge[4:8])
	if got, proof, _ := say(cookies, 3, hello); got != pass || GateProof(proof).String() != "strong" {
		t.Errorf("who echoes it: verdict %d, proof %d", got, proof)
	}
	hello[7] ^= 1
	if got, proof, _ := say(cookies, 3, hello); got != answer || proof != 0 {
		t.Errorf("who makes one up: verdict %d, proof %d", got, proof)
	}
}

// show has the program ask the gate about a packet; out is the payload as it is then.
func show(t *testing.T, coll *ebpf.Collection, g bpfGate, payload []byte) (verdict uint32, proof uint8, out []byte) {
	t.Helper()
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	boxes := make([]bpfGate, cpus)
	for i := range boxes {
		boxes[i] = g
	}
	if err := coll.Maps[bpfMapGateBox].Put(uint32(0), boxes); err != nil {
		t.Fatal(err)
	}
	run := ebpf.RunOptions{Data: append(make([]byte, g.Payload), payload...), DataOut: make([]byte, 2048)}
	verdict, err = coll.Programs[gateProgram].Run(&run)
	if err != nil {
		t.Fatal(err)
	}
	if err := coll.Maps[bpfMapGateBox].Lookup(uint32(0), &boxes); err != nil {
		t.Fatal(err)
	}
	for _, b := range boxes {
		proof = max(proof, b.Proof)
	}
	return verdict, proof, run.DataOut[g.Payload:]
}
