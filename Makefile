# One entry for each daily act; CI runs the same ones.
SHELL := /bin/bash
APT := protobuf-compiler libprotobuf-dev libseccomp-dev libelf-dev zlib1g-dev pkg-config nftables iproute2 busybox-static

.PHONY: deps build test lint

deps: ## install the system packages that are missing
	@missing=$$(for p in $(APT); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; fi

build: deps
	cargo build --workspace

lint: deps
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: lint
	cargo test --workspace
