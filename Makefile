# One target for each thing a person does. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
UV := $(BIN)/uv

# A folder of labeled texts beside the checkout is offered to every target; without it, see "Your own texts" in README.md.
ifneq ($(wildcard ../shared/data/README.md),)
export GROUNDSWELL_DATA__DIR ?= $(abspath ../shared/data)
endif
export BENTOML_HOME ?= $(CURDIR)/var/bentoml
export BENTOML_DO_NOT_TRACK ?= 1
export DO_NOT_TRACK ?= 1
export GX_ANALYTICS_ENABLED ?= false
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false

.PHONY: help
help: ## List every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# Bytecode is compiled once here: where Python may not write it (PYTHONDONTWRITEBYTECODE), each import of torch would take twice as long.
$(STAMP): pyproject.toml requirements.lock | $(UV)
	@echo "Setting up .venv (one to two minutes the first time) ..."
	$(UV) pip install --python $(BIN)/python --quiet --compile-bytecode --editable ".[train,serve,stream,lakehouse,aws]" --group test --group lint --constraint requirements.lock
	@touch $@

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet "$$(grep -E '^uv==' requirements.lock)"

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything the lock names (UV_TORCH_BACKEND=cpu takes the smaller torch)
	@mkdir -p var/dagster/storage var/mlflow

DASHBOARD := serving/dashboard
PAGES := $(DASHBOARD)/out/index.html
NPM := npm --prefix $(DASHBOARD)

$(DASHBOARD)/node_modules/.installed: $(DASHBOARD)/package.json $(DASHBOARD)/package-lock.json
	@command -v npm >/dev/null || { echo "Node 20 is needed to build the dashboard, and only for that; the API runs without it."; exit 1; }
	@echo "Fetching what the dashboard is built from ..."
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGES): $(DASHBOARD)/node_modules/.installed $(shell git ls-files -co --exclude-standard $(DASHBOARD))
	@echo "Building the dashboard (about 20 s) ..."
	@NEXT_TELEMETRY_DISABLED=1 $(NPM) run --silent build >$(DASHBOARD)/build.log 2>&1 || { cat $(DASHBOARD)/build.log; exit 1; }
	@touch $@

.PHONY: dashboard
dashboard: $(PAGES) ## Build the dashboard that the service shows at / (Node 20)

.PHONY: dashboard-types
dashboard-types: setup $(DASHBOARD)/node_modules/.installed ## Make the dashboard's types from the API's contracts
	@$(BIN)/python -m serving.service.openapi >$(DASHBOARD)/openapi.json
	@$(NPM) run --silent types

.PHONY: demo
demo: setup dashboard ## The main job in ten minutes: data to a model that answers (ONCE=1 exits at the end)
	@$(BIN)/groundswell demo $(if $(ONCE),--once)

.PHONY: demo-lakehouse
demo-lakehouse: setup ## Raw tweets through Bronze, Silver and Gold, and what they say, in three minutes (Java 17, Maven)
	@$(BIN)/groundswell lakehouse demo

.PHONY: train
train: setup ## Train, benchmark, export, gate and register on all rows (about an hour on two cores)
	@$(BIN)/groundswell train

.PHONY: serve
serve: setup ## Answer with the production model on http://127.0.0.1:3000
	@$(BIN)/groundswell serve

.PHONY: kafka
kafka: setup ## A real Kafka on 127.0.0.1:9092 with the topics, until Ctrl-C (Java 17, Maven); says the three commands of the stream
	@$(BIN)/groundswell stream kafka

.PHONY: dagster
dagster: setup ## The graph, its runs and checks on http://127.0.0.1:3001
	@$(BIN)/groundswell dagster

.PHONY: mlflow
mlflow: setup ## The comparison of runs on http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning
	@mkdir -p var/mlflow
	@$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///$(CURDIR)/var/mlflow/mlflow.db

