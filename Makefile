# SPDX-License-Identifier: Apache-2.0
# parry's chores. `make help` lists them; a plain `make` builds. CI runs `.ci/run`, which runs these.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
# sudo and bare systems leave these folders out of PATH
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
export GO ?= go
VERSION ?= $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo unknown)

# The compiler is pinned: the checked-in objects are reproduced byte for byte. -mcpu=v3 has been in kernels
# since 5.1. The prefix maps keep the folder of the checkout out of BTF.
export BPF2GO_CC := clang-14
export BPF2GO_STRIP := llvm-strip-14
export BPF2GO_CFLAGS := -O2 -g -Wall -Werror -mcpu=v3 "-I$(CURDIR)/bpf" \
	"-ffile-prefix-map=$(CURDIR)/=" -idirafter /usr/include/$(shell uname -m)-linux-gnu
GO_FILES = $(shell find . -name '*.go' ! -path '*/node_modules/*')
C_FILES = $(shell find bpf examples -name '*.[ch]')
SHELL_FILES = .ci/run $(shell grep -rlE --exclude='*.*' '^\#!/bin/(ba)?sh' scripts)
TEST_FLAGS ?= -race -timeout 15m
# What these test runs in the kernel: the race detector sees Go alone, and would take half of their time.
IN_KERNEL = ./test/diff ./test/fastpath ./test/learn
# Packages whose tests bound times have the machine to themselves.
ALONE = ./pkg/bench ./pkg/lab ./test/compare ./test/e2e ./test/figures
KERNEL_TESTS ?= ^TestLoad(Matrix)?$$|VirtioNICs
KERNEL_RUN = VM_CABLES=2 VM_PROGRAM=bin/parry scripts/vm/go-test
KERNEL_PACKAGES = $(sort $(shell find . -name '*_bpfel.o' -printf '%h\n'))
# tell ENVIRONMENT,ARGUMENTS: a long `go test` whose words are shown as it goes
tell = $(1) PARRY_BIN=$(CURDIR)/bin/parry $(GO) test -count=1 -v $(2) | grep --line-buffered -v '^=== '

