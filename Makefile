# What can be done with this project; `make` alone lists it. Needs Rust and a C compiler; the tests Python 3 too.

CARGO ?= cargo
CHAT   = $(or $(CARGO_TARGET_DIR),target)/release/chat

help:             ## list these words
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build:            ## build the program: target/release/chat
	$(CARGO) build --release

install:          ## build it and put it where `cargo install` puts programs
	$(CARGO) install --locked --path .

# Most tests wait for programs and for time limits of half a second: far more of them than processors run at once.
test: export RUST_TEST_THREADS ?= 12
test:             ## run all tests
	$(CARGO) test

test-case-1: build ## play scenarios/test-case-1.chat with real processes
	$(CHAT) run scenarios/test-case-1.chat

test-case-2: build ## play scenarios/test-case-2.chat
	$(CHAT) run scenarios/test-case-2.chat

test-case-3: build ## play scenarios/test-case-3.chat
	$(CHAT) run scenarios/test-case-3.chat

scenarios: build  ## play every scenario
	$(CHAT) run $(sort $(wildcard scenarios/*.chat))

picture: build    ## draw scenarios/session.svg, the picture of the README, from a real session
	python3 tests/support/picture.py $(CHAT) scenarios/session.svg

chaos:            ## ten thousand random histories, and two hundred kills of a real server
	CHAT_SEEDS=10000 $(CARGO) test --release --test protocol histories::
	CHAT_KILLS=200 $(CARGO) test --release --test program crash::

soak:             ## ten minutes of coming, going, groups, mail and loss; prints what memory does
	CHAT_SOAK_SECONDS=600 $(CARGO) test --test program soak:: -- --nocapture

bench:            ## what it costs, as ratios against the bare system
	$(CARGO) bench --bench throughput

check: format lint docs ## what must hold before a commit, beside the tests

format:           ## is everything formatted? (`cargo fmt -- --config-path .ci` does it)
	$(CARGO) fmt -- --config-path .ci --check

lint:             ## clippy, every warning an error
	CLIPPY_CONF_DIR=.ci $(CARGO) clippy --all-targets -- -D warnings

docs:             ## the documentation of the code, every warning an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

clean:            ## remove what was built
	$(CARGO) clean

.PHONY: help build install test test-case-1 test-case-2 test-case-3 scenarios picture chaos soak bench check format lint docs clean
