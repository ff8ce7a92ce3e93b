// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"parry/pkg/nic"
)

// onePage is the longest packet that one page holds beside XDP's own needs (pkg/engine has the same for what is loaded).
const onePage = 4096 - 256 - 320 - 18

// interfaces judges those that the edge is to be on.
func (f *Facts) interfaces(r *Report, a Ask) {
	names := a.Interfaces
	if len(names) == 0 {
		for _, n := range nic.Outside(f.NICs) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		to{r, "interface"}.fails("interface", "no interface of this host has an address that players could reach", "name one with --interface, or in the configuration")
	}
	for _, name := range names {
		n, err := nic.Find(f.NICs, name)
		if err != nil {
			var have []string
			for _, n := range f.NICs {
				have = append(have, n.Name)
			}
			to{r, "interface " + name}.fails("interface", "there is no interface "+name, "this host has "+strings.Join(have, ", "))
			continue
		}
		f.nic(to{r, "interface " + name}, n, a, len(names) > 1)
	}
}

// nic judges one.
func (f *Facts) nic(t to, n *nic.NIC, a Ask, several bool) {
	switch {
	case n.Kind == "bridge":
		t.fails("kind", n.Name+" is a bridge, whose XDP is the slow kind", "use the NIC below it: "+cmp.Or(strings.Join(f.below(n), ", "), "it has none"))
		return
	case len(n.MAC) == 0:
		t.fails("kind", fmt.Sprintf("%s (%s) carries packets without link addresses: a tunnel", n.Name, n.Kind), "use the NIC that the tunnel's own packets come in by")
		return
	}
	speed := ""
	if n.Mbits > 0 {
		speed = fmt.Sprintf(", %d Mbit/s", n.Mbits)
	}
	if n.Up {
		t.ok("link", "%s, driver %s%s", n.Kind, cmp.Or(n.Driver, "unknown"), speed)
	} else {
		t.fails("link", n.Name+" is down or has no carrier: nothing comes in", "ip link set dev "+n.Name+" up, and look at its cable")
	}
	f.xdp(t, n, a, several)
	f.mtu(t, n)
	f.queues(t, n)
	f.offloads(t, n)
	f.ring(t, n)
	f.interrupts(t, n)
}

// below are a bridge's members that packets come in by.
func (f *Facts) below(n *nic.NIC) []string {
	var all []string
	for _, m := range f.NICs {
		if m.Master == n.Name && (m.Kind == "device" || m.Kind == "bond" || m.Kind == "vlan") {
			all = append(all, m.Name)
		}
	}
	return all
}

// xdp judges what its driver does with programs.
func (f *Facts) xdp(t to, n *nic.NIC, a Ask, several bool) {
	d, known := nic.DriverOf(n.Driver)
	generic := a.generic(n.Name)
	const slow = "ten times the time for each packet: right for correctness, not for floods"
	refuses := func(text, mend string) {
		if generic {
			t.costs("xdp", text+"; `mode: generic` is set", slow, mend)
			return
		}
		t.fails("xdp", text, mend+", or set `mode: generic`, the slow kind")
	}
	host, _ := f.Host.Interface(n.Name)
	older := d.Major > 0 && !f.Host.Kernel.AtLeast(d.Major, d.Minor)
	switch {
	case n.XDP.Attached != 0 && !a.Runs:
		t.fails("attached", fmt.Sprintf("another XDP program (number %d) is attached", n.XDP.Attached), "see `bpftool net`, then: ip link set dev "+n.Name+" xdp off")
	case host.NoXDP && host.Ifindex == n.Index: // sysfs may be another network namespace's
		refuses("its virtual machine's host merges packets or leaves their checksums open, and lets nobody here stop that, so the driver refuses XDP",
			"have ctrl_guest_offloads switched on for this NIC at the host, or guest_csum, guest_tso4, guest_tso6, guest_ecn and guest_ufo off")
	case n.XDP.Known && !n.XDP.Basic:
		refuses(fmt.Sprintf("its driver (%s) has no native XDP in this kernel", n.Driver), "use another NIC")
	case !n.XDP.Known && older:
		refuses(fmt.Sprintf("its driver (%s) has native XDP from Linux %d.%d on", n.Driver, d.Major, d.Minor), "use a newer kernel")
	case !n.XDP.Known && !known:
		refuses(fmt.Sprintf("its driver (%s) is not known to have native XDP", cmp.Or(n.Driver, "unknown")), "use another NIC")
	case generic:
		t.costs("xdp", "its driver has native XDP, and `mode: generic` is set", slow, "set `mode: native`")
	default:
		t.ok("xdp", "its driver has native XDP")
	}
	if several && n.XDP.Known && n.XDP.Basic && (!n.XDP.Redirect || !n.XDP.Target && n.Kind == "device") {
		t.costs("redirect", "its driver does not take (or send) packets that XDP forwards from one interface to another", "what is to leave by it is lost, unless an XDP program is attached to it, too",
			"put "+n.Name+" among `interfaces`")
	}
	f.pause(t, n, d)
	f.constraint(t, n)
}

