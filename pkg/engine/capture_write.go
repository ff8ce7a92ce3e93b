// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/pcap"
	"parry/pkg/sample"
)

// capturing is one capture on its way to a file.
type capturing struct {
	q      api.CaptureQuery
	t      *taking
	e      *Engine
	slot   int
	before loader.SampleCount
	start  time.Time
	offset int64 // ns of the wall clock at CLOCK_MONOTONIC 0
	out    *bufio.Writer
	w      *pcap.Writer
	ifaces map[uint32]int // by index in the kernel
	count  int
	size   int64
	names  []string
}

// Write counts what the pcap writer writes.
func (c *capturing) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.out.Write(p)
}

func (c *capturing) run(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	end := time.NewTimer(c.q.For)
	defer end.Stop()
	beat := time.NewTicker(captureBeat)
	defer beat.Stop()
	var used []byte
	for {
		why := ""
		select {
		case <-ctx.Done():
			return nil // nobody is there to write to
		case <-end.C:
			why = "after " + c.q.For.String()
		case <-beat.C:
			if err := errors.Join(c.statistics("goes on"), c.out.Flush()); err != nil {
				return err
			}
			continue
		case <-c.t.wake:
		}
		used = c.t.take(used)
		full, err := c.records(used)
		if full != "" {
			why = full
		}
		if err == nil && why != "" {
			err = c.statistics("ended " + why)
		}
		if err = errors.Join(err, c.out.Flush()); err != nil || why != "" {
			return err
		}
	}
}

// begin writes what a capture begins with.
func (c *capturing) begin() (err error) {
	c.e.mu.Lock()
	version, node, ifaces := c.e.opts.Version, c.e.cfg.Node, slices.Clone(c.e.ifaces)
	c.names = c.e.edge.ServiceNames()
	c.e.mu.Unlock()
	if c.w, err = pcap.NewWriter(c, "parry "+version, "captured by parry on "+node+": "+c.q.Mode+c.q.String()); err != nil {
		return err
	}
	for _, i := range ifaces {
		if err = c.add(uint32(i.Ifindex), i.Name); err != nil {
			return err
		}
	}
	return c.out.Flush()
}

func (c *capturing) add(ifindex uint32, name string) error {
	n, err := c.w.AddInterface(name, c.q.Snap, strings.TrimSpace(c.q.String()))
	c.ifaces[ifindex] = n
	return err
}

// records writes what came. It says why no more is to be written, if so.
func (c *capturing) records(all []byte) (full string, err error) {
	var s sample.Sample
	for len(all) > 4 {
		n := 4 + int(binary.NativeEndian.Uint32(all))
		if s.Decode(all[4:n]) == nil {
			if err := c.record(&s); err != nil {
				return "", err
			}
		}
		all = all[n:]
		if c.q.Count > 0 && c.count >= c.q.Count {
			return fmt.Sprintf("at %d packets", c.count), nil
		}
		if c.q.Size > 0 && c.size+captureReserve+int64(c.q.Snap) > c.q.Size {
			return fmt.Sprintf("at %d bytes", c.size), nil
		}
	}
	return "", nil
}

// captureReserve is what one more packet's block takes beside its frame, and the statistics.
const captureReserve = 1024

func (c *capturing) record(s *sample.Sample) error {
	if _, ok := c.ifaces[s.Ifindex]; !ok {
		name := fmt.Sprintf("if%d", s.Ifindex)
		if i, err := net.InterfaceByIndex(int(s.Ifindex)); err == nil {
			name = i.Name
		}
		if err := c.add(s.Ifindex, name); err != nil {
			return err
		}
	}
	c.count++
	direction := pcap.Inbound
	if s.Flags&sample.Out != 0 {
		direction = pcap.Outbound
	}
	return c.w.Write(&pcap.Record{
		Time: time.Unix(0, int64(s.Time)+c.offset), Interface: c.ifaces[s.Ifindex], Data: s.Frame[:min(len(s.Frame), c.q.Snap)], WireLen: int(s.Length),
		Direction: direction, XDP: codeOf(s), Comment: c.comment(s),
	})
}

// comment is what people read beside the packet.
func (c *capturing) comment(s *sample.Sample) string {
	names := c.e.edge.Names()
	var b strings.Builder
	fmt.Fprintf(&b, "parry verdict=%s", names.Verdicts[min(int(s.Verdict), len(names.Verdicts)-1)])
	named := func(key string, reason uint8) {
		if reason != 0 && int(reason) < len(names.Reasons) {
			fmt.Fprintf(&b, " %s=%s", key, names.Reasons[reason])
		}
	}
	named("reason", s.Reason)
	named("would_drop", s.Shadow)
	if s.Service != 0 && int(s.Service) < len(c.names) {
		fmt.Fprintf(&b, " service=%s", c.names[s.Service])
	} else {
		b.WriteString(" service=-")
	}
	if s.Flags&sample.Down != 0 {
		b.WriteString(" direction=down")
	} else {
		b.WriteString(" direction=up")
	}
	if s.Client.IsValid() {
		fmt.Fprintf(&b, " client=%v", s.Client)
	}
	if s.Flags&sample.First != 0 && s.Reason == 0 { // refused, it begins none
		b.WriteString(" begins=session")
	}
	if s.Rule != 0 {
		fmt.Fprintf(&b, " rule=%d", s.Rule)
	}
	if s.Every > 1 {
		fmt.Fprintf(&b, " one_in=%d", s.Every)
	}
	return b.String()
}

// codeOf is what XDP returned; below 0 where it was not XDP's.
func codeOf(s *sample.Sample) int {
	if s.Flags&sample.Out != 0 {
		return -1
	}
	switch s.Verdict {
	case sample.Pass:
		return loader.XDPPass
	case sample.TX:
		return loader.XDPTX
	case sample.Redirect:
		return loader.XDPRedirect
	case sample.Drop:
		return loader.XDPDrop
	}
	return loader.XDPAborted
}

// statistics writes how it went.
func (c *capturing) statistics(text string) error {
	lost, err := c.e.lostOf(c.t, c.slot, c.before)
	if err != nil {
		return err
	}
	return c.w.End(pcap.Statistics{Start: c.start, End: time.Now(), Taken: uint64(c.count), Lost: lost, Comment: text})
}
