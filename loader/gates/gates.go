// SPDX-License-Identifier: Apache-2.0

// Package gates holds parry's own gates, compiled: the programs that say whether a stranger's packet is a believable first
// one. Their sources are bpf/gate/*.bpf.c; an operator's own gates are built from the same header and loaded the same way.
package gates

import (
	"embed"
	"strings"
)

//go:generate go tool bpf2go -target bpfel -no-global-types enet ../../bpf/gate/enet.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types minecraft_java ../../bpf/gate/minecraft_java.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types mumble ../../bpf/gate/mumble.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types photon ../../bpf/gate/photon.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types quake3 ../../bpf/gate/quake3.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types quic ../../bpf/gate/quic.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types raknet ../../bpf/gate/raknet.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types shape ../../bpf/gate/shape.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types source ../../bpf/gate/source.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types steam_sdr ../../bpf/gate/steam_sdr.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types stun ../../bpf/gate/stun.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types teamspeak3 ../../bpf/gate/teamspeak3.bpf.c
//go:generate go tool bpf2go -target bpfel -no-global-types unreal ../../bpf/gate/unreal.bpf.c
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
