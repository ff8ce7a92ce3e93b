// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/btf"
)

// defines are the whole-number macros of the C, by name: BTF does not carry them.
func defines(t *testing.T) map[string]uint64 {
	t.Helper()
	line := regexp.MustCompile(`(?m)^#define (\w+) (\(?[^/\n]+?\)?)\s*(?:/\*.*)?$`)
	all := map[string]uint64{}
	err := filepath.WalkDir("../bpf", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".h") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			v := strings.TrimSuffix(strings.Trim(m[2], "()"), "u")
			if v == "~0" {
				all[m[1]] = uint64(^uint32(0))
			} else if n, err := strconv.ParseUint(v, 0, 64); err == nil {
				all[m[1]] = n
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What Go repeats of the C is what the C says.
func TestABI(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	c := defines(t)
	for _, x := range []struct {
		name string
		got  uint64
	}{
		{"LAYOUT_VERSION", layoutVersion}, {"LOAN_PACKETS_MAX", loanPackets}, {"LOAN_BYTES_MAX", loanBytes}, {"TICK_SHIFT", tickShift}, {"REASONS_MAX", reasonsMax}, {"FLOW_PHASES", flowPhases}, {"PORTS_PER_ADDR", portsOfAddr},
		{"MAGLEV_SIZE", maglevSize}, {"GATE_KINDS", gateKinds}, {"ANSWER_PRIORITY", AnswerPriority}, {"GATE_ANSWER_MAX", answerMax}, {"MAGLEV_SIZE", MaglevSize}, {"REAP_BATCH", reapBatch}, {"NO_SERVER", uint64(noServer)}, {"HOPS", hopsMax / 2},
		{"TICKS_PER_SECOND", uint64(ticks(time.Second))},
		{"IPPROTO_ICMP", ProtoICMP}, {"IPPROTO_TCP", ProtoTCP}, {"IPPROTO_UDP", ProtoUDP}, {"IPPROTO_ICMPV6", ProtoICMPv6},
		{"NAME_LEN", uint64(len(bpfService{}.Name))}, {"REASON_TEXT_LEN", uint64(len(bpfListEntry{}.Reason))}, {"ALWAYS_MAX", uint64(len(bpfCfg{}.Always))},
		{"EVER_IPV4", everIPv4}, {"EVER_IPV6", everIPv6}, {"EVER_TRANSPARENT", everTransparent}, {"EVER_LOCAL", everLocal}, {"EVER_PROXIED", everProxied},
		{"DENIAL_NEAR", denialNear}, {"SETTLE_BATCH", settleBatch},
		{"BOOK_REGISTERS", uint64(len(bpfShadowBook{}.Registers))}, {"SAMPLE_SLOTS", SampleSlots}, {"SAMPLE_MAX", SampleMax}, {"SAMPLE_HEADERS", sampleHeaders}, {"SAMPLE_PAYLOAD", SamplePayload}, {"SAMPLE_FIRSTS", SampleFirsts},
		{"LINK_TAGS_MAX", uint64(len(bpfHop{}.Tag))},
		{"WATCH_SIZES", TimingSizes}, {"WATCH_TIMES", TimingSpacings}, {"WATCH_REASONS", watchReasons}, {"WATCH_WINDOWS", watchWindows}, {"WATCH_WINDOW_SHIFT", watchWindowShift}, {"WATCH_GAP_SHIFT", watchGapShift},
	} {
		if want, ok := c[x.name]; !ok || want != x.got {
			t.Errorf("%s is %d in C (there: %v), %d in Go", x.name, want, ok, x.got)
		}
	}
	for name, entries := range map[string]uint32{
		bpfMapHop: hopsMax, bpfMapHopIndex: hopsMax, bpfMapReapBox4: reapBatch, bpfMapReapBox6: reapBatch, bpfMapReapBoxSrc: reapBatch, bpfMapReapWatch: 2 * reapBatch, bpfMapWatchFlag: watchFlagsMax,
		bpfMapNetFilter4: filterWords, bpfMapNetFilter6: filterWords, bpfMapAllowFilter4: allowFilterWords, bpfMapAllowHosts4: allowFilterWords, bpfMapPoolTable: maglevSize, bpfMapNat4: portsOfAddr,
	} {
		if got := spec.Maps[name].MaxEntries; got != entries {
			t.Errorf("map %s holds %d entries in C, %d in Go", name, got, entries)
		}
	}
}

// Types that are read from iterators and written by batches byte for byte have the kernel's size, and the counters one
// cell for each enum value.
func TestABITypes(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]uintptr{
		"reap_item4": unsafe.Sizeof(bpfReapItem4{}), "reap_item6": unsafe.Sizeof(bpfReapItem6{}), "source_key": unsafe.Sizeof(bpfSourceKey{}),
		"host_key4": unsafe.Sizeof(bpfHostKey4{}), "host_key6": unsafe.Sizeof(bpfHostKey6{}), "net_key4": unsafe.Sizeof(bpfNetKey4{}),
		"net_key6": unsafe.Sizeof(bpfNetKey6{}), "list_entry": unsafe.Sizeof(bpfListEntry{}), "port_cell": unsafe.Sizeof(bpfPortCell{}),
		"watch": unsafe.Sizeof(bpfWatch{}), "flow4": unsafe.Sizeof(bpfFlow4{}), "nat6": unsafe.Sizeof(bpfNat6{}), "service": unsafe.Sizeof(bpfService{}), "cfg": unsafe.Sizeof(bpfCfg{}),
		"env": unsafe.Sizeof(bpfEnv{}), "sampler": unsafe.Sizeof(bpfSampler{}), "sample_count": unsafe.Sizeof(bpfSampleCount{}), "denial_line": unsafe.Sizeof(bpfDenialLine{}), "hop": unsafe.Sizeof(bpfHop{}),
	} {
		var s *btf.Struct
		if err := spec.Types.TypeByName(name, &s); err != nil {
			t.Errorf("struct %s: %v", name, err)
		} else if uintptr(s.Size) != size {
			t.Errorf("struct %s is of %d bytes in C, %d in Go", name, s.Size, size)
		}
	}
	if n := unsafe.Sizeof(skb{}); n != 192 {
		t.Errorf("struct __sk_buff of %d bytes", n)
	}
	names, err := namesOf(spec)
	if err != nil {
		t.Fatal(err)
	}
	if n := uint32(len(names.Faults)); n != spec.Maps[bpfMapFaultCount].MaxEntries {
		t.Errorf("%d faults, %d cells", n, spec.Maps[bpfMapFaultCount].MaxEntries)
	}
	if len(names.Reasons) > reasonsMax {
		t.Errorf("%d reasons in %d cells a service", len(names.Reasons), reasonsMax)
	}
	for _, list := range [][]string{names.Reasons, names.Verdicts, names.Faults} {
		for i, n := range list {
			if n == "" {
				t.Errorf("number %d has no name beside %v", i, list)
			}
		}
	}
}
