// SPDX-License-Identifier: Apache-2.0

package nic

import "slices"

// Pause is what happens to an interface's traffic while an XDP program is attached or taken off; not when one program
// replaces another.
type Pause uint8

// The pauses, by how much they are felt.
const (
	PauseUnknown Pause = iota
	PauseNone
	PauseQueues // queues are made anew: packets of some milliseconds are lost, the link stays
	PauseLink   // the port restarts: the link is gone, for up to some seconds
)

// String says it for a person.
func (p Pause) String() string {
	switch p {
	case PauseNone:
		return "without a pause"
	case PauseQueues:
		return "with a pause of some milliseconds: the driver makes its queues anew, the link stays"
	case PauseLink:
		return "with the link gone for up to some seconds: the driver restarts the port"
	}
	return "with a pause that depends on the driver: some restart the port, and the link is gone for seconds"
}

// Driver is what is known of a driver: by the kernel's sources, for nothing in a running kernel tells.
type Driver struct {
	Name         string
	Major, Minor int // of the first kernel with native XDP in it, where that is later than the oldest that parry runs on
	Pause        Pause
}

// drivers are those with native XDP in mainline, by the name that they give ethtool.
var drivers = [...]Driver{
	{"am65-cpsw-nuss", 6, 10, PauseLink},
	{"atlantic", 0, 0, PauseLink},
	{"bnxt_en", 0, 0, PauseQueues},
	{"bonding", 0, 0, PauseQueues}, // as its members'
	{"cpsw", 0, 0, PauseQueues},
	{"ena", 0, 0, PauseQueues},
	{"fec", 6, 2, PauseQueues},
	{"fsl_dpa", 0, 0, PauseLink},
	{"fsl_dpaa2_eth", 0, 0, PauseLink},
	{"fsl_enetc", 0, 0, PauseQueues},
	{"gve", 6, 4, PauseQueues},
	{"hv_netvsc", 0, 0, PauseNone},
	{"i40e", 0, 0, PauseLink},
	{"ice", 0, 0, PauseQueues},
	{"igb", 0, 0, PauseLink},
	{"igc", 0, 0, PauseLink},
	{"ionic", 6, 9, PauseQueues},
	{"ixgbe", 0, 0, PauseLink},
	{"ixgbevf", 0, 0, PauseQueues},
	{"mana", 0, 0, PauseNone},
	{"mlx4_en", 0, 0, PauseLink},
	{"mlx5_core", 0, 0, PauseQueues},
	{"mtk_soc_eth", 0, 0, PauseQueues},
	{"mvneta", 0, 0, PauseQueues},
	{"mvpp2", 0, 0, PauseQueues},
	{"nfp", 0, 0, PauseQueues},
	{"qede", 0, 0, PauseQueues},
	{"rvu-nicpf", 0, 0, PauseQueues},
	{"sfc", 0, 0, PauseNone},
	{"st_gmac", 0, 0, PauseQueues},
	{"thunder-nicvf", 0, 0, PauseQueues},
	{"tsnep", 6, 3, PauseQueues},
	{"tun", 0, 0, PauseNone},
	{"veth", 0, 0, PauseNone},
	{"vif", 0, 0, PauseQueues}, // Xen
	{"virtio_net", 0, 0, PauseQueues},
	{"vmxnet3", 6, 6, PauseLink},
}

// DriverOf is what is known of a driver; false if it is not in the list: its XDP is most likely the generic kind.
func DriverOf(name string) (Driver, bool) {
	i := slices.IndexFunc(drivers[:], func(d Driver) bool { return d.Name == name })
	if i < 0 {
		return Driver{}, false
	}
	return drivers[i], true
}
