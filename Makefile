# `make` prints the targets. Every target sets up what it needs: a virtual environment from the lock, redis-server, …
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MARKET_PORT ?= 9000
PORT ?= 8000
# Pairs are separated by commas; URL is that of the first one.
comma := ,
PAIR = $(shell tr A-Z a-z <<<'$(firstword $(subst $(comma), ,$(PAIRS)) eth-usdt)')
URL = http://127.0.0.1:$(PORT)/api/v1/prices/$(PAIR)
FROM_MARKET = MARKET_URL=http://127.0.0.1:$(MARKET_PORT)

.PHONY: help
help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Setting up: pip prints only problems, and one line is enough if no package index can be reached.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --retries 2
fetch = $(PIP) install --require-hashes --no-deps -r $(1) 2>$(VENV)/pip.log || { \
	  grep -qE "Retrying|Connection|No matching" $(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }; \
	  echo "cannot fetch the packages of $(1): no package index can be reached from here; see $(VENV)/pip.log, and set PIP_INDEX_URL or HTTPS_PROXY"; exit 1; }

$(VENV)/run.done: requirements/run.lock setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fastprice needs Python 3.11 or newer: set PYTHON=/path/to/it"; exit 1; }
	@echo "setting up $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(call fetch,requirements/run.lock)
	@PYTHONWARNINGS=ignore $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.done: $(VENV)/run.done requirements/dev.lock
	@$(call fetch,requirements/dev.lock)
	@touch $@

.PHONY: redis-server
redis-server:
	@command -v redis-server >/dev/null || { echo "installing redis-server, for the tests ..."; .ci/install redis-server; }

# For the test with two machines; it is skipped without root, which is needed to make network namespaces.
.PHONY: iproute2
iproute2:
	@command -v ip >/dev/null || [ "$$(id -u)" != 0 ] || { echo "installing iproute2, for the tests ..."; .ci/install iproute2; }

.PHONY: prometheus
prometheus: $(VENV)/dev.done
	@PATH="$(BIN):$$PATH"; command -v promtool >/dev/null && command -v prometheus >/dev/null || \
	{ echo "fetching prometheus and promtool into $(BIN), for the tests ..."; .ci/unpack prometheus $(BIN) prometheus promtool; }
	@PATH="$(BIN):$$PATH"; command -v amtool >/dev/null || \
	{ echo "fetching Alertmanager's amtool into $(BIN), for the tests ..."; .ci/unpack prometheus-alertmanager $(BIN) amtool; }

.PHONY: nginx
nginx:
	@PATH=$$PATH:/usr/sbin; command -v nginx >/dev/null || { echo "installing nginx, for the tests ..."; .ci/install nginx; }

# For the tests of the page; if it cannot be installed, they are skipped.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { echo "installing chromium, for the tests ..."; .ci/install chromium || echo "no chromium: the tests in a browser are skipped"; }

.PHONY: hey
hey:
	@command -v hey >/dev/null || { echo "installing hey, for the load test ..."; .ci/install hey; }

.PHONY: wrk
wrk:
	@command -v wrk >/dev/null || { echo "installing wrk, for the measurements ..."; .ci/install wrk; }

# One measurement uses its own client, which is written in C.
.PHONY: cc
cc:
	@command -v cc >/dev/null || { echo "installing gcc, for the measurements ..."; .ci/install gcc libc6-dev; }

.PHONY: run
run: $(VENV)/run.done  ## serve live prices on http://localhost:8000
	@PORT=$(PORT) exec $(BIN)/fastprice serve

.PHONY: demo
demo: $(VENV)/run.done  ## the same against a simulated exchange, for a machine that cannot reach any exchange
	@bench/with-market $(MARKET_PORT) env $(FROM_MARKET) PORT=$(PORT) $(BIN)/fastprice serve

.PHONY: quote
quote: $(VENV)/run.done  ## ask every exchange once and print the table
	@$(BIN)/fastprice quote

.PHONY: test
test: $(VENV)/dev.done redis-server iproute2 nginx prometheus chromium hey wrk lint types  ## lint, types, and every test; COVERAGE=1, as in CI, also measures what the tests cover
	@$(BIN)/python -m pytest -q --numprocesses auto --dist worksteal --durations 15 $(if $(COVERAGE),--cov --cov-report=term)

