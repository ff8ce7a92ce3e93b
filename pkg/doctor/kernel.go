// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"parry/pkg/config"
	"parry/pkg/hostfacts"
)

// kernel judges kernel, BPF and privileges.
func (f *Facts) kernel(r *Report, a Ask) {
	t := to{r, "kernel"}
	pin := "/sys/fs/bpf/parry"
	if a.Config != nil {
		pin = a.Config.Pin
	}
	lacks := map[string]hostfacts.Lack{}
	for _, l := range f.Host.Lacks(hostfacts.Need{Pin: filepath.Dir(pin)}) {
		lacks[l.What] = l
	}
	for _, v := range []struct{ what, good string }{
		{"kernel", f.Host.Kernel.Release},
		{"capability", "it may load programs and attach them"},
		{"users", "this is the host's own user namespace"},
		{"btf", "the kernel describes its types (BTF)"},
		{"bpffs", fmt.Sprintf("what is to stay is pinned in %s", filepath.Dir(pin))},
		{"jit", "BPF programs run as machine code"},
		{"unreadable", ""},
	} {
		if l, lacking := lacks[v.what]; lacking {
			t.lack(l)
		} else if v.what == "jit" && f.Host.JIT == hostfacts.JITUnknown {
			t.ok("jit", "whether programs run as machine code is not to be seen here")
		} else if v.good != "" {
			t.ok(v.what, "%s", v.good)
		}
	}
	f.older(t)
	f.options(t)
	if f.JITHarden > 0 {
		t.costs("jit_harden", fmt.Sprintf("net.core.bpf_jit_harden is %d: constants in programs are blinded", f.JITHarden), "some percent of each packet's time",
			"sysctl -w net.core.bpf_jit_harden=0")
	}
}

// older says what the kernel does in an older way.
func (f *Facts) older(t to) {
	k := f.Host.Kernel
	if k.Release == "" || !k.AtLeast(6, 1) {
		return
	}
	if !k.AtLeast(6, 4) {
		t.costs("notice", "before Linux 6.4 the kernel does not tell that a list has changed", "a prefix that bpftool lists is noticed within a minute, not a second; parry's own commands work at once",
			"a newer kernel (Debian: backports)")
	}
	if !k.AtLeast(6, 6) {
		t.costs("tcx", "before Linux 6.6 there is no TCX", "replies of `local` services are seen by a clsact filter, which is slower and which others may remove", "a newer kernel (Debian: backports)")
	}
}

// options judges how the kernel was built, where that is to be seen.
func (f *Facts) options(t to) {
	if f.Options == nil {
		t.ok("config", "how the kernel was built is not to be seen: distributions' kernels have what is needed")
		return
	}
	wanted := []string{"BPF_SYSCALL", "BPF_JIT", "DEBUG_INFO_BTF"}
	if k := f.Host.Kernel; k.AtLeast(6, 1) && !k.AtLeast(6, 6) {
		wanted = append(wanted, "NET_CLS_BPF", "NET_SCH_INGRESS")
	}
	var missing []string
	for _, o := range wanted {
		if v := f.Options[o]; v != "y" && v != "m" {
			missing = append(missing, "CONFIG_"+o)
		}
	}
	if len(missing) > 0 {
		t.fails("config", "the kernel was built without "+strings.Join(missing, ", "), "use a kernel that has them, as distributions build it")
		return
	}
	t.ok("config", "the kernel was built with all that is needed")
}

// slowClocks take about a microsecond, which each packet asks for.
var slowClocks = []string{"acpi_pm", "hpet", "jiffies", "pit", "refined-jiffies"}

// machine judges CPUs, clock and memory.
func (f *Facts) machine(r *Report, a Ask) {
	t := to{r, "machine"}
	switch {
	case slices.Contains(slowClocks, f.Clock):
		mend := "none of the faster ones is there: look at the BIOS, or the host of this virtual machine"
		for _, c := range []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen"} {
			if slices.Contains(f.Clocks, c) {
				mend = fmt.Sprintf("echo %s > /sys/devices/system/clocksource/clocksource0/current_clocksource", c)
				break
			}
		}
		t.costs("clock", "the clock source is "+f.Clock, "each packet asks for the time: a microsecond more each, which halves what a CPU can drop", mend)
	case f.Clock != "":
		t.ok("clock", "the clock source is %s", f.Clock)
	}
	if f.Governor == "powersave" && !strings.HasPrefix(f.Scaling, "intel_pstate") && !strings.HasPrefix(f.Scaling, "amd-pstate") {
		t.costs("governor", fmt.Sprintf("the CPUs are kept slow (%s, powersave)", f.Scaling), "half the packets a second, and more jitter",
			"cpupower frequency-set -g performance")
	}
	f.memory(t, a)
}

// Bytes of map memory an entry, of both families together, when the tables are full (README, Figures).
const (
	perSession = 340
	perBlock   = 300
	perSource  = 110
	perGrey    = 8
	fixed      = 96 << 20
)

func (f *Facts) memory(t to, a Ask) {
	sizes := config.Default().Sizes
	if a.Config != nil {
		sizes = a.Config.Sizes
	}
	need := uint64(sizes.Sessions)*perSession + uint64(sizes.Blocks)*perBlock + uint64(sizes.Sources)*perSource + uint64(sizes.Greylist)*perGrey + fixed
	const mib = 1 << 20
	switch {
	case f.Available == 0:
	case f.Available < need && !a.Runs:
		t.costs("memory", fmt.Sprintf("%d MiB of memory are free; with all tables full parry takes about %d MiB", f.Available/mib, need/mib),
			"the kernel may have to end a program under attack", "sizes: {sessions: 65536, blocks: 131072, greylist: 1048576} in the configuration take about a quarter")
	default:
		t.ok("memory", "%d MiB of memory are free; with all tables full parry takes about %d MiB", f.Available/mib, need/mib)
	}
}
