// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Names are the fast path's own enums, read from its BTF: there is no second list of them.
type Names struct {
	Reasons  []string // by number; "" where there is none
	Verdicts []string
	Faults   []string
}

// ReadNames reads the enums from the object that is built in.
func ReadNames() (*Names, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("read the built-in object: %w", err)
	}
	return namesOf(spec)
}

func namesOf(spec *ebpf.CollectionSpec) (*Names, error) {
	var n Names
	for _, e := range []struct {
		enum, prefix string
		to           *[]string
	}{
		{"drop_reason", "DROP_REASON_", &n.Reasons},
		{"verdict", "VERDICT_", &n.Verdicts},
		{"fault", "FAULT_", &n.Faults},
	} {
		var t *btf.Enum
		if err := spec.Types.TypeByName(e.enum, &t); err != nil {
			return nil, fmt.Errorf("enum %s in the built-in object: %w", e.enum, err)
		}
		*e.to = enumNames(t, e.prefix)
	}
	return &n, nil
}

func enumNames(t *btf.Enum, prefix string) []string {
	var names []string
	for _, v := range t.Values {
		if v.Name == prefix+"LEN" {
			continue
		}
		for uint64(len(names)) <= v.Value {
			names = append(names, "")
		}
		names[v.Value] = strings.ToLower(strings.TrimPrefix(v.Name, prefix))
	}
	return names
}
