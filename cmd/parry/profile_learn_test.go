// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/pkg/config"
	"parry/pkg/learn"
	"parry/pkg/pcap"
	"parry/test/packet"
)

// quakeCapture is of a player who asks a server of Quake III's how it is.
func quakeCapture(t *testing.T, path string) {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, "test", "")
	if err == nil {
		_, err = w.AddInterface("eth0", 0, "")
	}
	player, server := netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27960")
	for i, one := range []packet.Packet{
		packet.NewUDP(player, server, "\xff\xff\xff\xffgetstatus\n"), packet.NewUDP(server, player, "\xff\xff\xff\xffstatusResponse\n\\mapname\\q3dm1\n"),
	} {
		data := one.Bytes()
		if err == nil {
			err = w.Write(&pcap.Record{Time: time.Unix(int64(i), 0), Data: data, WireLen: len(data), XDP: -1})
		}
	}
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is written is a configuration; a replay that the game's gate refuses has it watch; without root there is none.
func TestProfileLearnWrites(t *testing.T) {
	dir := t.TempDir()
	play, out := filepath.Join(dir, "play.pcapng"), filepath.Join(dir, "learned.yaml")
	quakeCapture(t, play)
	for _, c := range []struct {
		name    string
		replay  func(config string, out io.Writer) error
		args    []string
		written string // in the file
	}{
		{"none is dropped", func(_ string, out io.Writer) error {
			_, err := fmt.Fprintln(out, `{"verdict":"pass","service":"quake3"}`+"\n"+`{"verdict":"drop","reason":"host_rate","service":""}`+"\n"+`{"summary":{}}`)
			return err
		}, nil, "the edge took 1 of the 2 packets"},
		{"the gate refuses", func(config string, out io.Writer) error {
			text, err := os.ReadFile(config)
			verdict := `"drop","reason":"gate_refused"`
			if strings.Contains(string(text), "enforce_gate: false") {
				verdict = `"pass"`
			}
			if err == nil {
				_, err = fmt.Fprintln(out, `{"verdict":`+verdict+`,"service":"quake3"}`)
			}
			return err
		}, nil, "enforce_gate: false"},
		{"without root", func(string, io.Writer) error { return fs.ErrPermission }, nil, "sudo parry replay"},
		{"not wanted", func(string, io.Writer) error { return io.ErrUnexpectedEOF }, []string{"--no-replay"}, "sudo parry replay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := deps{Getenv: func(string) string { return "" }, Replay: func(_ context.Context, o ReplayOptions, out io.Writer) error { return c.replay(o.Config, out) }}
			run := func(args ...string) (string, error) {
				var said bytes.Buffer
				root := newRoot(d)
				root.SetArgs(append([]string{"profile", "learn", play}, append(args, c.args...)...))
				root.SetOut(&said)
				err := root.ExecuteContext(t.Context())
				return said.String(), err
			}
			said, err := run("-o", out, "--force")
			if err != nil || !strings.Contains(said, "game: quake3") {
				t.Fatalf("%v: %s", err, said)
			}
			text, err := os.ReadFile(out)
			if err != nil || !strings.Contains(string(text), c.written) {
				t.Errorf("%v: want %q in\n%s", err, c.written, text)
			}
			if _, err := run("-o", out); err == nil || !strings.Contains(err.Error(), "is there already: --force") {
				t.Errorf("written over without --force: %v", err)
			}
			made, err := config.Load(out)
			if err != nil || made.Enforce || made.Services[0].Game != "quake3" || made.Services[0].Forward != config.ForwardLocal {
				t.Errorf("%v: %+v", err, made)
			}
			said, err = run("--json")
			var p learn.Profile
			if err != nil || json.Unmarshal([]byte(said), &p) != nil || p.YAML != string(text) || p.Packets != 2 {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}