func (f *Facts) pause(t to, n *nic.NIC, d nic.Driver) {
	if d.Pause == nic.PauseLink {
		t.costs("pause", "attaching restarts the port, and detaching does", "the link is gone for up to some seconds each time; not at a reload or a restart of the daemon", "do it when few play")
		return
	}
	t.ok("pause", "attaches %s", d.Pause)
}

// generic says that the configuration asks for the slow kind.
func (a Ask) generic(name string) bool {
	if a.Config == nil {
		return false
	}
	for _, i := range a.Config.Interfaces {
		if i.Name == name {
			return i.Mode == "generic"
		}
	}
	return false
}

// constraint is what drivers ask of their queues before they take a program.
func (f *Facts) constraint(t to, n *nic.NIC) {
	now, most := n.Queues(), n.MaxQueues()
	if now == 0 || most == 0 {
		return
	}
	switch n.Driver {
	case "ena", "gve":
		if now*2 > most {
			t.fails("xdp_queues", fmt.Sprintf("%s needs a second queue for each that XDP sends by: %d are in use of %d", n.Driver, now, most),
				fmt.Sprintf("ethtool -L %s %s", n.Name, channels(n, max(most/2, 1))))
		}
	case "virtio_net":
		if now+f.CPUs > most {
			mend := fmt.Sprintf("have the host give this NIC %d queues", 2*f.CPUs)
			if most > f.CPUs {
				mend = fmt.Sprintf("ethtool -L %s combined %d", n.Name, most-f.CPUs)
			}
			t.costs("xdp_queues", fmt.Sprintf("XDP has no queue of its own for each of the %d CPUs to send by (%d of %d queues are in use)", f.CPUs, now, most),
				"what it sends waits for a lock that the kernel's own packets take, too", mend)
		}
	}
}

func (f *Facts) mtu(t to, n *nic.NIC) {
	switch {
	case n.MTU <= onePage:
		t.ok("mtu", "packets of %d bytes fit into a page", n.MTU)
	case n.XDP.Known && !n.XDP.Frags:
		t.fails("mtu", fmt.Sprintf("an MTU of %d needs packets in several buffers, which its driver has not with XDP", n.MTU), fmt.Sprintf("ip link set dev %s mtu 1500", n.Name))
	default:
		t.costs("mtu", fmt.Sprintf("an MTU of %d needs packets in several buffers (xdp.frags)", n.MTU), "some nanoseconds more for each packet; a driver without that refuses to attach",
			fmt.Sprintf("ip link set dev %s mtu 1500", n.Name))
	}
}

// queues judges how packets are spread over CPUs: an XDP program runs where its queue's interrupt comes.
func (f *Facts) queues(t to, n *nic.NIC) {
	now, most := n.Queues(), n.MaxQueues()
	switch {
	case now == 0 || n.Kind != "device":
	case now >= f.CPUs || f.CPUs == 1:
		t.ok("queues", "%d receive queues for %d CPUs", now, f.CPUs)
	case most > now:
		t.costs("queues", fmt.Sprintf("%d receive queues for %d CPUs", now, f.CPUs), idle(f.CPUs-now),
			fmt.Sprintf("ethtool -L %s %s", n.Name, channels(n, min(most, f.CPUs))))
	default:
		t.costs("queues", fmt.Sprintf("%d receive queues for %d CPUs, and it can have no more", now, f.CPUs), idle(f.CPUs-now),
			"a NIC (or a virtual machine's NIC) with more queues")
	}
}

