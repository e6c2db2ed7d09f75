# The same verbs for people and CI; each sets up .venv if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := recsys tests benchmarks docs train.py serve_index.py

.PHONY: demo quick test check format serve bench reliability extras trackers clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "recsys needs Python 3.11 or newer: make PYTHON=python3.12 demo")'
	@echo "setting up .venv     one to three minutes, 2 GB with a CPU build of torch"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

demo: $(READY)  ## train, judge and publish on the built-in shop
	@$(BIN)/python train.py name=demo

serve: $(READY)  ## serve the newest bundle
	@$(BIN)/python serve_index.py

quick: $(READY)  ## the loop of every day
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not data and not reliability"

test: $(READY)  ## every test but those of make reliability
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not reliability"

reliability: $(READY)  ## the table of promises; RELEASE=1 tries as often as a release asks, SEED=N draws anew
	@$(BIN)/python -m benchmarks.promises --seed $(or $(SEED),1) $(if $(RELEASE),--release --all)

check: $(READY)  ## style, types, floors, dependencies, spelling
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/deptry .
	@$(BIN)/typos

format: $(READY)
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

extras: $(READY)  ## trackers, ray and a driver of PostgreSQL: 150 MB, 500 MB installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[tensorboard,mlflow,ray,postgres]"

trackers: $(READY)  ## tensorboard and mlflow, for trainer.logger: 44 MB, 200 MB installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[tensorboard,mlflow]"

bench: $(READY)  ## the promises of speed, one table each
	@for module in benchmarks/*.py; do $(BIN)/python -m benchmarks.$$(basename $$module .py) --quick || exit 1; done

clean:
	rm -rf $(VENV) runs bundles exports .pytest_cache .mypy_cache .ruff_cache .hypothesis
