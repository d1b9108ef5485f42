# Everything goes through two commands: `make up` and `make test`. The rest is for those who work on it.
# All that is kept between runs is under one folder, by content: CONTINUUM_CACHE.

export CONTINUUM_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/continuum
# Third-party crates are built once for all checkouts of the same lock file and toolchain.
export CARGO_TARGET_DIR ?= $(CONTINUUM_CACHE)/target/$(shell cat Cargo.lock Cargo.toml rust-toolchain.toml | sha256sum | cut -c1-16)
export CARGO_TERM_COLOR ?= auto

CONTINUUM := $(CARGO_TARGET_DIR)/debug/continuum
EXAMPLE := examples/sandbox/cluster.yaml
BUNDLE := $(CONTINUUM_CACHE)/bundles/kubernetes

PREFIX ?= /usr/local

.PHONY: help up down install build bundle prerequisites test test-all lint bench docs deny clean

help:
	@echo 'make up         a real Kubernetes cluster on this computer, and a Job on it'
	@echo 'make down       removes all of it'
	@echo 'make install    continuum to /usr/local/bin (PREFIX), and its bundle as the one that is used by default'
	@echo 'make test       the tests, as CI runs them'
	@echo 'make test-all   also what takes long: full matrices, a pristine Debian'
	@echo 'make bench      measures, side by side (docs/benchmarks.md)'
	@echo 'make docs       the book (needs mdbook)'

prerequisites:
	@tests/lab/prerequisites

build: prerequisites
	@cargo build --quiet --workspace --locked

bundle: build
	@tests/lab/kubernetes/bundle $(CONTINUUM) $(BUNDLE)
	@[ -e $(CONTINUUM_CACHE)/bundles/default ] || ln -sfnT kubernetes $(CONTINUUM_CACHE)/bundles/default

up: bundle
	@$(CONTINUUM) sandbox tree >/dev/null
	@$(CONTINUUM) cluster up $(EXAMPLE) --bundle $(BUNDLE) --yes
	@examples/sandbox/smoke $(CONTINUUM) lab1
	@command -v continuum >/dev/null || echo '(continuum is not on your PATH yet: make install puts it into $(PREFIX)/bin; make down needs no PATH)'

install: bundle
	@install -D -m 0755 -t $(PREFIX)/bin $(CONTINUUM) $(dir $(CONTINUUM))continuum-autoscaler
	@ln -sfnT kubernetes $(CONTINUUM_CACHE)/bundles/default
	@echo 'installed $(PREFIX)/bin/continuum, and continuum-autoscaler beside it'

down:
	@if [ -x $(CONTINUUM) ]; then $(CONTINUUM) cluster down lab1 --yes; else echo 'nothing was built, nothing is up'; fi

lint: prerequisites
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

test: lint bundle
	@tests/lab/run test

test-all: lint bundle
	@tests/lab/run all

bench: bundle
	@tests/lab/bench/bench $(CONTINUUM) $(BUNDLE)
	@if command -v "$${ANSIBLE_PLAYBOOK:-ansible-playbook}" >/dev/null; then tests/lab/bench/steps $(CONTINUUM); else echo "(no ansible-playbook: tests/lab/bench/steps says what it compares)"; fi

docs:
	mdbook build docs

deny:
	cargo deny check