.PHONY: check
check: setup $(DASHBOARD)/node_modules/.installed ## Style, types, and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	@$(BIN)/python -m serving.service.openapi >$(DASHBOARD)/openapi.json
	@$(NPM) run --silent types -- --check >/dev/null || { echo "The dashboard's types are not those of the API: make dashboard-types"; exit 1; }
	$(NPM) run --silent check

.PHONY: test-fast
test-fast: setup ## Tests without servers or training, under three minutes
	@$(BIN)/python -m pytest -m "not integration and not lakehouse and not soak" -n 2

lacking = $$(command -v $(1) >/dev/null || echo $(2))

# What tests need of the system; a machine without apt has to bring it.
.PHONY: system
system:
	@missing="$(call lacking,redis-server,redis-server) $(call lacking,promtool,prometheus) $(call lacking,mvn,maven) $(call lacking,wrk,wrk) $(call lacking,chromium,chromium)"; \
	test -z "$${missing// }" || (apt-get update -q && apt-get install -y -q --no-install-recommends $$missing) >/dev/null

.PHONY: test
test: system check dashboard ## Everything: style, types, fast tests, real components
	@$(BIN)/python -m pytest -m "not lakehouse and not soak" -n 2 --dist loadfile --no-loadscope-reorder --durations=30

.PHONY: test-lakehouse
test-lakehouse: system setup ## More of Spark than `make test` has time for: a cluster, the page's commands, the benchmark made small
	@LAKEHOUSE_KILLS=5 $(BIN)/python -m pytest -m lakehouse
	@LAKEHOUSE_KILLS=5 $(BIN)/python -m pytest tests/serving/test_lakehouse.py -k killed

.PHONY: soak
soak: setup ## Bounds on time and memory; the API at twice its capacity for a minute; the stream with fifty random kills; the fuzzed API; benchmarks made small
	@SOAK_S=60 $(BIN)/python -m pytest -m soak -s
	@SOAK_ROUNDS=50 $(BIN)/python -m pytest tests/serving/test_stream_kills.py -s
	@SOAK_EXAMPLES=1000 $(BIN)/python -m pytest tests/serving/test_abuse.py

.PHONY: bench
bench: setup ## Ratios against named peers, with spread, CPU time beside wall time
	@$(BIN)/python -m orchestration.bench

.PHONY: bench-api
bench-api: setup ## The API under load beside FastAPI, BentoML's batcher and LitServe, the same texts and processors (wrk, if installed, sends the load)
	@$(BIN)/python -m orchestration.bench_api $(ARGS)

.PHONY: bench-stream
bench-stream: setup ## The stream on a real Kafka: against a naive worker and bulk classify, latency, a burst, alerts beside ADWIN and Page-Hinkley
	@$(BIN)/python -m orchestration.bench_stream $(ARGS)

.PHONY: bench-dashboard
bench-dashboard: setup dashboard ## The page under 1,000 messages a second, 200 viewers, panels over 100 million rows
	@$(BIN)/python -m orchestration.bench_dashboard $(ARGS)

.PHONY: bench-lakehouse
bench-lakehouse: setup ## Gold beside bulk classify, MLflow's Spark UDF and a transformers UDF; age of a row; small files
	@$(BIN)/python -m orchestration.bench_lakehouse $(ARGS)

.PHONY: screens
screens: setup dashboard ## Pictures of every view into docs/screens, beside a running `make demo`
	@mkdir -p docs/screens
	@SCREENS=$(CURDIR)/docs/screens SCREENS_URL=http://127.0.0.1:3000 $(BIN)/python -m pytest -q tests/serving/test_dashboard.py -k seen

.PHONY: lock
lock: $(UV) ## Resolve requirements.lock anew
	$(UV) pip compile pyproject.toml --all-extras --group test --group lint --python-version 3.11 --quiet --output-file requirements.lock

.PHONY: clean
clean: ## Remove everything fetched or produced (var/), not the environment
	rm -rf var
