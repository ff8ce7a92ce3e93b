// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// NeedTcpdump skips a test where there is none.
func NeedTcpdump(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("no tcpdump here to compare with (package tcpdump)")
	}
}

// Reference is what tcpdump makes of an expression.
type Reference struct {
	optimized *bpf.VM // nil: its optimizer found that nothing can match
	failed    bool    // its optimizer sees a division by zero where there is none
	plain     *bpf.VM
}

// ErrConstant says that tcpdump sees a division by zero or a shift too far. It sees them where there are none, too.
var ErrConstant = errors.New("a constant that can't be")

// Compile asks tcpdump for both of its programs: as it would run it, and as its optimizer found it.
func Compile(ctx context.Context, text string) (*Reference, error) {
	plain, err := ask(ctx, "-O", text)
	if err != nil {
		return nil, err
	}
	optimized, err := ask(ctx, "", text)
	if err != nil && strings.Contains(err.Error(), "expression rejects all packets") {
		return &Reference{plain: plain}, nil
	}
	if errors.Is(err, ErrConstant) {
		return &Reference{plain: plain, failed: true}, nil
	}
	return &Reference{optimized: optimized, plain: plain}, err
}

func ask(ctx context.Context, option, text string) (*bpf.VM, error) {
	args := []string{"-y", "EN10MB", "-ddd"}
	if option != "" {
		args = append(args, option)
	}
	cmd := exec.CommandContext(ctx, "tcpdump", append(args, "--", text)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil && (strings.Contains(complaints.String(), "by zero") || strings.Contains(complaints.String(), "shift by")) {
		err = errors.Join(err, ErrConstant)
	}
	if err != nil {
		return nil, fmt.Errorf("tcpdump -ddd %q: %w: %s", text, err, complaints.String())
	}
	return program(string(out))
}

// program reads what -ddd prints: a count, then four numbers a line.
func program(text string) (*bpf.VM, error) {
	var raw []bpf.RawInstruction
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if i == 0 {
			continue
		}
		var n [4]uint32
		fields := strings.Fields(line)
		if len(fields) != len(n) {
			return nil, fmt.Errorf("line %q of tcpdump's program", line)
		}
		for at, f := range fields {
			v, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("line %q of tcpdump's program: %w", line, err)
			}
			n[at] = uint32(v)
		}
		raw = append(raw, bpf.RawInstruction{Op: uint16(n[0]), Jt: uint8(n[1]), Jf: uint8(n[2]), K: n[3]})
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		return nil, fmt.Errorf("tcpdump's program has instructions that nobody knows: %v", code)
	}
	return bpf.NewVM(code)
}

// Match tells what tcpdump's programs say of a frame. They differ where the optimizer leaves out a byte's test that the frame is too
// short for: then the plain one says what the language means, and agree is false.
func (r *Reference) Match(frame []byte) (match, agree bool, err error) {
	plain, err := r.plain.Run(frame)
	if err != nil {
		return false, false, fmt.Errorf("run tcpdump's plain program: %w", err)
	}
	optimized := 0
	if r.optimized != nil {
		if optimized, err = r.optimized.Run(frame); err != nil {
			return false, false, fmt.Errorf("run tcpdump's optimized program: %w", err)
		}
	}
	return plain > 0, !r.failed && (plain > 0) == (optimized > 0), nil
}
