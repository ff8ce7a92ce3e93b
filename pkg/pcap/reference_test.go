// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"parry/test/need"
)

// What the reference implementation writes, we read; so does it.
func TestPcapgoAgrees(t *testing.T) {
	write := map[string]func(io.Writer, []gopacket.CaptureInfo, [][]byte) error{
		"pcap": func(w io.Writer, cis []gopacket.CaptureInfo, data [][]byte) error {
			pw := pcapgo.NewWriterNanos(w)
			err := pw.WriteFileHeader(65535, layers.LinkTypeEthernet)
			for i := range cis {
				err = errors.Join(err, pw.WritePacket(cis[i], data[i]))
			}
			return err
		},
		"pcapng": func(w io.Writer, cis []gopacket.CaptureInfo, data [][]byte) error {
			pw, err := pcapgo.NewNgWriter(w, layers.LinkTypeEthernet)
			for i := range cis {
				err = errors.Join(err, pw.WritePacket(cis[i], data[i]))
			}
			return errors.Join(err, pw.Flush())
		},
	}
	var cis []gopacket.CaptureInfo
	var data [][]byte
	var want []Packet
	for i := range 50 {
		d := ethernet(14 + i*37)
		at := when().Add(time.Duration(i) * 1234567)
		cis = append(cis, gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(d), Length: len(d) + i})
		data = append(data, d)
		want = append(want, Packet{N: i + 1, Time: at, Data: d, WireLen: len(d) + i, Link: "ethernet"})
	}
	for name, f := range write {
		t.Run(name, func(t *testing.T) {
			var plain, zipped bytes.Buffer
			if err := f(&plain, cis, data); err != nil {
				t.Fatal(err)
			}
			wantPackets(t, plain.Bytes(), want)
			z := gzip.NewWriter(&zipped)
			_, err := z.Write(plain.Bytes())
			if err = errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
			wantPackets(t, zipped.Bytes(), want)
		})
	}
}

// The shared captures are real ones of many sources; pcapgo is the reference.
func TestSharedCaptures(t *testing.T) {
	dir := need.Captures(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.pcap*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no captures: %v", dir, err)
	}
	if testing.Short() {
		files = files[:min(20, len(files))]
	}
	total, links := 0, map[string]int{}
	for _, path := range files {
		n, link := compare(t, path)
		total += n
		links[link]++
	}
	t.Logf("%d files, %d packets, files by link type: %v", len(files), total, links)
}

// compare reads a file by pcapgo and by ours, and returns its packets and link type.
func compare(t *testing.T, path string) (n int, link string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ref, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	r, err := Open(path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer r.Close()
	for {
		p, err := r.Next()
		data, ci, rerr := ref.ReadPacketData()
		switch {
		case errors.Is(err, ErrPacket):
			t.Logf("%s: %v", path, err)
			continue
		case err == io.EOF && rerr == io.EOF:
			return n, link
		case err != nil || rerr != nil:
			t.Errorf("%s: %v, pcapgo says %v", path, err, rerr)
			return n, link
		case !p.Time.Equal(ci.Timestamp) || len(p.Data) < ethLen || !bytes.HasSuffix(p.Data, data[min(20, len(data)):]) ||
			p.Link == "ethernet" && !bytes.Equal(p.Data, data):
			t.Errorf("%s: packet %d differs from pcapgo's", path, p.N)
			return n, link
		}
		n, link = n+1, p.Link
	}
}
