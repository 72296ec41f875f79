# One target per task. `make` alone lists them, by the headings that start with `##@`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
UV := $(BIN)/uv

# Every target uses a folder of labeled texts next to the checkout, if there is one; otherwise see "Your own texts" in README.md.
ifneq ($(wildcard ../shared/data/README.md),)
export GROUNDSWELL_DATA__DIR ?= $(abspath ../shared/data)
endif
export BENTOML_HOME ?= $(CURDIR)/var/bentoml
export BENTOML_DO_NOT_TRACK ?= 1
export DO_NOT_TRACK ?= 1
export GX_ANALYTICS_ENABLED ?= false
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false

# Compile bytecode once at installation: with PYTHONDONTWRITEBYTECODE set, each import of torch would otherwise take twice as long.
$(STAMP): pyproject.toml requirements.lock | $(UV)
	@echo "Setting up .venv (one to two minutes the first time) ..."
	$(UV) pip install --python $(BIN)/python --quiet --compile-bytecode --editable ".[train,serve,stream,lakehouse,aws,openvino]" --group test --group lint --constraint requirements.lock
	@touch $@

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 not found; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet "$$(grep -E '^uv==' requirements.lock)"

DASHBOARD := serving/dashboard
PAGES := $(DASHBOARD)/out/index.html
NPM := npm --prefix $(DASHBOARD)

$(DASHBOARD)/node_modules/.installed: $(DASHBOARD)/package.json $(DASHBOARD)/package-lock.json
	@command -v npm >/dev/null || { echo "npm not found; install Node 20. Only the build of the dashboard needs it; the API runs without."; exit 1; }
	@echo "Installing the dashboard's npm packages ..."
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGES): $(DASHBOARD)/node_modules/.installed $(shell git ls-files -co --exclude-standard $(DASHBOARD))
	@echo "Building the dashboard (about 20 s) ..."
	@NEXT_TELEMETRY_DISABLED=1 $(NPM) run --silent build >$(DASHBOARD)/build.log 2>&1 || { cat $(DASHBOARD)/build.log; exit 1; }
	@touch $@

##@ Start

.PHONY: setup
setup: $(STAMP) ## Create .venv from requirements.lock (UV_TORCH_BACKEND=cpu installs the smaller torch)
	@mkdir -p var/dagster/storage var/mlflow

.PHONY: demo
demo: setup dashboard ## From data to a served model in ten minutes, with stream and dashboard (ONCE=1 exits at the end)
	@$(BIN)/groundswell demo $(if $(ONCE),--once)

.PHONY: demo-lakehouse
demo-lakehouse: setup ## Raw tweets through Bronze, Silver and Gold, with views and plots, in three minutes (Java 17, Maven)
	@$(BIN)/groundswell lakehouse demo

##@ Train

.PHONY: train
train: setup ## Train, benchmark, export, gate and register on all rows (about an hour on two cores)
	@$(BIN)/groundswell train

STUDENTS := minilm-distilled minilm-4 minilm-2 minilm-1 table

.PHONY: frontier
frontier: setup ## Train MPNet-base, distill it into every student, make one bundle with all tiers (many hours on two cores; resumes)
	@$(BIN)/groundswell models fetch mpnet
	@set -e; export GROUNDSWELL_DISTILLATION__TEACHER=mpnet; \
	for name in tfidf static mpnet $(STUDENTS); do $(BIN)/groundswell train --candidate $$name; done; \
	$(BIN)/groundswell train

##@ Serve

.PHONY: serve
serve: setup ## Serve the production model on http://127.0.0.1:3000
	@$(BIN)/groundswell serve

.PHONY: kafka
kafka: setup ## Run Kafka on 127.0.0.1:9092 with the topics until Ctrl-C (Java 17, Maven); prints the commands of the stream
	@$(BIN)/groundswell stream kafka

.PHONY: dagster
dagster: setup ## Open Dagster (graph, runs, checks) on http://127.0.0.1:3001
	@$(BIN)/groundswell dagster

.PHONY: mlflow
mlflow: setup ## Open MLflow; compare runs on http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning
	@mkdir -p var/mlflow
	@$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///$(CURDIR)/var/mlflow/mlflow.db

##@ Develop

.PHONY: check
check: setup $(DASHBOARD)/node_modules/.installed ## Check style, types and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python .ci/words.py
	$(BIN)/pyright
	@$(BIN)/python -m serving.service.docs.openapi >$(DASHBOARD)/openapi.json
	@$(NPM) run --silent types -- --check >/dev/null || { echo "The dashboard's types differ from the API's; run make dashboard-types"; exit 1; }
	$(NPM) run --silent check

.PHONY: dashboard
dashboard: $(PAGES) ## Build the dashboard that the service serves at / (Node 20)

