// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// maxWalkShown is up to how many instructions the verifier is asked to tell all that it does: some 100 bytes each.
const maxWalkShown = 20000

var (
	walkedForm = regexp.MustCompile(`^processed (\d+) insns`)
	stepForm   = regexp.MustCompile(`^(\d+): \([0-9a-f]{2}\) `)
	looseForm  = regexp.MustCompile(`\binsn (\d+)\b`)
	frameForm  = regexp.MustCompile(`^(processed |verification time|stack depth|max_states|from \d+ to \d+|\d+: |;|func#|caller:|callee:|parent |last_idx|regs=|mark_precise|cur state:|old state:|$)`)
)

// walked is how many instructions the verifier went through before it refused.
func walked(v *ebpf.VerifierError) int {
	for _, line := range v.Log {
		if m := walkedForm.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
	}
	return maxWalkShown + 1 // it doesn't say
}

// refusalOf puts a verifier's refusal into words: what is wrong, where, and what the kernel itself said.
func refusalOf(v *ebpf.VerifierError, program asm.Instructions) error {
	const unproven = "what it does can't be proved safe"
	said, means, at := "", unproven, -1
	for _, line := range v.Log {
		line = strings.TrimSpace(line)
		if m := stepForm.FindStringSubmatch(line); m != nil {
			at, _ = strconv.Atoi(m[1])
		}
		if frameForm.MatchString(line) {
			continue
		}
		if words := meaning(line); words != "" {
			said, means = line, words
		} else if said == "" || means == unproven {
			said = line // what it ends with counts
		}
	}
	if m := looseForm.FindStringSubmatch(said); m != nil && at < 0 {
		at, _ = strconv.Atoi(m[1])
	}
	if said == "" {
		return fmt.Errorf("this kernel refuses it: %w", v.Cause)
	}
	where := ""
	if line := sourceOf(program, at); line != nil {
		where = fmt.Sprintf(" at %s:%d: `%s`", filepath.Base(line.FileName()), line.LineNumber(), strings.TrimSpace(line.Line()))
	}
	return fmt.Errorf("the kernel's verifier refuses it%s: %s (%w)", where, means, errors.New(clean(said)))
}

// sourceOf is the line of C that an instruction came from; nil where the object doesn't say.
func sourceOf(program asm.Instructions, at int) *btf.Line {
	var last *btf.Line
	for iter := program.Iterate(); iter.Next(); {
		if at < 0 || int(iter.Offset) > at {
			break
		}
		if line, ok := iter.Ins.Source().(*btf.Line); ok && line.LineNumber() > 0 {
			last = line
		}
	}
	return last
}

// meaning is what the verifier's words ask for; "" where they are not known.
func meaning(said string) string {
	for _, m := range []struct{ part, words string }{
		{"infinite loop", "it may loop without end: every loop needs a bound that a constant gives"},
		{"back-edge", "it may loop without end: every loop needs a bound that a constant gives"},
		{"too large", "it takes too many steps, or loops without end: every loop needs a small constant bound"},
		{"jumps is too complex", "it takes too many steps, or loops without end: every loop needs a small constant bound"},
		{"loop is not bounded", "it may loop without end: every loop needs a bound that a constant gives"},
		{"invalid access to packet", "it reads the packet where it may have ended: use gate_read, or gate_data with as many bytes as are read"},
		{"invalid access to map value", "it reads or writes beyond the end of a map's value (gate, answer, global)"},
		{"invalid access to memory", "it reads or writes beyond the end of what it may"},
		{"_or_null'", "it uses a pointer that may be NULL: compare it first"},
		{"invalid mem access", "it uses as a pointer what is none, or a packet pointer from before the packet was changed"},
		{"invalid read from stack", "it reads a local variable that was never written, or beyond its end"},
		{"invalid write to stack", "it writes beyond the end of a local variable"},
		{"invalid indirect", "it hands on a local variable that was not written whole"},
		{"write into map forbidden", "it writes to a constant"},
		{"read_ok", "it uses a value that was never set"},
		{"stack", "its local variables need more than the 512 bytes that there are"},
		{"unknown func", "it calls what this kernel does not have"},
		{"helper call is not allowed", "it calls what this kernel doesn't allow an XDP program"},
		{"cannot call GPL", `what it calls is for GPL code: end the file with PARRY_GATE_LICENSE;`},
		{"unreachable insn", "some of it can never run: clang -O2 leaves nothing of that kind"},
		{"division by zero", "it divides by zero"},
	} {
		if strings.Contains(said, m.part) {
			return m.words
		}
	}
	return ""
}
