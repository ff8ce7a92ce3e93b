// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/doctor"
	"parry/pkg/engine"
	"parry/pkg/nic"
	"parry/pkg/show"
)

// newDoctorCommand is `parry doctor`.
func newDoctorCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what will work on this machine, what won't, what it costs, and how it is mended",
		Long: `Look at kernel, memory, interfaces, drivers, queues, offloads, the host's own network settings and ports. For each it
says ok, or what it costs if it works at a price, or that it won't work; and the command that mends it. It changes
nothing. With -c it looks at what that file asks for; without, at the interfaces that lead outside.
Exit code 1: something won't work.`,
		Example: `  sudo parry doctor
  sudo parry doctor -c /etc/parry/parry.yaml
  sudo parry doctor --interface eth1 --json | jq '.findings[] | select(.state != "ok")'`,
		Args: noArgs,
	}
	path := addConfig(cmd)
	names := cmd.Flags().StringArray("interface", nil, "look at this `interface` (may be given again)")
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ask, err := askOf(cmd, *path, *names)
		if err != nil {
			return err
		}
		nics, err := nic.Read()
		if err != nil {
			return err
		}
		facts, err := doctor.Read("/", nics)
		if err != nil {
			return err
		}
		r := doctor.Judge(facts, ask)
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), r)
		} else {
			err = r.Text(cmd.OutOrStdout(), show.StyleFor(cmd.OutOrStdout(), getenv))
		}
		switch {
		case err != nil:
			return err
		case r.Fails == 1:
			return errors.New("one thing won't work")
		case r.Fails > 1:
			return fmt.Errorf("%d things won't work", r.Fails)
		}
		return nil
	}
	return cmd
}

// askOf is what the command line and a file ask to be looked at.
func askOf(cmd *cobra.Command, path string, names []string) (doctor.Ask, error) {
	ask := doctor.Ask{Interfaces: names}
	socket := api.DefaultSocket
	if path != "" {
		c, err := config.Load(path)
		if err != nil {
			return ask, err
		}
		ask.Config, socket = c, c.API.Socket
		if ask.Faults, err = hostFaults(c); err != nil {
			return ask, err
		}
		if len(names) == 0 {
			// What is wrong with them is among the faults.
			ask.Interfaces, _ = engine.Interfaces(c)
		}
		if len(ask.Interfaces) == 0 {
			for _, i := range c.Interfaces {
				ask.Interfaces = append(ask.Interfaces, i.Name)
			}
		}
	}
	ask.Runs = api.Dial(socket).Ping(cmd.Context()) == nil
	return ask, nil
}

// hostFaults are why a file can't work on this host.
func hostFaults(c *config.Config) ([]string, error) {
	_, err := engine.Interfaces(c)
	var faults config.Errors
	if err == nil || !errors.As(err, &faults) {
		return nil, err
	}
	var all []string
	for _, f := range faults {
		all = append(all, strings.TrimSpace(f.Error()))
	}
	return all, nil
}
