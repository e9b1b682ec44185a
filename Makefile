# What people and CI call. `demo`, `test` and `bench` need root on a Debian 12 machine, and set it up themselves.

LOITSUT_CACHE ?= /var/cache/loitsut
export LOITSUT_CACHE

# Builds are dear, so they outlive the checkout. Each binary is one static file: it must start where nothing is installed.
CARGO_TARGET_DIR ?= $(LOITSUT_CACHE)/target
CARGO_BUILD_TARGET ?= x86_64-unknown-linux-gnu
# getrandom: its own default looks a symbol up at run time, which a static program cannot.
RUSTFLAGS ?= -C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"
export CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTFLAGS

RELEASE = $(CARGO_TARGET_DIR)/$(CARGO_BUILD_TARGET)/release
PYTHON = PYTHONPATH=tests $(LOITSUT_CACHE)/venv/bin/python -B

.PHONY: help build build-aarch64 docs fuzz setup demo test soak bench lint unit system clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

# Man pages are made by the agent's build script: cargo tells where. One at a time: built together, the agent would get
# the features of libraries that only the driver wants.
build: ## release binaries and man pages, into dist/
	mkdir -p dist
	cargo build --release --locked --package loitsut --message-format=json-render-diagnostics >dist/build.json
	cargo build --release --locked --package loitsut-driver
	install -t dist $(RELEASE)/loitsut $(RELEASE)/loitsut-driver
	rm -rf dist/man
	install -m 644 -D -t dist/man $$(sed -n '/build-script-executed.*#loitsut@/s/.*"out_dir":"\([^"]*\)".*/\1/p' dist/build.json)/man/*
	rm dist/build.json

# By Debian's rustc, whose standard library is there for both architectures; ring's C by the cross compiler.
# CI tries it as `cross` builds it; what is shipped is made with ARM_PROFILE=release.
ARM_PROFILE ?= cross
ARM = aarch64-unknown-linux-gnu
build-aarch64: export RUSTC = /usr/bin/rustc
build-aarch64: export CARGO_TARGET_DIR := $(CARGO_TARGET_DIR)-aarch64
build-aarch64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER = aarch64-linux-gnu-gcc
build-aarch64: export CC_aarch64_unknown_linux_gnu = aarch64-linux-gnu-gcc
build-aarch64: export AR_aarch64_unknown_linux_gnu = aarch64-linux-gnu-ar
build-aarch64: ## the agent for aarch64, into dist/aarch64/
	/usr/bin/cargo build --profile $(ARM_PROFILE) --locked --target $(ARM) --package loitsut
	install -D -t dist/aarch64 $$CARGO_TARGET_DIR/$(ARM)/$(ARM_PROFILE)/loitsut

docs: ## docs/reference.md, from the types that read profiles, layers and user-data; of the binary in dist/
	docs/reference.py

setup: ## what the targets below need on this machine
	tests/lab/setup

demo: setup ## boot a generic machine and build on it, by a Buildbot master (DEMO_KEEP=1: leave it running)
	$(MAKE) build
	$(PYTHON) tests/demo/demo.py

test: setup ## everything that CI runs
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) build
	$(MAKE) build-aarch64
	$(MAKE) system

soak: setup ## kill the agent at 200 points, fill the disk at 30, 10,000 simulated fleets, then `make fuzz` (SOAK=--seed=N: as then)
	$(MAKE) build
	$(PYTHON) -m soak $(SOAK)
	LOITSUT_SIMULATIONS=10000 cargo test --package loitsut-driver --locked whatever_goes_wrong -- --nocapture
	$(MAKE) fuzz

bench: setup ## time and memory against their marks
	$(MAKE) build
	$(PYTHON) tests/bench/no_change.py
	$(PYTHON) tests/bench/first_apply.py

# Advisories are left to a scheduled `cargo deny check advisories`: they come without a commit of ours, and by network.
lint: ## formatting, clippy, and what may be a dependency, where cargo-deny is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	! command -v cargo-deny >/dev/null || cargo deny check bans licenses sources

unit: ## tests that need nothing around them
	if command -v cargo-nextest >/dev/null; then cargo nextest run --workspace --locked; \
	else cargo test --workspace --locked; fi

system: ## tests with booted instances and a real Buildbot master, of the binaries in dist/
	$(PYTHON) -m pytest -p no:cacheprovider tests

# No sanitizer: all but libFuzzer itself is safe Rust. RUSTC_BOOTSTRAP lets a stable compiler count what is covered.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS = userdata mime toml template archive dpkg

fuzz: export CARGO_TARGET_DIR = $(LOITSUT_CACHE)/fuzz
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: setup ## every fuzz target for FUZZ_SECONDS; what it finds is left in fuzz/artifacts
	command -v cargo-fuzz >/dev/null || env -u RUSTFLAGS -u CARGO_BUILD_TARGET cargo install --locked cargo-fuzz
	fuzz/seed
	set -e; unset RUSTFLAGS CARGO_BUILD_TARGET; cd fuzz; for target in $(FUZZ_TARGETS); do \
		cargo fuzz run --fuzz-dir . --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) \
			-timeout=10 -rss_limit_mb=1024 -max_len=16384 -verbosity=0 -print_final_stats=1; \
	done

clean: ## remove what was built (not the cache: that is LOITSUT_CACHE)
	rm -rf dist
