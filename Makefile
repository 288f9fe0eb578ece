# Two commands matter: make evolve, and make test. Both set up what is missing.
GO ?= go
FUZZTIME ?= 30s
PREFIX ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: setup build install evolve tournament test browser crash faults calibrate bench lint fuzz study clean

setup:
	@./setup.sh

build:
	$(GO) build -trimpath -ldflags '-X main.stamped=$(VERSION)' -o bin/jird ./cmd/jird

# DESTDIR stands before PREFIX, for packages.
install: build
	install -Dm755 bin/jird '$(DESTDIR)$(PREFIX)/bin/jird'
	mkdir -p '$(DESTDIR)$(PREFIX)/share/bash-completion/completions'
	bin/jird completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/jird'

evolve: setup build
	./bin/jird run experiments/examples/packer/experiment.yaml --budget 90s --workers 2

# Sorting networks against the inputs that they do not sort.
tournament: setup build
	./bin/jird tournament experiments/examples/sortnet/tournament.yaml --workers 2

# What takes long is here in small; browser, crash, faults, calibrate and fuzz have it whole.
# The longest packages come first, so that none is left to run alone at the end. SQLite,
# which is C made Go, goes without the checks of unsafe pointers: they took half its time.
# make lint vets; what a debugger would need is not linked.
test:
	@./setup.sh test
	$(GO) test -race -vet=off -ldflags=-w -gcflags='modernc.org/...=-d=checkptr=0' -timeout 15m $(TESTFLAGS) ./cmd/jird ./sandbox ./experiments ./...

# All kinds of pages in a browser, in all windows.
browser:
	@./setup.sh test
	JIRD_BROWSER=all $(GO) test -count=1 -v -run Browser ./cmd/jird/

# The guard and its agent killed CRASH_KILLS times under load, the journal's crash tests,
# CRASH_ROUNDS times, and the vault's at each step. A failure prints its seed:
# CRASH_SEED=N, of the latter -seed N, repeats the draws.
crash: setup
	CRASH_KILLS=$(or $(CRASH_KILLS),1000) $(GO) test -timeout 120m -v -run TestCrash ./cmd/jird/
	CRASH_ROUNDS=$(or $(CRASH_ROUNDS),20) $(GO) test -timeout 60m -v -run 'Power|Fault|Killed|Flipped|Lost' ./snapshots/wal/
	$(GO) test -timeout 60m -v -run 'PowerCut|Refused' ./snapshots/ -all

# What befalls runs through a queue: workers, servers and the run itself killed, stopped or
# frozen, the network cut; then each fault on each kind of server, its stores on the disk,
# and a line that is cut for as long as the usual pings need. Root is needed for networks.
faults:
	@./setup.sh test
	JIRD_FAULTS=all $(GO) test -count=1 -timeout 30m -parallel 8 -v -run TestEngine ./cmd/jird/
	REMOTE_FAULTS=all $(GO) test -race -count=1 -timeout 30m -v ./orchestrator/remote/

# The arbiter's promises in many simulated promotions of each kind.
calibrate:
	$(GO) test -v -run Calibration ./orchestrator/promote/ -simulations 1000

# Each figure beside its baseline of the same run. The guard's kills are measured beside
# an OTP supervisor: Debian's erlang-base is installed for this only.
bench:
	@./setup.sh bench
	$(GO) test -run '^$$' -bench . -benchtime 20x ./sandbox/ ./cmd/jird/
	$(GO) test -run '^$$' -bench Ledger -benchtime 5x ./experiments/
	$(GO) test -run '^$$' -bench Page -benchtime 3x ./experiments/report/
	$(GO) test -run '^$$' -bench Farm -benchtime 3x ./experiments/
	$(GO) test -run '^$$' -bench . ./orchestrator/remote/
	$(GO) test -run '^$$' -bench 'Batches|Recitals' -benchtime 20x ./orchestrator/
	$(GO) test -run '^$$' -bench Matches -benchtime 1x ./orchestrator/
	$(GO) test -run '^$$' -bench Kill -benchtime 200x ./orchestrator/guard/
	$(GO) test -run '^$$' -bench Open -benchtime 10x ./orchestrator/guard/
	$(GO) test -run '^$$' -bench 'Call/(get|put|packer|1ms|10ms)$$' -benchtime 2000x ./orchestrator/guard/
	$(GO) test -run '^$$' -bench 'Call/memory' -benchtime 2x ./orchestrator/guard/
	$(GO) test -run '^$$' -bench . -benchtime 200x ./snapshots/wal/
	$(GO) test -run '^$$' -bench . -benchtime 3x ./snapshots/

# STUDY='sortnet dilemma' takes some of them only.
study: setup
	$(GO) run ./experiments/study $(STUDY)

# govulncheck asks a database on the net; where that cannot be reached the rest counts.
lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) && echo "govulncheck: nothing known" || \
		case "$$out" in \
		*"fetching vulnerabilities"*) echo "govulncheck: skipped, its database cannot be reached" ;; \
		*) echo "$$out"; exit 1 ;; \
		esac

# Each fuzz target for FUZZTIME: go test takes one at a time.
fuzz:
	@targets=$$(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' .); \
	test -n "$$targets" || { echo "there is no fuzz target"; exit 1; }; \
	echo "$$targets" | sed 's/:func / /' | while read -r file target; do \
		echo "$$target in $$(dirname "$$file")"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
	done

clean:
	rm -rf bin
