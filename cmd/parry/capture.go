// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/pcap"
	"parry/pkg/show"
)

func newCapture(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "capture [drops|samples|all]",
		Short: "Write packets and verdicts to a capture that Wireshark opens",
		Long: `Write packets to a pcapng file: what the edge drops (or would, were policy enforced), one packet in so many (samples),
or all of them, each as it came in, with the verdict, the reason, the service, the direction and the client as its
comment. In Wireshark it stands above the packet, and as a column by the field frame.comment; tshark shows it by
-T fields -e frame.comment.

A capture ends at --count packets, after --for, at --size bytes, whichever is first; ^C ends it as well, and so does a
full disk. What is in the file then is whole. It says how many packets matched and were lost: to the ring, or above
50,000 packets a second and CPU.

While nobody captures, it costs nothing. While somebody does, drops cost some more; with samples or all, each packet
that passes does, too. Root alone may do it: packets are other people's words.`,
		Example: `  parry capture                                     the next 10,000 drops of a minute
  parry capture drops --address 198.51.100.7 -w player.pcapng
  parry capture all --session 9d3c1e52a0b7f846 --for 10s --snaplen 2048
  parry capture samples --every 100 -w - | tshark -r - -T fields -e ip.src -e frame.comment`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one of drops, samples and all, not %d", len(args))
			}
			return nil
		},
		ValidArgs: api.CaptureModes(),
	}
	dial := addSocket(cmd, d)
	q := api.NewCaptureQuery(api.CaptureDrops)
	address := &prefixValue{}
	f := cmd.Flags()
	f.Var(address, "address", "packets of this client (or prefix), both ways")
	f.StringVar(&q.Session, "session", "", "packets of the session of this `ID`, both ways")
	service := addService(cmd, dial, "packets of this service")
	f.StringVar(&q.Reason, "reason", "", "packets that were dropped for this `reason`")
	f.IntVar(&q.Every, "every", api.CaptureEvery, "of samples: one packet in `N`")
	f.IntVar(&q.Snap, "snaplen", q.Snap, "`bytes` of each packet, at most 2048")
	f.IntVar(&q.Count, "count", q.Count, "end at so many packets; 0: however many there are")
	f.DurationVar(&q.For, "for", q.For, "end after this time, at most 24h")
	size := "64MiB"
	f.StringVar(&size, "size", size, "end at this size, as 500KB or 64MiB; 0: however long it gets")
	to := f.StringP("write", "w", "parry.pcapng", "`file` to write, over what is there; - is standard output")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) == 1 {
			q.Mode = args[0]
		}
		if q.Mode != api.CaptureSamples {
			if f.Changed("every") {
				return usagef("--every is of `parry capture samples`")
			}
			q.Every = 0
		}
		q.Address, q.Service = address.prefix, *service
		if q.Size, err = parseSize(size); err != nil {
			return usagef("--size: %v", err)
		}
		if err := q.Check(); err != nil {
			return usagef("%v", err)
		}
		return capture(cmd, dial(), q, *to)
	}
	return cmd
}

// capture writes one, and says how it went.
func capture(cmd *cobra.Command, c *api.Client, q api.CaptureQuery, to string) error {
	ctx := cmd.Context()
	out := cmd.OutOrStdout()
	var file *os.File
	if to != "-" {
		var err error
		if file, err = os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return fmt.Errorf("begin a capture: %w", err)
		}
		out = &fresh{File: file}
	}
	blocks := pcap.NewBlocks(out)
	err := c.Capture(ctx, q, blocks)
	if file != nil {
		err = errors.Join(err, endCapture(file, blocks))
	}
	switch {
	case errors.Is(err, syscall.EPIPE) && to == "-": // who read it has had enough
		return nil
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = nil
		blocks.Ended = "ended by you"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		err = fmt.Errorf("no room for more: %w; what is in %s is whole", err, to)
	}
	if blocks.Bytes == 0 && err != nil {
		return err
	}
	if to == "-" {
		to = "standard output"
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s in %s (%s), %s lost%s\n", plural(blocks.Packets, "packet", "packets"), to,
		show.Bytes(uint64(blocks.Bytes)), show.Count(int(blocks.Lost)), ended(blocks.Ended))
	return err
}

func ended(why string) string {
	if why == "" {
		return ""
	}
	return "; " + why
}

// fresh empties a file as the first of the capture is there: a capture that is refused leaves what was in it.
type fresh struct {
	*os.File
	begun bool
}

func (f *fresh) Write(p []byte) (int, error) {
	if !f.begun {
		if err := truncate(f.File, 0); err != nil {
			return 0, err
		}
		f.begun = true
	}
	return f.File.Write(p)
}

// truncate cuts a file; of what is none (a pipe, a device) there is nothing to cut.
func truncate(f *os.File, size int64) error {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Truncate(size)
}

// endCapture leaves whole blocks.
func endCapture(f *os.File, blocks *pcap.Blocks) error {
	var err error
	if blocks.Bytes > 0 {
		err = truncate(f, blocks.Bytes)
	} else if info, serr := f.Stat(); serr == nil && info.Mode().IsRegular() && info.Size() == 0 {
		err = os.Remove(f.Name()) // nothing came of it
	}
	return errors.Join(err, f.Close())
}

// parseSize reads a number of bytes with a unit of 1000s or (KiB, MiB, GiB) 1024s.
func parseSize(text string) (int64, error) {
	var n float64
	var unit string
	if k, err := fmt.Sscanf(strings.TrimSpace(text), "%g%s", &n, &unit); k == 0 || err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || n < 0 {
		return 0, fmt.Errorf("%q is no size like 500KB or 64MiB", text)
	}
	factor, ok := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}[strings.ToLower(unit)]
	if !ok || n*factor >= 1<<62 {
		return 0, fmt.Errorf("%q is no size like 500KB or 64MiB", text)
	}
	return int64(n * factor), nil
}
