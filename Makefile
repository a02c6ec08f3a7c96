# Everything happens in `python -m fraudsite.dev`; this file only finds a Python and names the commands.
# PORT=8001 FRAUDSITE_HOME=/somewhere ARGS="…" may be given after any target.

SHELL := /bin/sh
.DEFAULT_GOAL := help
# Variables given as `make run PORT=8001` reach the command: make exports what its command line says.


# The first Python that is new enough, asked by running it: a version manager's stand-in may exist and fail.
FIND_PYTHON = for p in $(PYTHON) .venv/bin/python python3 python3.13 python3.12 python3.11 /usr/bin/python3; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then echo "fraudsite: no Python 3.11 or newer found; install one or say PYTHON=/path/to/it" >&2; exit 1; fi

DEV = @$(FIND_PYTHON); exec "$$found" -m fraudsite.dev

.PHONY: help setup run test test-cluster bench lint format lock status validate reset logs psql kpis risk cases manage makemigrations

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /  make \1: /p' $(MAKEFILE_LIST)

run: ## everything, until Ctrl-C (PORT=8001 FRAUDSITE_HOME=/somewhere DEMO=0)
	$(DEV) run

test: ## every test against real PostgreSQL and Redis (ARGS="path -q" for some)
	$(DEV) test $(ARGS)

test-cluster: ## the same with velocity in a Redis Cluster of three throw-away nodes
	$(DEV) test-cluster $(ARGS)

bench: ## the benchmark: a table, each figure beside its floor
	$(DEV) bench $(ARGS)

status: ## health, processes, queues and counts of the running stack
	$(DEV) status

validate: ## an end-to-end check of the running stack that says what is wrong
	$(DEV) validate

reset: ## wipe data, uploads, mail, logs, key and passwords (YES=1: without asking)
	$(DEV) reset

logs: ## follow the processes' logs (ARGS="web beat" for some)
	$(DEV) logs $(ARGS)

psql: ## a prompt of the running stack's database
	$(DEV) psql $(ARGS)

kpis: ## the key figures
	$(DEV) kpis

risk: ## the riskiest accounts (TIER=critical)
	$(DEV) risk

cases: ## the cases (STATUS=open)
	$(DEV) cases

setup: ## virtual environment with everything tests and linters need
	$(DEV) setup

lint: ## every linter that CI runs
	$(DEV) lint

format: ## write the code as the linters want it, where they can
	$(DEV) format $(ARGS)

manage: ## a Django command next to the running stack (ARGS="shell")
	$(DEV) manage $(ARGS)

makemigrations: ## write migrations, with a throw-away database (ARGS="app -n name")
	$(DEV) with -- .venv/bin/python manage.py makemigrations --skip-checks $(ARGS)

lock: ## pin and hash the trees of requirements*.txt
	$(DEV) lock