.PHONY: dashboard-types
dashboard-types: setup $(DASHBOARD)/node_modules/.installed ## Generate the dashboard's TypeScript types from the API's contracts
	@$(BIN)/python -m serving.service.docs.openapi >$(DASHBOARD)/openapi.json
	@$(NPM) run --silent types

.PHONY: settings-page
settings-page: setup ## Write docs/settings.md again from the settings in the code
	@$(BIN)/python -m data.settings_page

.PHONY: screens
screens: setup dashboard ## Write screenshots of every view to docs/screens while `make demo` runs
	@mkdir -p docs/screens
	@SCREENS=$(CURDIR)/docs/screens SCREENS_URL=http://127.0.0.1:3000 $(BIN)/python -m pytest -q tests/serving/test_dashboard.py -k seen

.PHONY: lock
lock: $(UV) ## Write requirements.lock again from pyproject.toml
	$(UV) pip compile pyproject.toml --all-extras --group test --group lint --python-version 3.11 --quiet --output-file requirements.lock

.PHONY: clean
clean: ## Remove everything fetched or produced (var/), but not .venv
	rm -rf var

.PHONY: help
help: ## List every target
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Test

FAST := -m "not integration and not slow and not lakehouse and not soak and not benchmark" -n 2

.PHONY: test-fast
test-fast: setup ## Run the tests without servers or training, under three minutes
	@$(BIN)/python -m pytest $(FAST)

.PHONY: coverage
coverage: setup ## Run the fast tests and require the share of lines that they reach
	@$(BIN)/python -m pytest $(FAST) --cov --cov-report=

lacking = $$(command -v $(1) >/dev/null || echo $(2))

# Install the system packages that the tests need; without apt, install them yourself.
.PHONY: system
system:
	@missing="$(call lacking,redis-server,redis-server) $(call lacking,promtool,prometheus) $(call lacking,mvn,maven) $(call lacking,wrk,wrk) $(call lacking,chromium,chromium)"; \
	test -z "$${missing// }" || (apt-get update -q && apt-get install -y -q --no-install-recommends $$missing) >/dev/null

.PHONY: test
test: ## Check style and types; run fast tests and tests on real components
	@$(MAKE) --no-print-directory --jobs=3 system check dashboard # each of them leaves a core idle
	@$(BIN)/python -m pytest -m "not lakehouse and not soak and not benchmark" -n 3 --dist loadfile --no-loadscope-reorder --durations=30

.PHONY: test-lakehouse
test-lakehouse: system setup ## Run the long Spark tests: a cluster, the commands of docs/lakehouse.md
	@LAKEHOUSE_KILLS=5 $(BIN)/python -m pytest -m lakehouse
	@LAKEHOUSE_KILLS=5 $(BIN)/python -m pytest tests/serving/test_lakehouse.py -k killed

.PHONY: test-bench
test-bench: system setup ## Run every test of the benchmarks, and the benchmarks themselves made small
	@$(BIN)/python -m pytest tests/benchmarks

.PHONY: soak
soak: setup ## Run tests with bounds on time and memory: the API overloaded and fuzzed, fifty random kills of the stream
	@SOAK_S=60 $(BIN)/python -m pytest -m soak -s
	@SOAK_ROUNDS=50 $(BIN)/python -m pytest tests/serving/test_stream_kills.py -s
	@SOAK_EXAMPLES=1000 $(BIN)/python -m pytest tests/serving/test_abuse.py

##@ Measure

.PHONY: bench
bench: setup ## Compare speed with named peers: ratios with their spread, CPU and wall time
	@$(BIN)/python -m benchmarks.models

.PHONY: bench-engines
bench-engines: setup ## Compare every export variant on ONNX Runtime and OpenVINO: CPU time, changed labels, dependence on the batch
	@$(BIN)/python -m benchmarks.engines $(ARGS)

.PHONY: bench-articles
bench-articles: setup ## Measure articles a second on two cores, classified in windows, by length and tier
	@$(BIN)/python -m benchmarks.articles $(ARGS)

.PHONY: bench-api
bench-api: setup ## Compare the API under load with FastAPI, BentoML's batcher and LitServe on the same texts and CPUs (wrk, if installed)
	@$(BIN)/python -m benchmarks.api $(ARGS)

.PHONY: bench-stream
bench-stream: setup ## Measure the stream on a real Kafka: throughput, latency, a burst, alerts compared with ADWIN and Page-Hinkley
	@$(BIN)/python -m benchmarks.stream $(ARGS)

.PHONY: bench-dashboard
bench-dashboard: setup dashboard ## Measure the dashboard: 1,000 messages per second, 200 viewers, panels on 100 million rows
	@$(BIN)/python -m benchmarks.dashboard $(ARGS)

.PHONY: bench-lakehouse
bench-lakehouse: setup ## Compare Gold with bulk classify, MLflow's Spark UDF and a transformers UDF; age of a row; small files
	@$(BIN)/python -m benchmarks.lakehouse $(ARGS)
