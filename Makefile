# Every target runs the section of the same name in .ci/run, so that a machine and a person run one thing.
.PHONY: run build test check e2e fuzz mutants badinput conformance cluster cluster-down chaos deploy bench profile house clean

run: build ## build everything and start the demo
	./bin/sluice demo

build:
	go build -o bin/sluice ./cmd/sluice

test: ## what a newcomer runs: needs only Go
	@SHORT=1 .ci/run fast unit e2e badinput

check: ## all that CI runs; as root it installs what it needs
	@.ci/run

e2e badinput conformance deploy mutants:
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
