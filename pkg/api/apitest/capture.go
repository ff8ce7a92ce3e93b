// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"io"
	"time"

	"parry/pkg/api"
	"parry/pkg/pcap"
)

// Capture writes as many packets as are asked for, at most Captured, a millisecond apart.
func (e *Edge) Capture(_ context.Context, q api.CaptureQuery, out io.Writer) error {
	if e.Fail != nil {
		return e.Fail
	}
	w, err := pcap.NewWriter(out, "parry v0.1.0", "captured by parry on fra-1: "+q.Mode+q.String())
	if err != nil {
		return err
	}
	if _, err := w.AddInterface("eth0", q.Snap, q.String()); err != nil {
		return err
	}
	n := e.Captured
	why := "ended after " + q.For.String()
	if q.Count > 0 && q.Count <= n {
		n, why = q.Count, "ended at its count"
	}
	for i := range n {
		err := w.Write(&pcap.Record{
			Time: Epoch().Add(time.Duration(i) * time.Millisecond), Data: make([]byte, min(60, q.Snap)), WireLen: 60, Direction: pcap.Inbound, XDP: 1,
			Comment: "parry verdict=drop reason=denied service=arena direction=up client=198.51.100.7",
		})
		if err != nil {
			return err
		}
	}
	return w.End(pcap.Statistics{Start: Epoch(), End: Epoch(), Taken: uint64(n), Lost: 7, Comment: why})
}
