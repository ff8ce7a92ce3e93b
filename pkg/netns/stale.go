// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	worldsDir = "/run/parry-worlds" // one directory a world, each with the files below
	namesDir  = "/run/netns"        // where iproute2 keeps its named namespaces
	lockFile  = "lock"              // flocked by the owner as long as it lives
	pidsFile  = "processes"         // "pid start-time" of each process that the world started
)

// claim makes the world's directory and locks it, under the lock that also keeps RemoveStale away: a directory
// without its lock would look like a crash.
func (w *World) claim() error {
	unlock, err := lockWorlds()
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return err
	}
	w.lock, err = os.OpenFile(filepath.Join(w.dir, lockFile), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// lockWorlds serialises making and removing worlds over all processes of the machine.
func lockWorlds() (unlock func(), err error) {
	if err := os.MkdirAll(worldsDir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(worldsDir, ".lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", worldsDir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing drops the lock; nothing was written
}

// RemoveStale removes every world whose owner is gone: its processes, links, namespaces, mounts and directory.
func RemoveStale(log *slog.Logger) error {
	unlock, err := lockWorlds()
	if err != nil {
		return err
	}
	defer unlock()
	dirs, err := os.ReadDir(worldsDir)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range dirs {
		if !d.IsDir() || ownerLives(filepath.Join(worldsDir, d.Name())) {
			continue
		}
		log.Info("removing the leftovers of a crashed world", "world", d.Name())
		errs = append(errs, removeStaleWorld(d.Name()))
	}
	errs = append(errs, removeOrphans(log))
	return errors.Join(errs...)
}

// ownerLives tries the lock of a world's directory: a living owner holds it, however process ids were reused.
func ownerLives(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

func removeStaleWorld(name string) error {
	dir := filepath.Join(worldsDir, name)
	errs := []error{killRecorded(filepath.Join(dir, pidsFile))}
	names, err := filepath.Glob(filepath.Join(namesDir, name+"-*"))
	errs = append(errs, err)
	for _, path := range names {
		errs = append(errs, removeNamed(path))
	}
	errs = append(errs, removeDir(dir))
	return errors.Join(errs...)
}

// removeOrphans removes namespaces whose world has no directory (someone emptied /run/parry-worlds) and whose
// process is gone.
func removeOrphans(log *slog.Logger) error {
	names, err := filepath.Glob(filepath.Join(namesDir, "parry-*-*-*"))
	errs := []error{err}
	for _, path := range names {
		base := filepath.Base(path)
		world := base[:strings.LastIndexByte(base, '-')]
		if _, err := os.Stat(filepath.Join(worldsDir, world)); err == nil {
			continue
		}
		pid, err := strconv.Atoi(strings.SplitN(base, "-", 3)[1])
		if err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		log.Info("removing the namespace of a crashed world", "namespace", base)
		errs = append(errs, removeNamed(path))
	}
	return errors.Join(errs...)
}

// killRecorded kills the processes that a crashed owner recorded, each only if its start time says that the id was
// not given to another process since.
func killRecorded(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	var errs []error
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var pid int
		var start uint64
		if n, _ := fmt.Sscan(lines.Text(), &pid, &start); n != 2 || pid <= 1 {
			continue
		}
		if now, err := startTime(pid); err != nil || now != start {
			continue
		}
		if err := unix.Kill(-pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process group %d: %w", pid, err))
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}

// startTime returns when a process started, in clock ticks since boot (field 22 of /proc/PID/stat).
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command name (field 2) may hold spaces and brackets: count from its last bracket.
	rest := stat[strings.LastIndexByte(string(stat), ')')+1:]
	fields := strings.Fields(string(rest))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read /proc/%d/stat: only %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// removeDir unmounts all that is mounted under a world's directory, then removes it. It leaves the directory alone
// while something is mounted there, so that nothing is deleted through a mount.
func removeDir(dir string) error {
	mounts, err := mountsUnder(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// mountsUnder lists the mount points below dir, in the order in which they were mounted.
func mountsUnder(dir string) ([]string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			found = append(found, f[4])
		}
	}
	return found, nil
}
