// SPDX-License-Identifier: Apache-2.0

// Package geo says which country and which network (ASN) an address is in, by files in MaxMind's mmdb form, and makes of the
// rules that name countries and networks the prefixes that the fast path is to know. parry ships no such file.
package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// MaxFile is the longest file that is read, in bytes: it is held in memory as it is.
const MaxFile = 1 << 28

// Place is where an address is. What no file says is empty.
type Place struct {
	Country string // ISO 3166 alpha-2, capital letters
	Name    string // of the country, in English
	ASN     uint32
	Org     string // whose network it is
}

// DB is what is known of addresses. A nil DB knows nothing. It is read from several goroutines and never changes.
type DB struct {
	country, asn *file
}

// file is one mmdb, read whole: what becomes of it on the disk is nothing to us.
type file struct {
	path   string
	reader *maxminddb.Reader
	size   int64
	mtime  time.Time
}

// About is one of the files that a DB was read from.
type About struct {
	Path  string
	Type  string    // as the file calls itself: GeoLite2-Country
	Built time.Time // by who made it
	Size  int64     // bytes, all of them held in memory
	Nodes uint      // of its search tree
}

// Open reads the files; "" = none of that kind. A file that is no mmdb, is damaged or of the wrong kind is refused in words.
func Open(country, asn string) (*DB, error) {
	c, errC := open(country, "country")
	a, errA := open(asn, "asn")
	if err := errors.Join(errC, errA); err != nil {
		return nil, err
	}
	return &DB{country: c, asn: a}, nil
}

func open(path, kind string) (*file, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("geo.%s: %w", kind, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("geo.%s: %s is no file", kind, path)
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("geo.%s: %s has %d bytes: at most %d are read", kind, path, info.Size(), MaxFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("geo.%s: %w", kind, err)
	}
	r, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("geo.%s: %s is no mmdb file, or a part of one: %w", kind, path, err)
	}
	f := &file{path: path, reader: r, size: int64(len(raw)), mtime: info.ModTime()}
	return f, f.sound(kind)
}

// sound reads all of a file. It refuses a damaged one, and one that says nothing of what it is to say: it would let in, or keep
// out, everybody.
func (f *file) sound(kind string) error {
	known, tells := map[uintptr]bool{}, false
	for n := range f.reader.Networks() {
		if err := n.Err(); err != nil {
			return fmt.Errorf("geo.%s: %s is damaged: %w", kind, f.path, err)
		}
		if known[n.Offset()] { // of an entry that was read already
			continue
		}
		known[n.Offset()] = true
		var v record
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("geo.%s: %s is damaged, or of another kind: %w", kind, f.path, err)
		}
		tells = tells || kind == "country" && v.iso() != "" || kind == "asn" && v.ASN != 0
	}
	if !tells {
		return fmt.Errorf("geo.%s: %s (%s) names no %s", kind, f.path, f.reader.Metadata.DatabaseType, kindWords[kind])
	}
	return nil
}

var kindWords = map[string]string{"country": "country (country.iso_code)", "asn": "network (autonomous_system_number)"}

// record is what is read of an entry. Where an address is counts before where its network is registered.
type record struct {
	Country    country `maxminddb:"country"`
	Registered country `maxminddb:"registered_country"`
	ASN        uint32  `maxminddb:"autonomous_system_number"`
	Org        string  `maxminddb:"autonomous_system_organization"`
}

type country struct {
	ISO   string            `maxminddb:"iso_code"`
	Names map[string]string `maxminddb:"names"`
}

func (r *record) iso() string {
	if r.Country.ISO != "" {
		return r.Country.ISO
	}
	return r.Registered.ISO
}

func (r *record) name() string {
	if r.Country.ISO != "" {
		return r.Country.Names["en"]
	}
	return r.Registered.Names["en"]
}

// Lookup says where an address is; false: nothing is known of it.
func (d *DB) Lookup(a netip.Addr) (Place, bool) {
	var p Place
	if d == nil || !a.IsValid() {
		return p, false
	}
	a = a.Unmap()
	if r, ok := d.country.find(a); ok {
		p.Country, p.Name = r.iso(), r.name()
	}
	if r, ok := d.asn.find(a); ok {
		p.ASN, p.Org = r.ASN, r.Org
	}
	return p, p != Place{}
}

func (f *file) find(a netip.Addr) (r record, ok bool) {
	if f == nil || a.Is6() && f.reader.Metadata.IPVersion == 4 {
		return r, false
	}
	found := f.reader.Lookup(a)
	if !found.Found() || found.Decode(&r) != nil { // the file was proved sound when it was read
		return record{}, false
	}
	return r, true
}

// Files are those that it was read from.
func (d *DB) Files() []About {
	var all []About
	if d == nil {
		return nil
	}
	for _, f := range []*file{d.country, d.asn} {
		if f != nil {
			m := f.reader.Metadata
			all = append(all, About{Path: f.path, Type: m.DatabaseType, Built: m.BuildTime(), Size: f.size, Nodes: m.NodeCount})
		}
	}
	return all
}

// Stale tells whether a file is another one by now, or can't be seen: it is time to read it again.
func (d *DB) Stale() bool {
	if d == nil {
		return false
	}
	for _, f := range []*file{d.country, d.asn} {
		if f == nil {
			continue
		}
		info, err := os.Stat(f.path)
		if err != nil || info.Size() != f.size || !info.ModTime().Equal(f.mtime) {
			return true
		}
	}
	return false
}
