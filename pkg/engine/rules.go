// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/rule"
	"parry/pkg/spell"
	"parry/pkg/state"
)

const (
	bucketRules = "rules"
	keyNext     = "next" // the number that the next rule gets
)

// keptRule is a rule as it is kept. Its slot is where the fast path counts for it: it stays while the rule does, so that an edge
// that is adopted goes on counting.
type keptRule struct {
	ID          uint32     `json:"id"`
	Slot        uint16     `json:"slot"`
	Expression  string     `json:"expression"`
	Action      string     `json:"action"`
	Service     string     `json:"service,omitempty"`
	Monitor     bool       `json:"monitor,omitempty"`
	Established bool       `json:"established,omitempty"`
	Added       time.Time  `json:"added"`
	Expires     *time.Time `json:"expires,omitempty"`
}

// operatorRule is a rule that is understood.
type operatorRule struct {
	keptRule
	expr   *rule.Expr
	action rule.Action
	until  uint64 // Expires as programs compare it; 0 = never, or not known yet
}

// rules are the operator's, in the order in which they were added.
type rules struct {
	store state.Store // nil: they are forgotten at a restart
	all   []*operatorRule
	next  uint32
}

// understand reads what a rule says.
func understand(k keptRule) (*operatorRule, error) {
	r := &operatorRule{keptRule: k}
	var err error
	if r.expr, err = rule.Parse(k.Expression); err != nil {
		return nil, err
	}
	if r.action, err = rule.ParseAction(k.Action); err != nil {
		return nil, err
	}
	return r, nil
}

// recallRules reads what was kept. One that can't be read is left out, and said.
func recallRules(ctx context.Context, m *memory) *rules {
	r := &rules{store: m.store, next: 1}
	for _, e := range m.list(ctx, bucketRules) {
		if e.Key == keyNext {
			m.fault("read the number of the next rule", json.Unmarshal(e.Value, &r.next))
			continue
		}
		var k keptRule
		err := json.Unmarshal(e.Value, &k)
		if err == nil {
			var known *operatorRule
			if known, err = understand(k); err == nil && k.Slot < loader.RuleSlots {
				r.all = append(r.all, known)
			}
		}
		if err != nil {
			m.fault("use rule "+e.Key+", which was kept", err)
		}
		r.next = max(r.next, k.ID+1)
	}
	slices.SortFunc(r.all, func(a, b *operatorRule) int { return int(a.ID) - int(b.ID) })
	r.all = slices.DeleteFunc(r.all, func(k *operatorRule) bool { return k.over(m.now()) })
	return r
}

func (k *operatorRule) over(now time.Time) bool { return k.Expires != nil && !now.Before(*k.Expires) }

func ruleKey(id uint32) string { return fmt.Sprintf("%010d", id) }

// plan is what the fast path is to have of them.
func planRules(all []*operatorRule, expiry func(time.Time) (uint64, error)) ([]loader.Rule, error) {
	var out []loader.Rule
	for _, r := range all {
		if r.Expires != nil && r.until == 0 {
			var err error
			if r.until, err = expiry(*r.Expires); err != nil {
				return nil, err
			}
		}
		out = append(out, loader.Rule{
			Rule:    rule.Rule{Number: r.ID, Slot: r.Slot, Expr: r.expr, Action: r.action, Monitor: r.Monitor, Expires: r.until},
			Service: r.Service, Established: r.Established,
		})
	}
	return out, nil
}

// slot is one that no rule has.
func (r *rules) slot() (uint16, bool) {
	taken := map[uint16]bool{}
	for _, k := range r.all {
		taken[k.Slot] = true
	}
	for n := range uint16(loader.RuleSlots) {
		if !taken[n] {
			return n, true
		}
	}
	return 0, false
}

// Rules lists them, with what each did.
func (a edgeAPI) Rules(context.Context) ([]api.Rule, error) {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []api.Rule
	for _, r := range e.rules.all {
		shown, err := e.shownRule(r)
		if err != nil {
			return nil, err
		}
		list = append(list, shown)
	}
	return list, nil
}

// shownRule is a rule in the words of the API. e.mu is held.
func (e *Engine) shownRule(r *operatorRule) (api.Rule, error) {
	n, err := e.edge.RuleCount(r.Slot)
	return api.Rule{
		ID: r.ID, Expression: r.Expression, Action: r.action.String(), Service: r.Service, Monitor: r.Monitor, Established: r.Established,
		Added: r.Added, Expires: r.Expires, Packets: n.Packets, Bytes: n.Bytes, Dropped: n.Dropped, WouldDrop: n.Shadow,
	}, err
}

// AddRule adds one behind the others.
func (a edgeAPI) AddRule(ctx context.Context, n api.NewRule) (api.Rule, error) {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	made, err := e.newRule(n)
	if err != nil {
		return api.Rule{}, err
	}
	next := append(slices.Clone(e.rules.all), made)
	if err := e.wantRules(next, n.Force); err != nil {
		return api.Rule{}, err
	}
	if err := e.edge.ResetRule(made.Slot); err != nil {
		return api.Rule{}, err
	}
	if err := e.useRules(next); err != nil {
		return api.Rule{}, err
	}
	e.rules.next = made.ID + 1
	text := fmt.Sprintf("rule %d: %s %q", made.ID, made.action, made.Expression)
	e.events.Publish(event.Event{Type: event.RuleAdd, Service: made.Service, Text: text, Data: map[string]any{"rule": made.keptRule}})
	e.log.Info("a rule is added", "rule", made.ID, "action", made.action.String(), "expression", made.Expression, "service", made.Service)
	if err := e.rules.keep(ctx, made); err != nil {
		return api.Rule{}, fmt.Errorf("rule %d judges packets, but will be gone after a restart: %w", made.ID, err)
	}
	return e.shownRule(made)
}

