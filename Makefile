# Commands of this project; `make` lists them. Requires Rust and a C compiler; the tests also require Python 3.

CARGO ?= cargo
CHAT   = $(or $(CARGO_TARGET_DIR),target)/release/chat

help:             ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build:            ## build the program: target/release/chat
	$(CARGO) build --release

install:          ## install the program with `cargo install`
	$(CARGO) install --locked --path .

# Most tests wait for programs and for time limits of half a second, so more tests than processors run in parallel.
test: export RUST_TEST_THREADS ?= 12
test:             ## run all tests
	$(CARGO) test

test-case-1: build ## run scenarios/test-case-1.chat with real processes
	$(CHAT) run scenarios/test-case-1.chat

test-case-2: build ## run scenarios/test-case-2.chat
	$(CHAT) run scenarios/test-case-2.chat

test-case-3: build ## run scenarios/test-case-3.chat
	$(CHAT) run scenarios/test-case-3.chat

scenarios: build  ## run every scenario
	$(CHAT) run $(sort $(wildcard scenarios/*.chat))

picture: build    ## draw scenarios/session.svg, the picture in the README, from a real session
	python3 tests/support/picture.py $(CHAT) scenarios/session.svg

chaos:            ## run 10,000 random histories and 200 with a crowd, and kill a real server 200 times
	CHAT_SEEDS=10000 $(CARGO) test --release --test protocol histories::
	CHAT_KILLS=200 $(CARGO) test --release --test program crash::

# `BLESS=1 make goodput` rewrites the table.
goodput:          ## measure the cost of losses; compare with tests/data/goodput.txt
	$(CARGO) test --release --test protocol goodput::the_whole_table -- --ignored

soak:             ## run clients with logins, groups, mail and loss for ten minutes; print memory use
	CHAT_SOAK_SECONDS=600 $(CARGO) test --test program soak:: -- --nocapture

crowd:            ## let 1,000 clients join at once; print the time until all have the complete table
	CHAT_CROWD=1000 $(CARGO) test --release --test program crowd:: -- --nocapture

slow:             ## stop a reader, or block its output, for 60 s; print the times until all have the messages
	CHAT_SLOW_SECONDS=60 $(CARGO) test --test program slow_readers:: -- --nocapture

# `make bench ROW='pipe mail'` measures these rows; ARGS are options, such as `--json`, `--rounds 1`, `--scale 0.1`.
bench:            ## measure the program as ratios to plain UDP and plain SQLite
	@$(CARGO) bench --quiet --bench rows -- $(ROW) $(ARGS)

bench-docs:       ## measure all rows and write the table in tests/benches/README.md
	$(CARGO) bench --bench rows -- --write tests/benches/README.md

check: format lint docs ## run all checks of a commit except the tests

format:           ## check the formatting (`cargo fmt -- --config-path .ci` fixes it)
	$(CARGO) fmt -- --config-path .ci --check

lint:             ## run clippy; warnings are errors
	CLIPPY_CONF_DIR=.ci $(CARGO) clippy --all-targets -- -D warnings

docs:             ## build the code documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

clean:            ## remove all build output
	$(CARGO) clean

.PHONY: help build install test test-case-1 test-case-2 test-case-3 scenarios picture chaos goodput soak crowd slow bench bench-docs check format lint docs clean
