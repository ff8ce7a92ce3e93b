// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errAgain ends a link that is to be read anew from some place.
var errAgain = errors.New("it is read again: some of it was from the future")

const earlyAgain = time.Minute

// following is a stream that is followed.
type following struct {
	name, stream, filter string
	subject              func(*Entry) string                        // under which an entry is told there
	caughtUp             func(context.Context, jetstream.JetStream) // is called once, when all was read; nil: nothing is to be done
}

// follow reads a stream from where it was left, or from its beginning if it is another one, until the connection ends.
func (h *Hub) follow(ctx context.Context, nc *nats.Conn, f following) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	nc.SetClosedHandler(func(nc *nats.Conn) { cancel(errors.Join(errors.New("the connection ended"), nc.LastError())) })
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerWithin), jetstream.WithPublishAsyncMaxPending(2*atOnce), jetstream.WithPublishAsyncTimeout(answerWithin))
	if err != nil {
		return fmt.Errorf("use its JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, f.stream)
	if err != nil {
		return fmt.Errorf("ask for its stream: %w", err)
	}
	from := h.position(f.name, stream.CachedInfo().Created)
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{f.filter}, InactiveThreshold: idleConsumer}
	if from > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from+1
	}
	consumer, err := stream.OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("read its stream: %w", err)
	}
	told := make(chan jetstream.Msg, atOnce)
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case told <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(2*atOnce), jetstream.PullExpiry(answerWithin), jetstream.PullHeartbeat(answerWithin/2), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { cancel(err) }))
	if err != nil {
		return fmt.Errorf("read its stream: %w", err)
	}
	defer func() {
		cancel(nil)
		reading.Stop()
		<-reading.Closed()
	}()
	h.linkUp(f.name)
	if consumer.CachedInfo().NumPending == 0 && f.caughtUp != nil {
		f.caughtUp(ctx, js)
		f.caughtUp = nil
	}
	return h.hearAll(ctx, f, js, told)
}

// position is the last message of a stream that was read; 0: none, or it is not the stream that was read.
func (h *Hub) position(name string, made time.Time) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[name]
	if !l.Stream.Equal(made) {
		l.Stream, l.At = made, 0
	}
	return l.At
}

// hearAll takes what comes, a batch at a time, until the link ends.
func (h *Hub) hearAll(ctx context.Context, f following, js jetstream.JetStream, told <-chan jetstream.Msg) error {
	var again <-chan time.Time // something was too early: it is read again then
	var back uint64
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again:
			h.move(f.name, back, 0, 0)
			return errAgain
		case m := <-told:
			about, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read its stream: %w", err)
			}
			all, last, err := batch(m, told, f.subject)
			if err != nil {
				return fmt.Errorf("read its stream: %w", err)
			}
			if h.take(ctx, f.name, all) > 0 && again == nil {
				again, back = time.After(earlyAgain), about.Sequence.Stream-1
			}
			h.move(f.name, last.Sequence.Stream, len(all), last.NumPending)
			if last.NumPending == 0 && f.caughtUp != nil {
				f.caughtUp(ctx, js)
				f.caughtUp = nil
			}
		}
	}
}

// batch takes what waits beside the first message.
func batch(m jetstream.Msg, told <-chan jetstream.Msg, subject func(*Entry) string) (all []heard, last *jetstream.MsgMetadata, err error) {
	for {
		if last, err = m.Metadata(); err != nil {
			return nil, nil, err
		}
		all = append(all, hear(m, subject))
		if len(all) == atOnce {
			return all, last, nil
		}
		select {
		case m = <-told:
		default:
			return all, last, nil
		}
	}
}

// move notes how far a stream was read.
func (h *Hub) move(name string, at uint64, heard int, behind uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[name]
	l.At, l.Behind = at, behind
	l.Heard += uint64(heard)
}

// heard is a message of another edge: an entry, or what is wrong with it.
type heard struct {
	entry *Entry
	err   error
}

func hear(m jetstream.Msg, subject func(*Entry) string) heard {
	e, err := decodeEntry(m.Data())
	if err == nil && subject(e) != m.Subject() {
		err = fmt.Errorf("it is told as %.100q", m.Subject())
	}
	if err != nil {
		return heard{err: err}
	}
	return heard{entry: e}
}
