// SPDX-License-Identifier: Apache-2.0

package bench

//go:generate go tool bpf2go -target bpfel -output-stem floor_bpf -type floor_key4 -type floor_key6 -type floor_way4 -type floor_way6 floor ../../bpf/bench/floor.bpf.c
//go:generate go tool bpf2go -target bpfel -output-stem drive_bpf drive ../../bpf/bench/drive.bpf.c
