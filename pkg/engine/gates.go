// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"parry/loader"
	ours "parry/loader/gates"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/gate"
	"parry/pkg/spell"
)

// gates are those that services may name: parry's own, and the operator's, which are kept under state:/gates.
type gates struct {
	store   gate.Store
	builtIn map[string]loader.Gate
	own     map[string]loader.Gate
	refused map[string]string // the operator's that can't be used, and why
}

// openGates reads all gates. What can't be used is told when a service names it.
func openGates(state string) (*gates, error) {
	g := &gates{
		store:   gate.Store{Dir: filepath.Join(state, "gates"), Max: loader.MaxGateObject},
		builtIn: map[string]loader.Gate{}, own: map[string]loader.Gate{}, refused: map[string]string{},
	}
	for name, object := range ours.Objects() {
		built, err := loader.ReadGate(object)
		if err == nil && built.Name != name {
			err = fmt.Errorf("it calls itself %s", built.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("parry's own gate %s: %w", name, err)
		}
		g.builtIn[name] = built
	}
	names, err := g.store.Names()
	for _, name := range names {
		if !loader.GateName(name) {
			continue // nobody can name it
		}
		if err := g.read(name); err != nil {
			g.refused[name] = err.Error()
		}
	}
	return g, err
}

// read takes one of the operator's gates from where it is kept.
func (g *gates) read(name string) error {
	if _, taken := g.builtIn[name]; taken {
		return errBuiltIn(name)
	}
	object, err := g.store.Read(name)
	if err != nil {
		return err
	}
	own, err := loader.ReadGate(object)
	if err == nil && own.Name != name {
		err = fmt.Errorf("file %s.o holds gate %s", name, own.Name)
	}
	if err == nil {
		g.own[name] = own
	}
	return err
}

func errBuiltIn(name string) error {
	return fmt.Errorf("%s is the name of one of parry's own gates: call yours otherwise", name)
}

// with is g with another gate of the operator's in it.
func (g *gates) with(own loader.Gate) *gates {
	next := *g
	next.own, next.refused = maps.Clone(g.own), maps.Clone(g.refused)
	next.own[own.Name] = own
	delete(next.refused, own.Name)
	return &next
}

// without is g without one.
func (g *gates) without(name string) *gates {
	next := *g
	next.own, next.refused = maps.Clone(g.own), maps.Clone(g.refused)
	delete(next.own, name)
	delete(next.refused, name)
	return &next
}

// all are the gates that can be used, by name.
func (g *gates) all() []loader.Gate {
	var all []loader.Gate
	for _, from := range []map[string]loader.Gate{g.builtIn, g.own} {
		for _, name := range slices.Sorted(maps.Keys(from)) {
			all = append(all, from[name])
		}
	}
	return all
}

// used are those that services of a configuration name.
func (g *gates) used(c *config.Config) []loader.Gate {
	return slices.DeleteFunc(g.all(), func(known loader.Gate) bool { return len(users(c, known.Name)) == 0 })
}

// names are those that a service may name.
func (g *gates) names() []string {
	var names []string
	for _, known := range g.all() {
		names = append(names, known.Name)
	}
	return names
}

// check tells which services of a configuration name gates that aren't there.
func (g *gates) check(c *config.Config) error {
	var errs config.Errors
	names := g.names()
	for i := range c.Services {
		name, path := c.Services[i].Gate, fmt.Sprintf("services[%d].gate", i)
		if name == "" || slices.Contains(names, name) {
			continue
		}
		if why, ok := g.refused[name]; ok {
			errs = append(errs, c.At(path, "", "gate %q can't be used: %s", name, why))
			continue
		}
		hint, _ := spell.Nearest(name, append(names, "auto", config.GateOff))
		errs = append(errs, c.At(path, hint, "there is no gate %q: `parry gate list` shows them, `parry gate load` adds one", name))
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// gatesFor opens the gates that a configuration may name, and checks that it does. unseen is told when the operator's can't
// be looked at; then only a name that parry's own gates have counts as checked.
func gatesFor(c *config.Config, unseen func(string)) (*gates, error) {
	g, err := openGates(c.State)
	if errors.Is(err, fs.ErrPermission) && unseen != nil {
		unseen(fmt.Sprintf("gates of your own can't be seen without root: %v", err))
		return g, nil
	}
	if err != nil {
		return nil, err
	}
	return g, g.check(c)
}

// users are the services that a gate is shown the strangers of.
func users(c *config.Config, name string) []string {
	services := []string{}
	for i := range c.Services {
		if c.Services[i].Gate == name {
			services = append(services, c.Services[i].Name)
		}
	}
	return services
}

// Gates lists them: parry's own, then the operator's.
func (a edgeAPI) Gates(context.Context) ([]api.Gate, error) {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []api.Gate
	for _, g := range e.gates.all() {
		list = append(list, e.gate(g))
	}
	for _, name := range slices.Sorted(maps.Keys(e.gates.refused)) {
		list = append(list, api.Gate{Name: name, Source: api.GateOperator, Services: users(e.cfg, name), State: api.GateRefused, Detail: e.gates.refused[name]})
	}
	return list, nil
}

// gate is one in the words of the API. e.mu is held.
func (e *Engine) gate(g loader.Gate) api.Gate {
	out := api.Gate{
		Name: g.Name, ABI: g.ABI, Proof: g.Proof.String(), About: g.About, Source: api.GateOperator, Services: users(e.cfg, g.Name),
		State: api.GateUnused, Instructions: g.Instructions,
	}
	if _, ok := e.gates.builtIn[g.Name]; ok {
		out.Source = api.GateBuiltIn
	}
	if len(out.Services) > 0 {
		out.State = api.GateLoaded
	}
	return out
}

// LoadGate adds an operator's gate, or puts it in the place of the one of that name: then services that use it get a new
// generation. It is kept over restarts. What is refused changes nothing.
func (a edgeAPI) LoadGate(_ context.Context, object []byte) (api.Gate, error) {
	own, _, err := loader.TryGate(object) // without e.mu: the verifier may take a second
	if errors.Is(err, loader.ErrGate) {
		return api.Gate{}, api.Mark(api.ErrInvalid, err)
	}
	if err != nil {
		return api.Gate{}, err
	}
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, taken := e.gates.builtIn[own.Name]; taken {
		return api.Gate{}, api.Mark(api.ErrInvalid, errBuiltIn(own.Name))
	}
	staged, err := e.gates.store.Stage(own.Name, object)
	if err != nil {
		return api.Gate{}, err
	}
	if err := e.useGates(e.gates.with(own), own.Name); err != nil {
		return api.Gate{}, errors.Join(err, staged.Abandon())
	}
	if err := staged.Commit(); err != nil {
		return api.Gate{}, fmt.Errorf("gate %s is loaded, but will be gone after a restart: %w", own.Name, err)
	}
	e.events.Publish(event.Event{
		Type: event.GateLoad, Text: fmt.Sprintf("gate %s is loaded; services that use it: %v", own.Name, users(e.cfg, own.Name)),
		Data: map[string]any{"gate": own.Name, "services": users(e.cfg, own.Name)},
	})
	e.log.Info("a gate is loaded", "gate", own.Name, "services", users(e.cfg, own.Name), "instructions", own.Instructions)
	return e.gate(own), nil
}

// useGates makes next the gates that services may name; if some use the one that changed, in a new generation. e.mu is held.
func (e *Engine) useGates(next *gates, changed string) error {
	before := e.gates
	e.gates = next
	if len(users(e.cfg, changed)) == 0 {
		return nil
	}
	if err := e.install(e.cfg, e.ifaces); err != nil {
		e.gates = before
		return err
	}
	return nil
}

// UnloadGate forgets an operator's gate that no service uses.
func (a edgeAPI) UnloadGate(_ context.Context, name string) error {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	_, own := e.gates.own[name]
	_, refused := e.gates.refused[name]
	if _, ok := e.gates.builtIn[name]; ok {
		return api.Mark(api.ErrInvalid, fmt.Errorf("%s is one of parry's own gates: a service doesn't use it with gate: off", name))
	}
	if !own && !refused {
		text := fmt.Sprintf("there is no gate %s", name)
		if near, ok := spell.Nearest(name, slices.Sorted(maps.Keys(e.gates.own))); ok {
			text += ": did you mean " + near + "?"
		}
		return api.Mark(api.ErrNotFound, errors.New(text))
	}
	if services := users(e.cfg, name); len(services) > 0 {
		return api.Mark(api.ErrBusy, fmt.Errorf("gate %s is in use by %v: name another in its place, or off, and `parry reload` first", name, services))
	}
	if err := e.gates.store.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget gate %s: %w", name, err)
	}
	e.gates = e.gates.without(name)
	e.events.Publish(event.Event{Type: event.GateUnload, Text: "gate " + name + " is gone", Data: map[string]any{"gate": name}})
	e.log.Info("a gate is gone", "gate", name)
	return nil
}

// TryGate sees what this machine makes of a gate, and changes nothing. Without the privilege to load it, it is checked as far as
// that goes.
func TryGate(object []byte) (gate.Trial, error) {
	g, cost, err := loader.TryGate(object)
	t := gate.Trial{Name: g.Name, Proof: g.Proof.String(), About: g.About, Instructions: g.Instructions, Tried: err == nil,
		Verified: cost.Verified, MachineCode: cost.MachineCode}
	if errors.Is(err, fs.ErrPermission) && !errors.Is(err, loader.ErrGate) {
		return t, nil
	}
	return t, err
}