.PHONY: test-pythons
test-pythons: $(VENV)/dev.done prometheus  ## the unit tests on Python 3.11, 3.12 and 3.13, those that are installed and not in .venv
	@for version in 3.11 3.12 3.13; do .ci/test-python $$version $(BIN) || exit 1; done

.PHONY: lint
lint: $(VENV)/dev.done audit  ## style and likely mistakes
	@$(BIN)/flake8 fastprice tests bench
	@$(BIN)/isort --check --quiet fastprice tests bench

# One request shows whether PyPI can be reached; if it cannot, that is no error of ours. Anything else that goes wrong
# is one: a lock that cannot be read must not look like a lock without known vulnerabilities.
UNASKED := connection|timed out|resolve|proxy|retries|ssl|not found on PyPI|[45][0-9][0-9] (client|server) error
AUDIT := pip-audit --strict --require-hashes --disable-pip --progress-spinner off --timeout 5 -r requirements/run.lock

.PHONY: audit
audit: $(VENV)/dev.done  ## look for known vulnerabilities in what the service depends on
	@said=$$($(BIN)/$(AUDIT) 2>&1) || { ! grep "^Found" -A 99 <<<"$$said" || exit 1; \
	tail -n 1 <<<"$$said" | grep -qiE "$(UNASKED)" || { echo "the lock cannot be audited:"; tail -n 5 <<<"$$said"; exit 1; }; \
	echo "the lock was not audited, because PyPI cannot be reached: $$(tail -n 1 <<<"$$said" | cut -c 1-150)"; }

# The rules are the same everywhere, but the Prometheus operator needs them in an object of its own.
RULES := docker/prometheus/rules
.PHONY: rules
rules:  ## write the alerting rules into the PrometheusRule of docker/kubernetes
	@{ printf '# Written by `make rules` from $(RULES).\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n'; \
	printf 'metadata: {name: fastprice}\nspec:\n  groups:\n'; \
	for file in $(RULES)/recording.yml $(RULES)/alerts.yml; do sed '1,/^groups:/d; s/^./  &/' $$file; done; \
	} >docker/kubernetes/prometheusrule.yaml

.PHONY: types
types: $(VENV)/dev.done  ## mypy, strict
	@$(BIN)/mypy

.PHONY: bench
bench: $(VENV)/dev.done  ## micro-benchmarks
	@$(BIN)/python -m pytest -q bench --benchmark-enable --benchmark-columns=median,iqr,ops --benchmark-sort=name

# A smaller run, to see that it works: REQUESTS=200 CLIENTS=10 make load, DURATION=2s make soak
CLIENTS ?= 300

.PHONY: load
load: $(VENV)/run.done hey  ## 10,000 requests from 300 clients against the service on a simulated exchange
	@bench/with-market $(MARKET_PORT) env $(FROM_MARKET) PORT=$(PORT) bench/with-service $(URL) $(BIN)/python -m bench.load hey -n $(or $(REQUESTS),10000) -c $(CLIENTS) $(URL)

.PHONY: soak
soak: $(VENV)/run.done hey  ## 60 seconds of 300 clients
	@bench/with-market $(MARKET_PORT) env $(FROM_MARKET) PORT=$(PORT) bench/with-service $(URL) $(BIN)/python -m bench.load hey -z $(or $(DURATION),60s) -c $(CLIENTS) $(URL)

# A smaller run, to see that it works: ROUNDS=1 SECONDS=1 ONLY="lane uvicorn" make bench-peers; bench-connections,
# bench-acceptor and bench-push take parts, servers or both as ONLY ("close idle lane"); bench-growth takes one axis and
# its first POINTS; bench-streams takes STEPS, STREAM_SECONDS, and parts, exchanges or both ("embedded okx").
SECONDS ?= 4

$(VENV)/bench.done: $(VENV)/run.done requirements/bench.lock
	@$(PIP) install --require-hashes --no-deps -r requirements/bench.lock && touch $@ || echo "some peers could not be installed"

NCHAN := /usr/lib/nginx/modules/ngx_nchan_module.so

.PHONY: bench-tools
bench-tools:
	@$(call want,wrk,wrk); $(call want,cc,gcc libc6-dev); $(call want,nginx,nginx); $(call want,varnishd,varnish); \
	$(call want,redis-server,redis-server); $(call want,ab,apache2-utils); $(call want,hey,hey); \
	$(call want,node,nodejs); test -e $(NCHAN) || { echo "installing nchan, to measure against it ..."; .ci/install libnginx-mod-nchan || true; }