// newRule is a rule as it was asked for. e.mu is held.
func (e *Engine) newRule(n api.NewRule) (*operatorRule, error) {
	slot, ok := e.rules.slot()
	if !ok {
		return nil, api.Mark(api.ErrFull, fmt.Errorf("there are %d rules: at most as many", loader.RuleSlots))
	}
	if n.Service != "" && e.cfg.Service(n.Service) == nil {
		var names []string
		for i := range e.cfg.Services {
			names = append(names, e.cfg.Services[i].Name)
		}
		text := fmt.Sprintf("there is no service %q", n.Service)
		if near, ok := spell.Nearest(n.Service, names); ok {
			text += ": did you mean " + near + "?"
		}
		return nil, api.Mark(api.ErrInvalid, errors.New(text))
	}
	made, err := understand(keptRule{
		ID: e.rules.next, Slot: slot, Expression: n.Expression, Action: n.Action, Service: n.Service, Monitor: n.Monitor, Established: n.Established,
		Added: time.Now(), Expires: n.Expires,
	})
	var wrong *rule.Error
	if errors.As(err, &wrong) {
		err = errors.New(wrong.Shown())
	}
	return made, api.Mark(api.ErrInvalid, err)
}

// wantRules refuses rules by which a service would lose every packet, unless that was so before or is meant. e.mu is held.
func (e *Engine) wantRules(next []*operatorRule, force bool) error {
	if force {
		return nil
	}
	for i := range e.cfg.Services {
		s := &e.cfg.Services[i]
		sent := rule.Witnesses(frontsOf(s))
		if rule.AllDropped(rulesFor(next, s.Name), sent) && !rule.AllDropped(rulesFor(e.rules.all, s.Name), sent) {
			return api.Mark(api.ErrInvalid, fmt.Errorf("it would drop every packet that players send to service %s (each of %d kinds that were tried): --force if that is meant",
				s.Name, len(sent)))
		}
	}
	return nil
}

// rulesFor are those that judge a service's packets.
func rulesFor(all []*operatorRule, service string) []rule.Rule {
	var out []rule.Rule
	for _, r := range all {
		if r.Service == "" || r.Service == service {
			out = append(out, rule.Rule{Expr: r.expr, Action: r.action, Monitor: r.Monitor})
		}
	}
	return out
}

func frontsOf(s *config.Service) []rule.Front {
	var all []rule.Front
	for _, l := range s.Listen {
		for _, p := range s.Protocol {
			all = append(all, rule.Front{Addr: l.Addr, Proto: protocol(p), First: l.First, Last: l.Last})
		}
	}
	return all
}

// useRules makes the fast path judge by these. On error it judges by those before. e.mu is held.
func (e *Engine) useRules(next []*operatorRule) error {
	plan, err := planRules(next, e.edge.RuleExpiry)
	if err != nil {
		return err
	}
	if err := e.edge.SetRules(plan); errors.Is(err, loader.ErrRules) {
		return api.Mark(api.ErrInvalid, err)
	} else if err != nil {
		return err
	}
	e.rules.all, e.plan.Rules = next, plan
	return nil
}

// DelRule removes one.
func (a edgeAPI) DelRule(ctx context.Context, id uint32) error {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.rules.all, func(r *operatorRule) bool { return r.ID == id })
	if i < 0 {
		return api.Mark(api.ErrNotFound, fmt.Errorf("there is no rule %d: `parry rule list` shows them", id))
	}
	return e.dropRules(ctx, []*operatorRule{e.rules.all[i]}, "")
}

// dropRules removes rules. why is said of each. e.mu is held.
func (e *Engine) dropRules(ctx context.Context, gone []*operatorRule, why string) error {
	left := slices.DeleteFunc(slices.Clone(e.rules.all), func(r *operatorRule) bool { return slices.Contains(gone, r) })
	if err := e.useRules(left); err != nil {
		return err
	}
	for _, r := range gone {
		e.events.Publish(event.Event{Type: event.RuleDel, Service: r.Service, Text: "rule " + strconv.Itoa(int(r.ID)) + " is gone" + why,
			Data: map[string]any{"rule": r.keptRule}})
		e.log.Info("a rule is gone"+why, "rule", r.ID, "expression", r.Expression)
	}
	if err := e.rules.forget(ctx, gone); err != nil {
		return fmt.Errorf("it is gone, but will be back after a restart: %w", err)
	}
	return nil
}

// expireRules removes those whose time is over: their programs have not asked them since. e.mu is not held.
func (e *Engine) expireRules(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var gone []*operatorRule
	now := time.Now()
	for _, r := range e.rules.all {
		if r.over(now) {
			gone = append(gone, r)
		}
	}
	if len(gone) > 0 {
		e.fault("remove rules whose time is over", e.dropRules(ctx, gone, ": its time is over"))
	}
}

// keep writes a rule.
func (r *rules) keep(ctx context.Context, made *operatorRule) error {
	if r.store == nil {
		return errors.New("the state folder can't be used: the log says why")
	}
	doc, err := json.Marshal(made.keptRule)
	if err != nil {
		return fmt.Errorf("encode a rule: %w", err)
	}
	return r.store.Apply(ctx, bucketRules, []state.Change{
		{Key: ruleKey(made.ID), Value: doc},
		{Key: keyNext, Value: json.RawMessage(strconv.FormatUint(uint64(r.next), 10))},
	})
}

func (r *rules) forget(ctx context.Context, gone []*operatorRule) error {
	if r.store == nil {
		return nil
	}
	var changes []state.Change
	for _, k := range gone {
		changes = append(changes, state.Change{Key: ruleKey(k.ID)})
	}
	return r.store.Apply(ctx, bucketRules, changes)
}
