// SPDX-License-Identifier: Apache-2.0

// Package geotest writes small mmdb files for tests. parry ships none: who may use which data is the operator's affair.
package geotest

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"
)

// Countries writes a file of the form of GeoLite2-Country: prefixes and the codes of their countries.
func Countries(path string, prefixes map[string]string) error {
	return write(path, "Test-Country", prefixes, func(code string) mmdbtype.DataType {
		return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String("Land " + code)}}}
	})
}

// Networks writes a file of the form of GeoLite2-ASN: prefixes and the numbers of their networks.
func Networks(path string, prefixes map[string]uint32) error {
	return write(path, "Test-ASN", prefixes, func(n uint32) mmdbtype.DataType {
		return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(n), "autonomous_system_organization": mmdbtype.String(fmt.Sprint("Net ", n))}
	})
}

func write[V any](path, kind string, prefixes map[string]V, entry func(V) mmdbtype.DataType) (err error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		return err
	}
	for text, v := range prefixes {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if err := tree.Insert(netipx.PrefixIPNet(p), entry(v)); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := tree.WriteTo(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
