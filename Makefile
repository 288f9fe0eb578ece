# Two commands matter: make evolve, and make test. Both set up what is missing.
GO ?= go

.PHONY: setup build evolve test crash bench lint study clean

setup:
	@./setup.sh

build:
	$(GO) build -o bin/jird ./cmd/jird

evolve: setup build
	./bin/jird run experiments/examples/packer/experiment.yaml --budget 90s --workers 2

# One package at a time: the tests that watch processor time want the cores.
test: setup
	$(GO) test -p 1 -race -timeout 15m $(TESTFLAGS) ./...

# The journal's crash tests, long: CRASH_ROUNDS=N for longer. A failure prints its seed.
crash:
	CRASH_ROUNDS=$(or $(CRASH_ROUNDS),20) $(GO) test -timeout 60m -v -run 'Power|Fault|Killed|Flipped|Lost' ./snapshots/wal/

bench: setup
	$(GO) test -run '^$$' -bench . -benchtime 20x ./sandbox/ ./orchestrator/

study: setup
	$(GO) run ./experiments/study

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...

clean:
	rm -rf bin
