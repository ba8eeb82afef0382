# The commands of a clone. All paths are relative, so the clone may stand anywhere.

PYTHON_VENV := .venv/bin/python
PYTEST := $(PYTHON_VENV) -m pytest
# Two files of tests at a time: one core waits while the other one works.
SIDE_BY_SIDE := -n 2 --dist loadfile
# A word after `fault` is the fault's name, not a target.
ifeq (fault,$(firstword $(MAKECMDGOALS)))
FAULTS := $(wordlist 2,99,$(MAKECMDGOALS))
.PHONY: $(FAULTS)
$(FAULTS): fault ; @:
endif

.DEFAULT_GOAL := help
.PHONY: help run stop fault test test-long drill bench bench-peers soak lint tools venv clean distclean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: ## start the demo: traffic, exporter, Prometheus, Alertmanager; Ctrl-C stops all of it
	@.ci/make_venv.sh run
	@FETCH_SECONDS=60 .ci/fetch_tools.sh || echo 'run: going on without what is missing'
	@$(PYTHON_VENV) exporter/demo/run.py start $(RUN_FLAGS)

stop: ## stop a demo that runs in another terminal
	@if [ -x $(PYTHON_VENV) ]; then $(PYTHON_VENV) exporter/demo/run.py stop; fi

fault: ## make fault NAME: break the running demo; `make fault none` heals it
	@.ci/make_venv.sh run
	@$(PYTHON_VENV) exporter/demo/run.py fault $(FAULTS)

test: venv ## run all tests but the long ones, the linters and the type checker
	@.ci/fetch_tools.sh --node-exporter --chromium || [ -z "$$CI" ] || { echo 'test: in CI every tool must be there' >&2; exit 1; }
	@$(MAKE) --no-print-directory lint
	$(PYTEST) $(SIDE_BY_SIDE) -m 'not long'

test-long: venv ## run the tests that take minutes
	@.ci/fetch_tools.sh --node-exporter --chromium || [ -z "$$CI" ] || { echo 'test-long: in CI every tool must be there' >&2; exit 1; }
	$(PYTEST) $(SIDE_BY_SIDE) -m long

drill: venv ## every fault once, on the real exporter, Prometheus and Alertmanager; tells what paged and when
	@.ci/fetch_tools.sh
	@PYTHONPATH=exporter/demo $(PYTHON_VENV) -m tests.e2e.drill

bench: venv ## measure reading and scraping against a yardstick in the same run, and what memory depends on
	$(PYTHON_VENV) -m tests.bench.ingest
	$(PYTHON_VENV) -m tests.bench.steady
	$(PYTHON_VENV) -m tests.bench.scale

soak: venv ## an hour of an exporter's life: rotation, reloads, scrapes, pushes; SOAK_FLAGS="--minutes 2" for less
	$(PYTHON_VENV) -m tests.bench.soak $(SOAK_FLAGS)

bench-peers: venv ## the same rows through Evidently, whylogs and NannyML, each in an environment of its own
	$(PYTHON_VENV) -m tests.bench.peers

lint: venv ## ruff and mypy
	$(PYTHON_VENV) -m ruff check .
	$(PYTHON_VENV) -m ruff format --check .
	$(PYTHON_VENV) -m mypy

tools: ## fetch prometheus, promtool, alertmanager and amtool into .tools/bin (TOOLS_FLAGS=--chromium: that too)
	@.ci/fetch_tools.sh $(TOOLS_FLAGS)

venv:
	@.ci/make_venv.sh dev

clean: stop ## remove what the demo, the tests and the builds left
	rm -rf var build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find exporter prometheus grafana tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## the same, and .venv and .tools
	rm -rf .venv .tools
