// SPDX-License-Identifier: Apache-2.0

// Package gate is an operator's side of gates: it compiles one from C and keeps the compiled ones over restarts. What a
// gate is, docs/gates.md tells; what may be in one and how it gets into the kernel is loader's to say.
package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"parry"
)

// install is what a machine needs to compile gates.
const install = "it needs clang and libbpf's headers: `apt install clang libbpf-dev linux-libc-dev`, `dnf install clang libbpf-devel kernel-headers`"

// The newest and the oldest clang that are looked for where none is called just clang.
const newestClang, oldestClang = 29, 11

// What callers tell errors of Compile apart by.
var (
	ErrCompile    = errors.New("it doesn't compile") // the compiler refused the source, and has told why
	ErrNoCompiler = errors.New("there is nothing to compile it with")
)

// Compile compiles a gate and returns its object. What the compiler has to say goes to diagnostics.
func Compile(ctx context.Context, source string, diagnostics io.Writer) (_ []byte, err error) {
	if info, err := os.Stat(source); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", source)
	}
	clang, err := findClang()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "parry-gate-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to compile in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "parry_gate.h"), []byte(parry.GateHeader()), 0o600); err != nil {
		return nil, fmt.Errorf("write parry_gate.h: %w", err)
	}
	object := filepath.Join(dir, "gate.o")
	heard := &record{to: diagnostics}
	cmd := exec.CommandContext(ctx, clang, flags(dir, source, object)...)
	cmd.Stdout, cmd.Stderr = heard, heard
	if err := cmd.Run(); err != nil {
		return nil, refused(ctx, source, err, heard.String())
	}
	return os.ReadFile(object)
}

// flags are those that parry's own gates are compiled with. The source's own folder comes first, for its own headers.
func flags(include, source, object string) []string {
	f := []string{
		"-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-fno-stack-protector", "-I", include,
	}
	if arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]; arch != "" {
		f = append(f, "-idirafter", "/usr/include/"+arch+"-linux-gnu") // where Debian has asm/types.h
	}
	if !filepath.IsAbs(source) {
		source = "." + string(filepath.Separator) + source // whatever its name begins with, it is no flag
	}
	return append(f, "-c", source, "-o", object)
}

func refused(ctx context.Context, source string, err error, heard string) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &exit):
		return fmt.Errorf("run clang: %w", err)
	case strings.Contains(heard, "'bpf/bpf_") || strings.Contains(heard, "'linux/") || strings.Contains(heard, "'asm/"):
		return fmt.Errorf("%s: %w: headers are missing; %s", source, ErrCompile, install)
	case strings.Contains(heard, "create target") || strings.Contains(heard, "unknown target"):
		return fmt.Errorf("%s: %w: this clang was built without BPF; %s", source, ErrCompile, install)
	}
	return fmt.Errorf("%s: %w", source, ErrCompile)
}

// findClang looks for clang, or the newest that has its number in its name.
func findClang() (string, error) {
	if path, err := exec.LookPath("clang"); err == nil {
		return path, nil
	}
	for n := newestClang; n >= oldestClang; n-- {
		if path, err := exec.LookPath(fmt.Sprintf("clang-%d", n)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s; or compile it on another machine and bring the .o", ErrNoCompiler, install)
}

// record hands on what it is told and remembers the beginning of it.
type record struct {
	to   io.Writer
	kept strings.Builder
}

// Write hands on.
func (t *record) Write(b []byte) (int, error) {
	const most = 64 << 10
	if room := most - t.kept.Len(); room > 0 {
		t.kept.Write(b[:min(len(b), room)])
	}
	return t.to.Write(b)
}

func (t *record) String() string { return t.kept.String() }
