// SPDX-License-Identifier: Apache-2.0

package config

import "slices"

// Switches are what the file says of a service's enforcement; nil = nothing, so that it is as the file's.
type Switches struct {
	Enforce, Limits *bool
	Prefix, Service *bool // of limits.prefix and limits.service
}

// Own is what the file itself says of a service; of "", what it says for all.
func (c *Config) Own(service string) Switches { return c.own[service] }

// Copy is one whose services' switches can be moved without touching c's.
func (c *Config) Copy() *Config {
	out := *c
	out.Services = slices.Clone(c.Services)
	for i := range out.Services {
		s := &out.Services[i]
		for _, p := range []**bool{&s.Enforce, &s.EnforceGate, &s.Limits.Enforce, &s.Limits.Prefix.Enforce, &s.Limits.Service.Enforce} {
			if *p != nil {
				v := **p
				*p = &v
			}
		}
	}
	return &out
}