// offloads judges what is done to packets before XDP sees them.
func (f *Facts) offloads(t to, n *nic.NIC) {
	on := func(name string) bool { return n.Features[name].On }
	fixed := func(name string) bool { return n.Features[name].Fixed }
	clean := true
	if on("rx-lro") && !fixed("rx-lro") {
		clean = false
		t.fails("lro", "LRO is on: the NIC merges packets before XDP sees them, and drivers refuse XDP so", fmt.Sprintf("ethtool -K %s lro off", n.Name))
	}
	if on("rx-gro-hw") && !fixed("rx-gro-hw") && n.Driver != "virtio_net" { // which switches it off by itself
		clean = false
		t.costs("gro_hw", "GRO in hardware is on: the NIC merges packets before XDP sees them", "drivers switch it off when a program is attached, or refuse", fmt.Sprintf("ethtool -K %s rx-gro-hw off", n.Name))
	}
	if vlans := f.vlans(n); on("rx-vlan-hw-parse") && len(vlans) > 0 {
		clean = false
		text := fmt.Sprintf("the NIC takes VLAN tags off before XDP sees them, and there are VLANs on it (%s): their packets look untagged", strings.Join(vlans, ", "))
		if fixed("rx-vlan-hw-parse") {
			t.fails("vlan", text, "its driver can't stop that: use another NIC for the VLANs")
		} else {
			t.fails("vlan", text, fmt.Sprintf("ethtool -K %s rxvlan off", n.Name))
		}
	}
	if n.Kind == "veth" && on("tx-checksum-ip-generic") {
		clean = false
		t.costs("checksums", "a veth hands packets over with checksums left open (TX offload, at both ends)", "what was sent so and is forwarded by XDP arrives damaged",
			fmt.Sprintf("ethtool -K %s tx off, and the same at its other end", n.Name))
	}
	if clean {
		t.ok("offloads", "nothing is done to packets before XDP sees them; GRO, TSO and GSO come after it and are in nobody's way")
	}
}

// vlans are those on an interface.
func (f *Facts) vlans(n *nic.NIC) []string {
	var all []string
	for _, m := range f.NICs {
		if m.Kind == "vlan" && m.Parent == n.Name {
			all = append(all, m.Name)
		}
	}
	slices.Sort(all)
	return all
}

func (f *Facts) ring(t to, n *nic.NIC) {
	const enough = 1024
	r := n.Ring
	switch {
	case r.RX == 0:
	case r.RX < enough && r.MaxRX > r.RX:
		t.costs("ring", fmt.Sprintf("%d packets wait for the driver in a queue, %d might", r.RX, r.MaxRX), "the first milliseconds of a burst are lost before any program sees them",
			fmt.Sprintf("ethtool -G %s rx %d", n.Name, min(r.MaxRX, 4*enough)))
	default:
		t.ok("ring", "%d packets may wait for the driver in a queue", r.RX)
	}
}

// interrupts judges which CPUs take them.
func (f *Facts) interrupts(t to, n *nic.NIC) {
	irqs := f.IRQs[n.Name]
	if len(irqs) > 1 && f.CPUs > 1 {
		one := true
		for _, i := range irqs {
			one = one && i.CPUs == irqs[0].CPUs && !strings.ContainsAny(i.CPUs, ",-")
		}
		if one {
			t.costs("interrupts", fmt.Sprintf("all %d interrupts of the NIC come to CPU %s", len(irqs), irqs[0].CPUs), "the other CPUs drop nothing of a flood",
				fmt.Sprintf("systemctl enable --now irqbalance, or for each N of %s: echo CPU > /proc/irq/N/smp_affinity_list", numbersOf(irqs)))
		} else {
			t.ok("interrupts", "%d interrupts are spread over CPUs", len(irqs))
		}
	}
	if f.Steered[n.Name] {
		t.ok("rps", "the kernel spreads what XDP passes over CPUs (RPS); what is dropped or forwarded never gets there")
	}
}

func numbersOf(irqs []IRQ) string {
	var words []string
	for _, i := range irqs {
		words = append(words, fmt.Sprint(i.Number))
	}
	return strings.Join(words, ", ")
}

// channels is what `ethtool -L` sets so many queues by.
func channels(n *nic.NIC, queues int) string {
	if n.Channels.MaxCombined > 0 {
		return fmt.Sprintf("combined %d", queues)
	}
	return fmt.Sprintf("rx %d", queues)
}

// idle says what queues that are missing cost.
func idle(cpus int) string {
	if cpus == 1 {
		return "one CPU does nothing against a flood"
	}
	return fmt.Sprintf("%d CPUs do nothing against a flood", cpus)
}