# If a program cannot be installed, the measurement says what it leaves out.
want = command -v $(1) >/dev/null || { echo "installing $(2), to measure against it ..."; .ci/install $(2) || true; }

.PHONY: bench-peers
bench-peers: $(VENV)/bench.done bench-tools  ## CPU time per request beside nginx, Varnish, FastAPI and others
	@$(BIN)/python -m bench.peers --rounds $(or $(ROUNDS),5) --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-connections
bench-connections: $(VENV)/bench.done bench-tools  ## what a new connection costs, and the requests that are not for one price
	@$(BIN)/python -m bench.connections --rounds $(or $(ROUNDS),5) --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-acceptor
bench-acceptor: $(VENV)/bench.done bench-tools  ## connections that come and go, all come at once, or come while workers end
	@$(BIN)/python -m bench.acceptor --rounds $(or $(ROUNDS),3) --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-push
bench-push: $(VENV)/bench.done bench-tools  ## what pushing a price to 10,000 subscribers costs beside nchan and others
	@$(BIN)/python -m bench.push --rounds $(or $(ROUNDS),5) --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-streams
bench-streams: $(VENV)/run.done redis-server  ## how soon an exchange's push is in every worker's answer, and what pushes cost
	@$(BIN)/python -m bench.streams_in --rounds $(or $(ROUNDS),3) --steps $(or $(STEPS),1000) \
	--seconds $(or $(STREAM_SECONDS),20) $(if $(ONLY),--only $(ONLY))

.PHONY: soak-push
soak-push: $(VENV)/bench.done bench-tools  ## ten minutes with 10,000 subscribers, and ten with those that come and go
	@$(BIN)/python -m bench.push.soak $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: bench-growth
bench-growth: $(VENV)/bench.done bench-tools  ## cost and memory over pairs, connections and workers
	@$(BIN)/python -m bench.growth --rounds $(or $(ROUNDS),3) --seconds $(SECONDS) \
	$(if $(ONLY),--only $(ONLY)) $(if $(POINTS),--points $(POINTS))

.PHONY: bench-fleet
bench-fleet: $(VENV)/run.done  ## simulate fleets of 1 to 10,000 workers and their failures, in virtual time
	@$(BIN)/python -m bench.fleet $(if $(QUICK),--quick)

.PHONY: bench-agreement
bench-agreement: $(VENV)/run.done  ## let exchanges lie for half an hour of virtual time each, and see what is served
	@$(BIN)/python -m bench.agreement $(if $(QUICK),--quick)

# A smaller run, to see that it works: FAILURES="--intervals 5 --kills 3 --listeners 3 --stop 5" make bench-failures
.PHONY: bench-failures
bench-failures: $(VENV)/run.done redis-server hey  ## a fleet that starts cold, loses its caller and its listener, loses Redis
	@$(BIN)/python -m bench.failures $(FAILURES)

# To repeat an earlier run, or for a shorter one: SEED=7 MINUTES=1 make chaos
MINUTES ?= 30

.PHONY: chaos
chaos: $(VENV)/run.done redis-server  ## half an hour of seeded troubles, every answer judged
	@$(BIN)/python -m bench.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: chaos-streams
chaos-streams: $(VENV)/run.done  ## ten minutes of seeded faults of streams, every served quote judged
	@$(BIN)/python -m bench.streamfaults --minutes $(or $(STREAM_MINUTES),10) $(if $(SEED),--seed $(SEED))

# Some of them, shorter ones, or a shorter seeded combination: ONLY="end mixed" SIZE=0.3 COMBINED=6 make drills
.PHONY: drills
drills: $(VENV)/dev.done redis-server nginx hey cc  ## every failure we know, under load, with each answer judged; fifty minutes
	@$(BIN)/python -m bench.drills $(if $(ONLY),--only $(ONLY)) $(if $(SIZE),--size $(SIZE)) $(if $(COMBINED),--minutes $(COMBINED))

.PHONY: drills-soak
drills-soak: $(VENV)/dev.done redis-server  ## an hour of load, after which a worker holds what it held before; SIZE=0.1 for six minutes
	@$(BIN)/python -m bench.drills --only soak $(if $(SIZE),--size $(SIZE))

