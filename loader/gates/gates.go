// SPDX-License-Identifier: Apache-2.0

// Package gates holds parry's own gates, compiled: the programs that say whether a stranger's packet is a believable first
// one. Their sources are bpf/gate/*.bpf.c; an operator's own gates are built from the same header and loaded the same way.
package gates

import (
	"embed"
	"strings"
)

//go:generate go tool bpf2go -target bpfel -no-global-types wireguard ../../bpf/gate/wireguard.bpf.c

const suffix = "_bpfel.o"

//go:embed *_bpfel.o
var compiled embed.FS

// Objects returns the compiled gates (ELF) by name.
func Objects() map[string][]byte {
	objects := map[string][]byte{}
	files, err := compiled.ReadDir(".")
	for _, f := range files {
		var object []byte
		if object, err = compiled.ReadFile(f.Name()); err != nil {
			break
		}
		objects[strings.TrimSuffix(f.Name(), suffix)] = object
	}
	if err != nil { // the files are part of the program
		panic("gates: " + err.Error())
	}
	return objects
}
