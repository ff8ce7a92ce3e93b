// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/spell"
)

// The exit codes.
const (
	exitFailed = 1
	exitUsage  = 2 // a bad command line or configuration
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// report tells why a command failed and picks the exit code.
func report(cmd *cobra.Command, err error, w io.Writer) int {
	var usage usageError
	var faults config.Errors
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(w, "%s: %v\nsee `%s --help`\n", cmd.CommandPath(), err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, &faults), errors.Is(err, api.ErrConfig):
		fmt.Fprintln(w, err) // a line for each fault: file:line:column first, for editors
		return exitUsage
	}
	fmt.Fprintf(w, "%s: %v%s\n", cmd.CommandPath(), err, advice(err, os.Geteuid()))
	return exitFailed
}

// advice is what to do about what the kernel does not allow this user.
func advice(err error, uid int) string {
	if uid != 0 && errors.Is(err, fs.ErrPermission) {
		return ": run it with sudo"
	}
	return ""
}

// group makes a command that only holds others.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !cmd.HasParent() {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		if len(args) == 0 {
			return usagef("what to do? %s", strings.Join(names, ", "))
		}
		if near, ok := spell.Nearest(args[0], names); ok {
			return usagef("there is no command %q: did you mean %s?", args[0], near)
		}
		return usagef("there is no command %q; there are %s", args[0], strings.Join(names, ", "))
	}
	return cmd
}

// badFlag turns pflag's error into a usageError with the nearest flag.
func badFlag(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usagef("--%s: %w", invalid.GetFlag().Name, badValue(invalid))
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usageError{err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := unknown.GetSpecifiedName()
	if near, ok := spell.Nearest(name, names); ok {
		return usagef("there is no flag --%s: did you mean --%s?", name, near)
	}
	return usagef("there is no flag --%s", name)
}

// badValue says why a flag's value is none. pflag hands on what Go's parsers say, which names them and not what they want.
func badValue(invalid *pflag.InvalidValueError) error {
	err := errors.Unwrap(invalid)
	var number *strconv.NumError
	switch {
	case errors.As(err, &number) && errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%q is too large", invalid.GetValue())
	case errors.As(err, &number) && number.Func == "ParseUint":
		return fmt.Errorf("%q is not a whole number from 0 on", invalid.GetValue())
	case errors.As(err, &number):
		return fmt.Errorf("%q is not a whole number", invalid.GetValue())
	case strings.HasPrefix(err.Error(), "time: "):
		return fmt.Errorf("%q is not a duration like 500ms, 90s or 1h30m", invalid.GetValue())
	}
	return err
}

// badArgs makes usageErrors of what the argument checks of all commands find, cobra's own included.
func badArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			var usage usageError
			if err == nil || errors.As(err, &usage) {
				return err
			}
			return usageError{err}
		}
	}
	for _, c := range cmd.Commands() {
		badArgs(c)
	}
}

// noArgs refuses arguments.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("it takes no argument, got %q", args[0])
	}
	return nil
}

// oneArg wants exactly one, which is called what.
func oneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usagef("name %s", what)
		case 1:
			return nil
		}
		return usagef("it takes one argument, %s; got %q too", what, args[1])
	}
}

// someArgs wants one or more, which are called what.
func someArgs(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("name %s", what)
		}
		return nil
	}
}
