// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

const (
	diskFolder   = "nats"           // under the state folder
	maxDisk      = 2 << 30          // bytes of both streams
	roomLeft     = 16 << 20         // bytes of the file system that state never takes
	syncEvery    = time.Second      // what a loss of power takes
	answerWithin = 5 * time.Second  // of the embedded server, for a call
	readWithin   = 2 * time.Second  // of the embedded server, for the next message
	waitPeer     = 10 * time.Second // until a peer that takes nothing is let go
	idleConsumer = 10 * time.Second // until what a lost peer read by is forgotten
	atOnce       = 1024             // messages that are under way
	maxConsumers = 64               // of a stream
	maxPayload   = MaxValue + 4<<10 // bytes of a message
	maxPending   = 64 << 20         // bytes that wait for one peer
	localUser    = "daemon"         // has a password that is made at each start
	peerUser     = "edge"           // who comes through the door
	sharedName   = "shared"         // streams' names
	localName    = "local"
)

// errFull says that the file system has no room left.
var errFull = errors.New("the disk is full")

// disk is the embedded server and what is in it.
type disk struct {
	dir    string
	srv    *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	shared jetstream.Stream
	local  jetstream.Stream
	heard  *serverLog
}

// startDisk opens or makes the store in a folder.
func startDisk(ctx context.Context, dir string, log *slog.Logger) (_ *disk, err error) {
	d := &disk{dir: dir, heard: &serverLog{log: log}}
	password := rand.Text()
	d.srv, err = server.NewServer(&server.Options{
		ServerName: "parry", DontListen: true, NoSigs: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: maxDisk, JetStreamMaxMemory: 64 << 20,
		SyncInterval: syncEvery, MaxPayload: maxPayload, MaxPending: maxPending, WriteDeadline: waitPeer, DisableJetStreamBanner: true, CustomClientAuthentication: entrance{password},
	})
	if err != nil {
		return nil, fmt.Errorf("make the store's server: %w", err)
	}
	defer func() {
		if err != nil {
			d.close()
			err = errors.Join(err, d.heard.worst())
		}
	}()
	d.srv.SetLoggerV2(d.heard, false, false, false)
	d.srv.Start()
	if !d.srv.ReadyForConnections(answerWithin) || !d.srv.JetStreamEnabled() {
		return nil, errors.New("the store's server doesn't start")
	}
	if d.nc, err = nats.Connect("", nats.InProcessServer(d.srv), nats.UserInfo(localUser, password), nats.NoReconnect(), nats.Timeout(answerWithin)); err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	if d.js, err = jetstream.New(d.nc, jetstream.WithPublishAsyncMaxPending(2*atOnce), jetstream.WithDefaultTimeout(answerWithin), jetstream.WithPublishAsyncTimeout(answerWithin)); err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	if d.shared, err = d.stream(ctx, sharedName, sharedPrefix, maxConsumers); err != nil {
		return nil, err
	}
	d.local, err = d.stream(ctx, localName, localPrefix, -1)
	return d, err
}

// entrance lets in the daemon, by a password made at its start, and as peerUser whom the door led here: those may follow `shared`, and can
// do nothing else.
type entrance struct{ password string }

// Check is the server's question whether a client may come in.
func (e entrance) Check(c server.ClientAuthentication) bool {
	said := c.GetOpts()
	switch {
	case said.Username == localUser && subtle.ConstantTimeCompare([]byte(said.Password), []byte(e.password)) == 1:
		c.RegisterUser(&server.User{Username: localUser})
	case said.Username == peerUser:
		c.RegisterUser(&server.User{Username: peerUser, Permissions: readOnly()})
	default:
		return false
	}
	return true
}

func readOnly() *server.Permissions {
	const api = "$JS.API."
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			api + "STREAM.INFO." + sharedName, api + "CONSUMER.CREATE." + sharedName + ".>", api + "CONSUMER.MSG.NEXT." + sharedName + ".>",
			api + "CONSUMER.INFO." + sharedName + ".>", api + "CONSUMER.DELETE." + sharedName + ".>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{nats.InboxPrefix + ">"}},
	}
}

func (d *disk) stream(ctx context.Context, name, prefix string, consumers int) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	s, err := d.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{prefix + ">"}, MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxConsumers: consumers, MaxMsgSize: maxPayload, AllowDirect: true, MaxBytes: maxDisk / 2,
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: time.Minute},
	})
	if err != nil {
		return nil, fmt.Errorf("open the store's stream %q: %w", name, err)
	}
	return s, nil
}

// close ends the server. What was acknowledged is on disk.
func (d *disk) close() {
	if d.nc != nil {
		d.nc.Close()
	}
	d.srv.Shutdown()
	d.srv.WaitForShutdown()
}

// message is one to be kept.
type message struct {
	subject string
	data    []byte
	keep    time.Duration // 0: until it is removed
}

// room says errFull while the file system has less than roomLeft: JetStream gives itself up when it meets the end of it.
func room(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for room on disk: %w", err)
	}
	if left := int64(fs.Bavail) * fs.Bsize; left < roomLeft {
		return fmt.Errorf("%w: %d KiB are left below %s and state leaves %d alone: make room", errFull, left>>10, dir, roomLeft>>10)
	}
	return nil
}

// write keeps messages, and gives how many of the first ones are kept for sure.
func (d *disk) write(ctx context.Context, all []message) (int, error) {
	if err := room(filepath.Dir(d.dir)); err != nil {
		return 0, err
	}
	done := 0
	for done < len(all) {
		n, err := publish(ctx, d.js, all[done:min(done+atOnce, len(all))])
		done += n
		if err != nil {
			return done, fmt.Errorf("write to the store: %w", errors.Join(err, d.heard.worst()))
		}
	}
	return done, nil
}

// publish sends messages to a JetStream and waits for its word on each. Of what it gives, the first n are kept.
func publish(ctx context.Context, js jetstream.JetStream, all []message) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerWithin)
	defer cancel()
	futures := make([]jetstream.PubAckFuture, 0, len(all))
	for _, m := range all {
		var options []jetstream.PublishOpt
		if m.keep > 0 {
			options = append(options, jetstream.WithMsgTTL(m.keep))
		}
		f, failed := js.PublishAsync(m.subject, m.data, options...)
		if failed != nil {
			err = failed
			break
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		select {
		case <-f.Ok():
		case failed := <-f.Err():
			return i, failed
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
	return len(futures), err
}

// forget removes what is kept of subjects.
func (d *disk) forget(ctx context.Context, s jetstream.Stream, subjects []string) error {
	for _, subject := range subjects {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("remove %s from the store: %w", subject, err)
		}
	}
	return nil
}

// load gives every message of a stream to fn, in the order in which they came; of a damaged one as many as can be read, and an error.
func load(ctx context.Context, s jetstream.Stream, filter string, fn func(subject string, data []byte)) error {
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}, MaxResetAttempts: 3, InactiveThreshold: idleConsumer})
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	defer func() { _ = s.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name) }() // it would go by itself, in idleConsumer
	left := c.CachedInfo().NumPending
	if left == 0 {
		return nil
	}
	all, err := c.Messages(jetstream.PullMaxMessages(4 * atOnce))
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	defer all.Stop()
	for left > 0 {
		m, err := all.Next(jetstream.NextMaxWait(readWithin))
		if err != nil {
			return fmt.Errorf("read the store, %d messages before its end: %w", left, err)
		}
		about, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read the store: %w", err)
		}
		fn(m.Subject(), m.Data())
		left = about.NumPending
	}
	return nil
}