.PHONY: $(shell sed -nE 's/^([a-z0-9-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))
.NOTPARALLEL: # the order of a target's prerequisites counts

all: build
build: ## leave the program in bin/parry (needs Go alone; GOARCH=arm64 works)
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/parry

lab: root setup-lab build ## play and attack a self-made edge on this machine, explained (root)
	bin/parry lab

lab-table: root setup-lab build ## play every attack, print the table that README shows (root; 5 minutes; LAB_FLAGS='--edge plain')
	@bin/parry lab --scenario all --markdown $(LAB_FLAGS)

test: root setup-test setup-e2e lint generate-check test-go kernels-load ## everything that is quick, with its own set-up (root)
	@echo 'make test: everything passed'

test-unit: ## tests that need no privilege; the others skip and say so
	scripts/run-tests $(TEST_FLAGS) ./...
test-go: root build
	PARRY_E2E=quick PARRY_BIN=$(CURDIR)/bin/parry scripts/run-tests $(TEST_FLAGS) \
		$$($(GO) list ./... | grep -vxF "$$($(GO) list $(ALONE) $(IN_KERNEL))")
	PARRY_E2E=quick PARRY_BIN=$(CURDIR)/bin/parry scripts/run-tests -timeout 15m $(IN_KERNEL)
	PARRY_E2E=quick PARRY_BIN=$(CURDIR)/bin/parry scripts/run-tests $(TEST_FLAGS) -p 1 $(ALONE)

e2e: root setup-e2e build ## real games through the edge, those that are small to fetch (root)
	PARRY_E2E=quick PARRY_BIN=$(CURDIR)/bin/parry scripts/run-tests -count=1 -timeout 20m -p 1 ./test/...

# What needs a kernel's modules (VLANs), and what is done in another way before Linux 6.6.
E2E_KERNEL_TESTS = VLANs|PathMTU|Fragments|Hairpin|Heartbeat|Detach|Ranges|HostTraffic|Terminated|Allowlist|Import|LinkAddress|Pool|ClockJumps|EntryByBpftool
e2e-kernel: setup-vm build ## play through the edge on kernel 6.1, on VLANs too, in a virtual machine
	VM_LIMIT=900 VM_PROGRAM=bin/parry scripts/vm/go-test bookworm '$(E2E_KERNEL_TESTS)' ./test/e2e

e2e-all: root setup-e2e-all e2e-kernel build ## every game, and e2e-kernel (root; 1.5 GB of packages)
	PARRY_E2E=all PARRY_BIN=$(CURDIR)/bin/parry scripts/run-tests -count=1 -timeout 60m -p 1 ./test/...

bench: root build ## what a packet costs, beside hand-minimal programs (root; a minute)
	bin/parry bench

quality-detect: ## who attacks, on generated mixes of attack and play: precision, recall, time to block (a minute)
	@$(call tell,PARRY_QUALITY=full,-run TestQuality ./pkg/detect/...)

compare: root setup-compare build ## the same packets by kernel routing, nftables, iptables, nginx, a Go proxy, parry (root)
	$(GO) run ./test/compare $(COMPARE_FLAGS)

quality: ## is what parry names right, beside nDPI's ndpiReader on the same flows? which cheats does it find? (root, if that is to be installed; 4 minutes)
	@scripts/setup-debian quality || echo 'without ndpiReader: what the captures say of it stands in its place'
	@$(call tell,PARRY_QUALITY=1,-timeout 10m ./test/quality)

figures: root setup-lab build ## measure what parry promises in figures, each beside its target (root; 10 minutes)
	@$(call tell,PARRY_FIGURES=1,-timeout 20m ./test/figures)

deaths: root setup-test build ## kill, replace, reload, upset the daemon under load: nothing may be lost (root; 10 minutes)
	@$(call tell,PARRY_DEATHS=full,-timeout 40m -run 'TestDeaths|PortReuse|NextLayout|NICsComeAndGo|FullDisk' ./test/e2e)
	VM_PROGRAM=bin/parry scripts/vm/go-test bookworm ClockJumps ./test/e2e

soak: root setup-test build ## play, attack, kill, reload and block at random for DURATION, and look for leaks (root)
	@$(call tell,PARRY_SOAK=$(or $(DURATION),30m),-timeout 0 -run TestSoak ./test/e2e)

fuzz: root setup-test ## compare the fast path with its model, and feed every parser, for DURATION (root)
	scripts/fuzz $(or $(DURATION),10m)

mutants: root setup-generate ## break the fast path on purpose in many places: the sequence kept of each is to notice it (root; 12 minutes)
	@$(call tell,PARRY_MUTANTS=all,-timeout 30m -run TestMutants ./test/diff)
fuzz-mutants: root setup-generate ## the same by a search, which keeps sequences that are lacking (root)
	@$(call tell,PARRY_MUTANTS=search,-timeout 60m -run TestMutants ./test/diff)

kernels-load: setup-vm build ## every BPF object loads and play goes through virtio NICs on kernel 6.1 in a virtual machine
	$(KERNEL_RUN) bookworm '$(KERNEL_TESTS)' $(KERNEL_PACKAGES)
kernels: setup-vm build ## the same on 6.1, 6.12 and the newest kernel
	set -e; for suite in bookworm bookworm-backports sid; do \
		$(KERNEL_RUN) $$suite '$(KERNEL_TESTS)' $(KERNEL_PACKAGES); done

proof-rules: root setup-test ## rules and tcpdump's own compiler agree over 100,000 pairs of expression and packet, in Go and in the kernel (root; 2 minutes)
	@$(call tell,PARRY_RULE_PAIRS=$(or $(PAIRS),100000),-timeout 60m -run Tcpdump ./pkg/rule ./loader)

generate: setup-generate ## compile bpf/ and write the Go bindings (both are checked in)
	$(GO) generate -run bpf2go ./...
generate-check: setup-generate ## fail if the checked-in objects and bindings are not what bpf/ gives
	scripts/check-generate

docs: ## write the reference pages, the JSON schema and the golden files anew; tests fail while they are stale
	$(GO) test -count=1 $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs dirname | sort -u) -update

budgets: root ## write what the BPF programs may take of verifier and machine, from what they take now
	$(GO) test -count=1 -run TestProgramsKeepTheirBudgets ./loader -update-budgets

fmt: setup-lint ## format Go and C
	gofmt -w $(GO_FILES)
	clang-format-14 -i $(C_FILES)

lint: setup-lint ## formatting, vet, staticcheck, shellcheck, licence lines, who may import what
	@unformatted=$$(gofmt -l $(GO_FILES)) && [ -z "$$unformatted" ] || \
		{ echo "not in gofmt's shape (make fmt):" $$unformatted; exit 1; }
	clang-format-14 --dry-run -Werror $(C_FILES)
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	shellcheck $(SHELL_FILES)
	scripts/check-spdx
	scripts/check-imports

clean: ## remove what building leaves
	rm -rf bin

root:
	@[ "$$(id -u)" = 0 ] || { echo 'This attaches XDP programs: run it with sudo. (make test-unit needs no root.)'; exit 1; }
setup-%:
	@scripts/setup-debian $*

help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s%s\n", $$1, $$2 }'
