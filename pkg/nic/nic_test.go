// SPDX-License-Identifier: Apache-2.0

package nic

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/safchain/ethtool"
)

// talkative answers all, mute nothing.
type talkative struct{}

func (talkative) DriverName(string) (string, error) { return "ixgbe", nil }
func (talkative) FeaturesWithState(string) (map[string]ethtool.FeatureState, error) {
	return map[string]ethtool.FeatureState{
		"rx-lro": {Available: true, Active: true}, "rx-gro-hw": {}, "rx-vlan-hw-parse": {Available: true, Active: true, NeverChanged: true},
	}, nil
}
func (talkative) GetChannels(string) (ethtool.Channels, error) {
	return ethtool.Channels{CombinedCount: 4, MaxCombined: 63, RxCount: 1, MaxRx: 2}, nil
}
func (talkative) GetRing(string) (ethtool.Ring, error) {
	return ethtool.Ring{RxPending: 512, RxMaxPending: 4096, TxPending: 256, TxMaxPending: 1024}, nil
}
func (talkative) CmdGet(*ethtool.EthtoolCmd, string) (uint32, error) { return 10000, nil }

type mute struct{}

var errMute = errors.New("not supported")

func (mute) DriverName(string) (string, error) { return "", errMute }
func (mute) FeaturesWithState(string) (map[string]ethtool.FeatureState, error) {
	return nil, errMute
}
func (mute) GetChannels(string) (ethtool.Channels, error)       { return ethtool.Channels{}, errMute }
func (mute) GetRing(string) (ethtool.Ring, error)               { return ethtool.Ring{}, errMute }
func (mute) CmdGet(*ethtool.EthtoolCmd, string) (uint32, error) { return ^uint32(0), nil }

func TestEthtool(t *testing.T) {
	n := NIC{Name: "eth0", Kind: "device"}
	n.ethtool(talkative{})
	want := NIC{
		Name: "eth0", Kind: "device", Driver: "ixgbe", Mbits: 10000, Channels: Channels{RX: 1, Combined: 4, MaxRX: 2, MaxCombined: 63},
		Ring:     Ring{RX: 512, TX: 256, MaxRX: 4096, MaxTX: 1024},
		Features: map[string]Feature{"rx-lro": {On: true}, "rx-gro-hw": {Fixed: true}, "rx-vlan-hw-parse": {On: true, Fixed: true}},
	}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n.Queues() != 5 || n.MaxQueues() != 63 {
		t.Errorf("%d of %d queues", n.Queues(), n.MaxQueues())
	}
	q := NIC{Name: "eth0", Kind: "device"}
	q.ethtool(mute{})
	if diff := cmp.Diff(NIC{Name: "eth0", Kind: "device"}, q); diff != "" {
		t.Errorf("of one that tells nothing (-want +got):\n%s", diff)
	}
	v := NIC{Name: "veth0", Kind: "veth"}
	if v.ethtool(talkative{}); v.Mbits != 0 {
		t.Error("what is made in software has no speed")
	}
}

func TestDrivers(t *testing.T) {
	if !slices.IsSortedFunc(drivers[:], func(a, b Driver) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the list is to be sorted")
	}
	for i, d := range drivers {
		if i > 0 && drivers[i-1].Name == d.Name || d.Pause == PauseUnknown {
			t.Errorf("%+v", d)
		}
	}
	if d, ok := DriverOf("igb"); !ok || d.Pause != PauseLink {
		t.Errorf("igb: %+v, %v", d, ok)
	}
	if d, ok := DriverOf("r8169"); ok {
		t.Errorf("r8169 has no native XDP: %+v", d)
	}
}

func TestOutside(t *testing.T) {
	at := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	all := []NIC{
		{Name: "eth0", Kind: "device", Up: true, Addresses: at("203.0.113.10/24"), Default: true},
		{Name: "eth1", Kind: "device", Up: true, Addresses: at("10.0.0.1/24")},
		{Name: "eth2", Kind: "device", Addresses: at("10.0.1.1/24")},
		{Name: "eth3", Kind: "device", Up: true, Addresses: at("fe80::1/64")},
		{Name: "docker0", Kind: "bridge", Up: true, Addresses: at("172.17.0.1/16")},
		{Name: "vmbr0", Kind: "bridge", Up: true, Addresses: at("203.0.113.11/24"), Default: true},
		{Name: "wg0", Kind: "wireguard", Up: true, Addresses: at("10.9.0.1/24")},
		{Name: "eth0.5", Kind: "vlan", Up: true, Addresses: at("2001:db8::1/64")},
	}
	var got []string
	for _, n := range Outside(all) {
		got = append(got, n.Name)
	}
	if diff := cmp.Diff([]string{"eth0", "eth1", "vmbr0", "eth0.5"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Find(all, "eth9"); !errors.Is(err, ErrNone) {
		t.Errorf("eth9: %v", err)
	}
}

// Whatever this machine has, it is told without an error, and as Go's own library tells it.
func TestThisMachine(t *testing.T) {
	all, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		i, err := net.InterfaceByName(n.Name)
		if err != nil || i.Index != n.Index || i.MTU != n.MTU {
			t.Errorf("%+v: %v %+v", n, err, i)
		}
	}
}
