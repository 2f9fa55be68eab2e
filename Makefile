# The two commands of the README are `make demo` and `make test`; `make` alone lists the rest.
# Written for GNU make 3.81 and a POSIX sh, as macOS has them.

.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS =

.PHONY: help demo stack stack-down status test test-images lint lock bench clean-data env env-spark env-dev

help: ## this list
	@echo 'tillwatch: an operations console and alert notifier over an Iceberg lakehouse'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'More words for a command go in ARGS: make demo ARGS="--rate 50", make test ARGS="-k alerts"'

demo: env ## everything on this machine, with simulated shoppers; Ctrl-C ends it
	@exec $(BIN)/tillwatch demo $(ARGS)

stack: env-spark ## the same on Kafka, Spark, Nessie and S3, as plain processes; Ctrl-C ends it
	@exec $(BIN)/tillwatch stack $(ARGS)

stack-down: env-spark ## end the stack, or what a crash left of it
	@exec $(BIN)/tillwatch stack-down

# The real stack after the rest: its servers would slow the browsers down. 5 says that ARGS chose no test of one half.
# xdist would begin with the files of most tests, and end with one of a single long one, beside an idle worker.
test: env-dev ## the whole test suite, but for the images
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/stack --ignore=tests/images $(ARGS) || [ $$? -eq 5 ]
	@$(BIN)/pytest -n 2 --dist worksteal tests/stack $(ARGS) || [ $$? -eq 5 ]

test-images: env-dev ## docker-compose.yml on images built here, on a private Docker engine; Linux, as root, 20 min
	@$(BIN)/pytest tests/images -s $(ARGS)

lint: env-dev ## ruff, mypy --strict and the import rules; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

status: env ## is it running, how old is the data: one screen of text
	@exec $(BIN)/tillwatch status $(ARGS)

bench: env-dev ## the figures of the table in docs/performance.md, measured here
	@exec $(BIN)/python -m bench $(ARGS)

lock: env-dev ## choose versions anew: writes requirements/*.lock and measures the download
	@exec sh deploy/lock $(ARGS)

clean-data: ## remove the data directory (not while the demo runs)
	@if [ -x $(BIN)/tillwatch ]; then exec $(BIN)/tillwatch clean-data $(ARGS); else rm -rf .tillwatch; fi

env:
	@sh deploy/bootstrap default

env-spark:
	@sh deploy/bootstrap spark

env-dev:
	@sh deploy/bootstrap dev
