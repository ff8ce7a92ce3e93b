// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"
)

// said is a connection that hands out packets that were there before, and then says that its time is over.
type said struct {
	net.Conn
	packets [][]byte
	asked   [][]byte
}

func (s *said) Write(p []byte) (int, error) {
	s.asked = append(s.asked, bytes.Clone(p))
	return len(p), nil
}

func (s *said) Read(p []byte) (int, error) {
	if len(s.packets) == 0 {
		return 0, errors.New("nothing more")
	}
	n := copy(p, s.packets[0])
	s.packets = s.packets[1:]
	return n, nil
}

func (s *said) SetDeadline(time.Time) error { return nil }

// FuzzReplies has every parser read what a hostile server sends: a packet for each 0xfd 0xfd of the input. Whatever it is, what
// is taken for a reply is within its bounds and is one.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		"\xff\xff\xff\xffA\x01\x02\x03\x04\xfd\xfd\xff\xff\xff\xffI\x11name\x00map\x00dir\x00game\x00\xb8\x01\x02\x18\x00dl\x00\x011.0\x00",
		"\xff\xff\xff\xffm127.0.0.1:27015\x00Old\x00crossfire\x00valve\x00Half-Life\x00\x03\x10\x2f",
		"\xff\xff\xff\xffD\x01\x00player\x00\x01\x00\x00\x00\x00\x00\x80\x3f",
		"\xfe\xff\xff\xff\x07\x00\x00\x00\x02\x00\xe0\x04\xff\xff\xff\xffE\x01\x00a\xfd\xfd\xfe\xff\xff\xff\x07\x00\x00\x00\x02\x01\xe0\x04\x00b\x00",
		"\xfe\xff\xff\xff\x07\x00\x00\x00\x02\xff\xff\xff\xffE\x01\x00a\xfd\xfd\xfe\xff\xff\xff\x07\x00\x00\x00\x12\x00b\x00",
		"\xfe\xff\xff\xff\x07\x00\x00\x80\x01\x00\xe0\x04\x10\x00\x00\x00\x00\x00\x00\x00BZh91AY&SY",
		"\xfe\xff\xff\xff\x07", // too short to be a part
		"\xff\xff\xff\xffinfoResponse\n\\hostname\\x\\clients\\2\\challenge\\",
		"\xff\xff\xff\xffstatusResponse\n\\challenge\\\\sv_hostname\\x\n1 2 \"a\"\n",
		"\x1c\x00\x00\x00\x00\x00\x00\x00\x00\x11\x22\x33\x44\x55\x66\x77\x88" + raknetMagic + "\x00\x05MCPE;",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		for q := range questions {
			packets := bytes.Split(input, []byte("\xfd\xfd"))
			x := &exchange{conn: &said{packets: packets}, buf: make([]byte, longestPacket+1)}
			r, err := questions[q].ask(x, Question(q))
			if err != nil {
				continue
			}
			if len(r.Packets) == 0 || len(r.Packets) > mostParts || len(r.Body) > longestBody || len(r.Body) < 5 {
				t.Errorf("%v: %d packets, %d bytes", Question(q), len(r.Packets), len(r.Body))
			}
			if len(r.Packets) == 1 && len(r.Packets[0]) > longestPacket {
				t.Errorf("%v: a packet of %d bytes", Question(q), len(r.Packets[0]))
			}
			if r.Players < -1 || r.Players > 65535 || r.Max < -1 || r.Max > 65535 {
				t.Errorf("%v: %+v", Question(q), r.Basics)
			}
		}
	})
}

// FuzzNeutral reads replies that echo what was asked, as far as an input can.
func FuzzNeutral(f *testing.F) {
	f.Add("\\hostname\\x", "\\mapname\\y\n1 2 \"a\"\n")
	f.Add("", "")
	f.Add("\\challenge\\0123", "0")
	f.Fuzz(func(t *testing.T, before, behind string) {
		const line = "infoResponse\n"
		p := []byte(whole + line + before + `\challenge\0123abcd` + behind)
		body, ok := withoutChallenge(bytes.Clone(p), line, "0123abcd")
		if ok && (len(body) != len(p)-len(`\challenge\0123abcd`) || !bytes.HasPrefix(body, []byte(whole+line))) {
			t.Errorf("%q became %q", p, body)
		}
		_ = quake3Basics(before+behind, true)
		_ = raknetBasics(before + behind)
	})
}
