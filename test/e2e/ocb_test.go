// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
)

const ocbBlock = 16

type ocbWord [ocbBlock]byte

func (w *ocbWord) xor(v ocbWord) {
	for i := range w {
		w[i] ^= v[i]
	}
}

// double multiplies by x in GF(2^128).
func (w ocbWord) double() ocbWord {
	hi, lo := binary.BigEndian.Uint64(w[:8]), binary.BigEndian.Uint64(w[8:])
	carry := hi >> 63
	hi, lo = hi<<1|lo>>63, lo<<1^carry*0x87
	binary.BigEndian.PutUint64(w[:8], hi)
	binary.BigEndian.PutUint64(w[8:], lo)
	return w
}

func (w ocbWord) triple() ocbWord {
	d := w.double()
	d.xor(w)
	return d
}

// ocb is OCB2-AES128 as Mumble's voice channel uses it (https://mumble-protocol.readthedocs.io).
type ocb struct{ block cipher.Block }

func newOCB(key []byte) (ocb, error) {
	b, err := aes.NewCipher(key)
	return ocb{b}, err
}

func (o ocb) encrypt(w ocbWord) ocbWord {
	o.block.Encrypt(w[:], w[:])
	return w
}

func (o ocb) decrypt(w ocbWord) ocbWord {
	o.block.Decrypt(w[:], w[:])
	return w
}

// run seals (or opens) src under a nonce; the tag is over the plain text either way.
func (o ocb) run(nonce ocbWord, src []byte, opening bool) (dst []byte, tag ocbWord) {
	delta, sum := o.encrypt(nonce), ocbWord{}
	for len(src) > ocbBlock {
		delta = delta.double()
		in := ocbWord(src[:ocbBlock])
		out := in
		out.xor(delta)
		if opening {
			out = o.decrypt(out)
		} else {
			out = o.encrypt(out)
		}
		out.xor(delta)
		if opening {
			sum.xor(out)
		} else {
			sum.xor(in)
		}
		dst, src = append(dst, out[:]...), src[ocbBlock:]
	}
	delta = delta.double()
	pad := delta
	length := ocbWord{}
	binary.BigEndian.PutUint64(length[8:], uint64(len(src))*8)
	pad.xor(length)
	pad = o.encrypt(pad)
	last := pad // plain text, then what is left of the pad
	for i, b := range src {
		out := pad[i] ^ b
		dst = append(dst, out)
		if opening {
			last[i] = out
		} else {
			last[i] = b
		}
	}
	sum.xor(last)
	final := delta.triple()
	final.xor(sum)
	return dst, o.encrypt(final)
}

// voiceCrypt is one direction of Mumble's UDP: a nonce that counts up, of which a packet shows the lowest byte.
type voiceCrypt struct {
	ocb   ocb
	nonce ocbWord
}

func (c *voiceCrypt) step() {
	for i := range c.nonce {
		if c.nonce[i]++; c.nonce[i] != 0 {
			return
		}
	}
}

func (c *voiceCrypt) seal(plain []byte) []byte {
	c.step()
	body, tag := c.ocb.run(c.nonce, plain, false)
	return append([]byte{c.nonce[0], tag[0], tag[1], tag[2]}, body...)
}

var errVoice = errors.New("a voice packet that isn't ours")

// open takes packets in order; some may be missing.
func (c *voiceCrypt) open(packet []byte) ([]byte, error) {
	if len(packet) < 4 {
		return nil, errVoice
	}
	next := *c
	for next.step(); next.nonce[0] != packet[0]; next.step() {
	}
	plain, tag := c.ocb.run(next.nonce, packet[4:], true)
	if [3]byte(packet[1:4]) != [3]byte(tag[:3]) {
		return nil, errVoice
	}
	c.nonce = next.nonce
	return plain, nil
}

// The vectors are those of draft-krovetz-ocb-00 (OCB2), whose nonce is the key.
func TestOCB2(t *testing.T) {
	key, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	must(t, err)
	o, err := newOCB(key)
	must(t, err)
	for _, v := range []struct{ plain, tag string }{
		{"", "bf3108130773ad5ec70ec69e7875a7b0"},
	} {
		plain, err := hex.DecodeString(v.plain)
		must(t, err)
		sealed, tag := o.run(ocbWord(key), plain, false)
		if got := hex.EncodeToString(tag[:]); got != v.tag {
			t.Errorf("tag of %q: %s, want %s", v.plain, got, v.tag)
		}
		opened, again := o.run(ocbWord(key), sealed, true)
		if string(opened) != v.plain || again != tag {
			t.Errorf("%q came back as %q", v.plain, opened)
		}
	}
	for _, n := range []int{1, 15, 16, 17, 60, 100} {
		plain := bytesOf(uint64(n), n)
		sealed, tag := o.run(ocbWord(key), plain, false)
		if opened, again := o.run(ocbWord(key), sealed, true); string(opened) != string(plain) || again != tag {
			t.Errorf("%d bytes came back as others", n)
		}
	}
}
