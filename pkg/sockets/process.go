// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Process is one that runs.
type Process struct {
	PID, Parent int
	Name        string   // as the kernel has it: at most 15 bytes
	Exe         string   // path of its program; "" = not to be seen
	Args        []string // its command line
	Folder      string   // that it works in; "" = not to be seen
	Network     string   // its network namespace: equal for those who share one; "" = not to be seen
	Sockets     []uint64 // inodes
}

// Processes lists those that can be seen, by number. Without root most show little.
func Processes(root string) ([]Process, error) {
	entries, err := os.ReadDir(filepath.Join(root, "proc"))
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var all []Process
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := One(root, pid); ok {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b Process) int { return a.PID - b.PID })
	return all, nil
}

// One reads one process; false if there is none (any more).
func One(root string, pid int) (Process, bool) {
	dir := filepath.Join(root, "proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	p := Process{PID: pid}
	// pid (name) state parent …: the name may hold anything, brackets too.
	text := string(stat)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return Process{}, false
	}
	p.Name = text[open+1 : end]
	words := strings.Fields(text[end+1:])
	if len(words) < 2 {
		return Process{}, false
	}
	if p.Parent, err = strconv.Atoi(words[1]); err != nil {
		return Process{}, false
	}
	if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
		p.Args = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	}
	p.Exe, p.Folder, p.Network = link(dir, "exe"), link(dir, "cwd"), link(dir, "ns/net")
	p.Exe = strings.TrimSuffix(p.Exe, " (deleted)")
	p.Sockets = inodes(filepath.Join(dir, "fd"))
	return p, true
}

// link reads where a link leads, "" where that is not to be seen.
func link(dir, name string) string {
	to, err := os.Readlink(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return to
}

func inodes(dir string) []uint64 {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // not allowed, or it has just ended
	}
	var all []uint64
	for _, e := range entries {
		text, ok := strings.CutPrefix(link(dir, e.Name()), "socket:[")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Environ is what a process was started with: the value of a variable, "" where it isn't there or not to be seen.
func Environ(root string, pid int, name string) string {
	text, err := os.ReadFile(filepath.Join(root, "proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return ""
	}
	for v := range strings.SplitSeq(string(text), "\x00") {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}
