# Every target runs the section of the same name in .ci/run, so that a machine and a person run one thing.
# The portal's pages, made anew when a source of them changed.
PAGES := config/portal/static/app/index.html

.PHONY: run build ui test check e2e fuzz mutants badinput conformance portal cluster cluster-down chaos deploy bench profile house clean

run: ## build everything and start the demo
	@if command -v npm >/dev/null 2>&1; then $(MAKE) ui; else echo "NOTE no npm: built without the portal, which says how to get it"; fi
	@$(MAKE) build
	./bin/sluice demo

build:
	go build -o bin/sluice ./cmd/sluice

ui: $(PAGES) ## the portal's pages, for the next build; needs Node 20

$(PAGES): config/admin/openapi.yaml $(shell find config/portal/ui -path '*/node_modules' -prune -o -type f -print)
	cd config/portal/ui && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent build

test: ## what a newcomer runs: needs only Go; with npm and Chromium the portal is walked through too, else that is skipped and said
	@SHORT=1 .ci/run fast tests portal

check: ## all that CI runs; as root it installs what it needs
	@.ci/run

e2e badinput conformance portal deploy mutants:
	@.ci/run $@

cluster: ## the whole deployment as processes of this machine, shown in the terminal; needs haproxy and redis-server
	go run ./test/topology/cluster up

cluster-down: ## ends a cluster that was left running
	go run ./test/topology/cluster down

chaos: ## faults on that deployment: SEEDS=5 for each scenario, S=edge-kill for one; an hour
	@CHAOS_SEEDS=$${SEEDS:-5} CHAOS_SCENARIO=$(S) go test -count=1 -v -timeout 6h -run 'TestChaos' ./test/chaos

fuzz: ## FUZZTIME=2m for each target; T=FuzzSubject for one
	@FUZZTIME=$${FUZZTIME:-2m} .ci/run fuzz

bench: ## measures the cells that README.md shows and writes them there; 15 minutes on an idle machine
	@.ci/run bench

profile: ## where CPU and memory of a loaded gateway go, into profile/; PROFILE='--clients 8000 --rate 5' for another load
	@.ci/run profile

house:
	go test -count=1 -v ./test/house

clean:
	rm -rf bin data dist profile