.PHONY: drills-protections
drills-protections: $(VENV)/dev.done redis-server nginx hey  ## take each protection away, and see a drill notice
	@$(BIN)/python -m bench.drills.protections $(if $(ONLY),--only $(ONLY))

# Sooner, and into another directory: WAIT=1 DIRECTORY=/tmp make screenshots
WAIT ?= 240

.PHONY: screenshots
screenshots: $(VENV)/dev.done chromium  ## take the pictures of the live page in docs/ again, with simulated prices
	@PAIRS=$(PAIR) CACHE_TTL=5 MAX_STALE=12 bench/with-market $(MARKET_PORT) env $(FROM_MARKET) PORT=$(PORT) bench/with-service $(URL) \
	$(BIN)/python -m bench.screenshots http://127.0.0.1:$(PORT)/ http://127.0.0.1:$(MARKET_PORT) $(or $(DIRECTORY),docs) --seconds $(WAIT)

# Containers. MARKET=1 in front of make serves a simulated exchange's prices; REPLICAS=5 make scale starts 5 replicas.
COMPOSE := PORT=$(PORT) MARKET_PORT=$(MARKET_PORT) REVISION=$(shell git rev-parse HEAD 2>/dev/null) docker compose
PROFILES := $(if $(MARKET),--profile market)
SIMULATED := $(if $(MARKET),MARKET_URL=http://market:9000)
REPLICAS ?= 2

.PHONY: docker
docker:
	@docker compose version >/dev/null 2>&1 || { echo "this needs Docker with compose (https://docs.docker.com/get-docker/); make run and make demo do without"; exit 1; }

.PHONY: up
up: docker  ## the service and Redis in containers
	@$(SIMULATED) $(COMPOSE) $(PROFILES) up --detach --build --wait

.PHONY: dev
dev: docker  ## in containers, restarted at every change of the source; prices of a simulated exchange
	@$(COMPOSE) -f docker-compose.dev.yml up --build

.PHONY: scale
scale: docker  ## REPLICAS replicas behind nginx
	@$(SIMULATED) $(COMPOSE) -f docker-compose.scale.yml $(PROFILES) up --detach --build --wait --scale app=$(REPLICAS)

.PHONY: monitoring
monitoring: docker  ## the same, with Prometheus on port 9090, Alertmanager on 9093 and Grafana on 3000
	@$(SIMULATED) $(COMPOSE) -f docker-compose.scale.yml $(PROFILES) --profile monitoring up --detach --build --wait --scale app=$(REPLICAS)

.PHONY: roll
roll: docker  ## replace the replicas one by one, without losing a request
	@$(SIMULATED) $(COMPOSE) -f docker-compose.scale.yml build app
	@$(SIMULATED) PORT=$(PORT) MARKET_PORT=$(MARKET_PORT) docker/roll.sh

.PHONY: reload
reload: docker  ## let nginx take over changed settings and certificates, without losing a request
	@$(SIMULATED) PORT=$(PORT) MARKET_PORT=$(MARKET_PORT) docker/reload.sh

.PHONY: down
down: docker  ## stop and remove what these five started
	@$(COMPOSE) -f docker-compose.scale.yml --profile market --profile monitoring down --remove-orphans
	@$(COMPOSE) -f docker-compose.dev.yml down --remove-orphans

.PHONY: logs
logs: docker  ## follow the containers' logs
	@project=$$(docker compose ls --quiet | grep -E -m 1 '^fastprice(-dev)?$$') || { echo "no container of ours runs"; exit 1; }; \
	exec docker compose --project-name "$$project" logs --follow --tail 100

COMPILE := $(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --all-build-deps \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-annotate --no-header

# The first lock constrains the others, so that what is tested and measured is what runs.
.PHONY: lock
lock: $(VENV)/dev.done  ## resolve setup.cfg again into requirements/*.lock
	@$(COMPILE) --output-file requirements/run.lock setup.cfg
	@$(COMPILE) --constraint requirements/run.lock --extra dev --output-file requirements/dev.lock setup.cfg
	@$(COMPILE) --constraint requirements/run.lock --extra bench --output-file requirements/bench.lock setup.cfg

.PHONY: clean
clean:  ## remove what these targets made
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .hypothesis .benchmarks
