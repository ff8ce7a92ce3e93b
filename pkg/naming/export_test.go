// SPDX-License-Identifier: Apache-2.0

package naming

// Held is what games' rules hold of one packet by itself, whatever else they hold of.
type Held struct {
	Magic []Label // by bytes that only they have
	Walks []Label // by lengths and counts that add up
}

// Hold asks all rules about a packet.
func Hold(proto Proto, payload []byte, length int, port uint16) (h Held) {
	p := packet{b: payload, n: max(length, len(payload)), up: true, from: true, port: port}
	rules := udpRules
	if proto == TCP {
		rules = tcpRules
	}
	h.Magic = held(rules, &p)
	if proto == UDP {
		h.Walks = held(udpWalks, &p)
	}
	return h
}

func held(rules []rule, p *packet) (labels []Label) {
	seen := map[Label]bool{}
	for i := range rules {
		if r := &rules[i]; r.label.Plays() && r.holds(p) && !seen[r.label] {
			seen[r.label] = true
			labels = append(labels, r.label)
		}
	}
	return labels
}

// Games are those by either kind of rule.
func (h Held) Games() []Label {
	all := h.Magic
	for _, w := range h.Walks {
		if len(all) == 0 || all[0] != w {
			all = append(all, w)
		}
	}
	return all
}

// Rule is one, for the list of them.
type Rule struct {
	Label      Label
	Of         string
	Confidence uint8
	Says       string
}

// Rules are all of them.
func Rules() (all []Rule) {
	for _, list := range []struct {
		of    string
		rules []rule
	}{{"udp", udpRules}, {"udp, adds up", udpWalks}, {"tcp", tcpRules}} {
		for _, r := range list.rules {
			all = append(all, Rule{r.label, list.of, r.conf, r.says})
		}
	}
	for _, rules := range [][]pairRule{answers, sequels} {
		for _, r := range rules {
			all = append(all, Rule{r.label, "udp, together", r.conf, r.says})
		}
	}
	return all
}
