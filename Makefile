# `make run` shows Lectern at work; `make test` proves it. Both install what they need.

NPM_CI = npm ci --no-audit --no-fund --loglevel=error
PLAYER_SOURCES = $(shell find player -type f -not -path 'player/node_modules/*' -not -path 'player/dist/*')

.PHONY: run test check unit stories soak bench fuzz player fmt clean

run: player
	cargo build --release
	./target/release/lectern serve --demo

# Everything: style, lints, licences, Rust tests, player tests, stories in real browsers.
test: check unit stories fuzz-briefly

check: player install-test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	scripts/deny.sh
	cd player && npm run check

unit: player install-test
	cargo test --workspace --quiet
	cd player && npm test

# All targets: with the features that the Rust tests were built with, so that nothing is built twice.
stories: player install-test
	cargo build --workspace --all-targets --quiet
	cd tests && npm run setup && npm run stories && npm run soak -- 1

# Ten minutes of the demo, watched by a browser.
soak: player install-test
	cargo build --workspace --all-targets --quiet
	cd tests && npm run setup && npm run soak -- 10

# What reads the bytes of strangers, fuzzed. Longer: scripts/fuzz.sh SECONDS-PER-TARGET
fuzz:
	scripts/fuzz.sh 60

.PHONY: fuzz-briefly
fuzz-briefly:
	scripts/fuzz.sh 5

# What it costs: figures, nothing asserted (tests/bench/README.md). One of them: make bench BENCH=origin
bench: player install-test
	tests/bench/run.sh $(BENCH)

player: player/dist/index.html

player/dist/index.html: player/node_modules/.package-lock.json $(PLAYER_SOURCES)
	cd player && npm run build

player/node_modules/.package-lock.json: player/package-lock.json | install-run
	cd player && $(NPM_CI)

.PHONY: install-run install-test
install-run:
	scripts/versions.sh
	scripts/install.sh run

install-test: install-run
	scripts/install.sh test

fmt:
	cargo fmt --all

clean:
	rm -rf target player/dist player/node_modules tests/node_modules tests/.venv tests/out
