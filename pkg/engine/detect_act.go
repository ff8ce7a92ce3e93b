// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/config"
	"parry/pkg/detect"
	"parry/pkg/event"
	"parry/pkg/state"
)

const (
	verdictsAtOnce = 1024
	tidyEvery      = 10 * time.Second
	toldOneByOne   = 32 // decisions within that, which have an event of their own; the others share one
)

// run carries out what the detector decides, until ctx ends, and keeps what is worth it.
func (d *detection) run(ctx context.Context) error {
	tidy, save := time.NewTicker(tidyEvery), time.NewTicker(saveEvery)
	defer tidy.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
			defer cancel()
			d.save(last)
			return nil
		case v := <-d.verdicts:
			d.carryOut(d.more(v))
		case <-tidy.C:
			_, err := d.edge.SweepDoubts()
			d.fault("forget who is doubted no more", err)
			d.book.tidy(d.now())
			d.tellRest()
		case <-save.C:
			d.save(ctx)
		}
	}
}

// tellSessions has live sessions be judged anew after blocks, at most 25 times a second: what waits for that is not the next block.
func (d *detection) tellSessions(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.blocked:
			d.fault("have sessions judged anew", d.lists.Recheck())
		}
	}
}

// more takes what waits beside the first.
func (d *detection) more(first verdict) []verdict {
	all := []verdict{first}
	for len(all) < verdictsAtOnce {
		select {
		case v := <-d.verdicts:
			all = append(all, v)
		default:
			return all
		}
	}
	return all
}

func (d *detection) carryOut(all []verdict) {
	var blocks []*detect.Decision
	for _, v := range all {
		switch {
		case v.sign != nil:
			d.events.Publish(event.Event{Type: event.DetectSign, Service: d.serviceName(v.sign.Service), Text: v.sign.Text(), Data: map[string]any{"sign": v.sign}})
		case v.decision.Scope == detect.Unproven:
			d.doubt(v.decision)
		default:
			blocks = append(blocks, v.decision)
		}
	}
	if len(blocks) > 0 {
		d.block(blocks)
	}
}

// doubt has a source prove its address, for a while.
func (d *detection) doubt(v *detect.Decision) {
	if d.book.isLifted(keyOfDecision(v), d.now()) {
		return
	}
	kind, text := event.DetectWould, "%s would have to prove its address for %v: %s"
	if d.is(config.DetectBlock) {
		kind, text = event.DetectDoubt, "%s has to prove its address for %v: %s"
		if err := d.edge.AddDoubt(loader.Doubt{Prefix: v.Prefix, Service: uint32(v.Service), For: v.For}); err != nil {
			d.fault("doubt a source", err)
			return
		}
	}
	d.note(v, kind, text)
}

// block puts sources on the block list. What a person put there stays as it is, and what a person took off stays off.
func (d *detection) block(all []*detect.Decision) {
	now := d.now()
	var entries []loader.Entry
	var done []*detect.Decision
	for _, v := range all {
		if !d.mayBlock(v, now) {
			continue
		}
		done = append(done, v)
		entries = append(entries, loader.Entry{
			EntryKey: keyOfDecision(v), Reason: v.Reason.String(), Source: loader.FromDetect, Confidence: uint8(math.Round(100 * v.Confidence)), Added: now, Expires: now.Add(v.For),
		})
	}
	kind, text := event.DetectWould, "would block %s for %v: %s"
	if d.is(config.DetectBlock) {
		kind, text = event.BlockAdd, "blocked %s for %v: %s"
		if err := d.lists.Deny(entries); err != nil {
			d.fault("block who attacks", err)
			return
		}
		d.fault("remember who is blocked", d.decided(loader.Deny, entries))
		select {
		case d.blocked <- struct{}{}:
		default:
		}
	}
	for _, v := range done {
		d.note(v, kind, text)
	}
}

func keyOfDecision(v *detect.Decision) loader.EntryKey {
	return loader.EntryKey{Prefix: v.Prefix, Service: uint32(v.Service)}
}

// mayBlock: nothing that a person said is against it.
func (d *detection) mayBlock(v *detect.Decision, now time.Time) bool {
	if d.book.isLifted(keyOfDecision(v), now) {
		return false
	}
	was, ok, err := d.lists.Get(loader.Deny, keyOfDecision(v))
	d.fault("look a source up in the block list", err)
	return err == nil && (!ok || was.Source == loader.FromDetect)
}

