// SPDX-License-Identifier: Apache-2.0

package naming

// rule names what it holds of.
type rule struct {
	label Label
	conf  uint8  // in percent: how sure the bytes alone make it
	says  string // the reason, for people
	holds func(*packet) bool
}

// pairRule names what two packets show together: the one at hand, and the last one of the same side or of the other.
type pairRule struct {
	label Label
	conf  uint8
	says  string
	holds func(last, p *packet) bool
}

// Rules by transport. Their order counts for nothing: the surest one that holds names a session.
var (
	udpRules = concat(raknetRules[:], sourceRules[:], quakeRules[:], unrealRules[:], riotRules[:], steamRules[:], enetRules[:],
		photonRules[:], consoleRules[:], voiceRules[:], otherGameRules[:], stunRules[:], mediaRules[:], tunnelRules[:], dnsRules[:], peerRules[:],
		serviceRules[:], reflectionRules[:])
	tcpRules = concat(minecraftRules[:], streamGameRules[:], webRules[:], streamRules[:])

	// What has no magic, but whose lengths and counts add up. What adds up as one game's may, if somebody makes it up so, hold another's
	// magic, or add up as another's too: so these are asked where no game's magic holds, and name nothing if two games add up.
	udpWalks = concat(raknetWalks[:], photonWalks[:], otherGameWalks[:])

	// what the other side's last packet and this one show together
	answers = concat(enetAnswers[:], riotAnswers[:], consoleAnswers[:], voiceAnswers[:], otherGameAnswers[:])
	// what this side's last packet and this one show together
	sequels = concat(raknetSequels[:], mediaSequels[:])
)

func concat[T any](lists ...[]T) []T {
	var all []T
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