// note writes down why, and tells of it: one by one as long as there are few, for an attack of many sources is to push out of the events
// nothing else.
func (d *detection) note(v *detect.Decision, kind, text string) {
	now := d.now().UTC()
	e := api.Evidence{
		Prefix: v.Prefix, Service: d.serviceName(v.Service), Scope: v.Scope.String(), Reason: v.Reason.String(), Confidence: v.Confidence,
		At: now, Expires: now.Add(v.For), Level: v.Level, Players: v.Players, Facts: v.Facts, Text: v.Text(), Acted: d.is(config.DetectBlock),
	}
	e.DelayMS = float64(d.clock()-min(v.At, d.clock())) / 1e6
	d.book.add(e, v.Service)
	if d.told++; d.told > toldOneByOne {
		d.untold[kind]++
		return
	}
	text = fmt.Sprintf(text, blocklist.FormatPrefix(v.Prefix), v.For, e.Text)
	d.log.Info(text)
	d.events.Publish(event.Event{Type: kind, Service: e.Service, Text: text, Data: map[string]any{
		"entries": 1, "first": []blocklist.Entry{{
			Prefix: v.Prefix, Service: e.Service, Reason: e.Reason, Source: "detect", Confidence: v.Confidence, Added: e.At, Expires: &e.Expires,
		}}, "scope": e.Scope, "evidence": v.Facts, "level": v.Level, "players": v.Players, "delay_ms": e.DelayMS,
	}})
}

// tellRest tells of decisions that had no event of their own, by kind.
func (d *detection) tellRest() {
	for kind, n := range d.untold {
		text := fmt.Sprintf("%d more sources within %v, of whom nothing was told one by one (parry block explain ADDR)", n, tidyEvery)
		d.log.Info(text, "kind", kind)
		d.events.Publish(event.Event{Type: kind, Text: text, Data: map[string]any{"entries": n, "source": "detect"}})
	}
	d.told = 0
	clear(d.untold)
}

// recall takes over what an earlier daemon kept.
func (d *detection) recall(ctx context.Context) {
	if d.store == nil {
		return
	}
	d.saved = map[string]detect.Record{}
	entries, err := d.store.List(ctx, detect.Bucket)
	d.fault("read who attacked before", err)
	var all []detect.Record
	for _, e := range entries {
		var r detect.Record
		if err := json.Unmarshal(e.Value, &r); err != nil {
			d.fault("read who attacked before", err)
			continue
		}
		all = append(all, r)
		d.saved[e.Key] = r
	}
	d.mu.Lock()
	err = d.det.Import(all, d.now())
	d.mu.Unlock()
	d.fault("take over who attacked before", err)
	entries, err = d.store.List(ctx, bucketEvidence)
	d.fault("read why blocks stand", errors.Join(err, d.book.load(entries, d.now())))
}

// save writes what has changed.
func (d *detection) save(ctx context.Context) {
	if d.store == nil {
		return
	}
	d.mu.Lock()
	records := d.det.Export(d.now())
	d.mu.Unlock()
	var changes []state.Change
	next := make(map[string]detect.Record, len(records))
	for i := range records {
		r := &records[i]
		key := r.Key()
		next[key] = *r
		if was, ok := d.saved[key]; ok && sameRecord(&was, r) {
			continue
		}
		doc, err := json.Marshal(r)
		if err != nil {
			d.fault("keep who attacks", err)
			return
		}
		changes = append(changes, state.Change{Key: key, Value: doc})
	}
	for key := range d.saved {
		if _, ok := next[key]; !ok {
			changes = append(changes, state.Change{Key: key})
		}
	}
	if err := d.store.Apply(ctx, detect.Bucket, changes); err != nil {
		d.fault("keep who attacks", err)
	} else {
		d.saved = next
	}
	d.fault("keep why blocks stand", d.book.save(ctx, d.store))
}

// sameRecord tells whether one need not be written anew: clocks differ by a little from time to time.
func sameRecord(a, b *detect.Record) bool {
	return a.Offences == b.Offences && a.Reason == b.Reason && a.People == b.People && b.Until.Sub(a.Until).Abs() < time.Minute && b.Seen.Sub(a.Seen).Abs() < 10*time.Minute
}
