# make demo | test | coverage | test-lowest | test-newest | lint | scan | audit | bench | bench-gates | bench-train
# | bench-answers | soak | clean. All but test-lowest, test-newest, bench-train and bench-answers share one .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
BIN := .venv/bin
STAMP := .venv/installed
PEER := .venv-peer/bin
PEER_STAMP := .venv-peer/installed
ANSWERS := .venv-answers/bin
ANSWERS_STAMP := .venv-answers/installed
# Each worker begins with a stretch of neighbours, so that what a module trained for its tests is trained about once.
WORKERS ?= -n auto --maxprocesses 4 --dist worksteal
LOWEST := .venv-lowest/bin
NEWEST := .venv-newest/bin
# tests/house is about this repository and its tools, whatever is installed.
RANGE_TESTS ?= tests src --ignore=tests/house

.PHONY: demo test coverage test-lowest test-newest lint scan audit bench bench-gates bench-train bench-answers soak clean

demo: $(STAMP)
	$(BIN)/pytest --tunix-train examples/quickstart

test: lint scan
	$(BIN)/python -m pytest $(WORKERS)

# The same suite, and how much of the package it runs; pyproject.toml says how much it must. To measure it takes up to
# 1.7 times as long, so that .ci/run leaves it to a job beside it.
coverage: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The ends of the ranges in pyproject.toml. Each takes an environment of 1 GB and as long as make test, so that .ci/run,
# which every change waits for, leaves them to the jobs beside it; that the lowest versions are those of pyproject.toml
# is checked there.
test-lowest: .venv-lowest/installed
	$(LOWEST)/python -m pytest $(WORKERS) $(RANGE_TESTS)

test-newest: .venv-newest/installed
	$(NEWEST)/python -m pytest $(WORKERS) $(RANGE_TESTS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

scan: $(STAMP)
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline

audit: $(STAMP)
	$(BIN)/python .ci/audit.py constraints.txt

bench: $(STAMP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/parts.py
	$(BIN)/python benchmarks/data.py

bench-gates: $(STAMP)
	$(BIN)/python benchmarks/gates.py

# google-tunix lives in an environment of its own, of 1.3 GB, which only this needs.
bench-train: $(PEER_STAMP)
	$(PEER)/python benchmarks/train.py
	$(PEER)/python benchmarks/generate.py

# math-verify and lm-eval pin an old antlr, so that they have an environment of their own too.
bench-answers: $(ANSWERS_STAMP)
	$(ANSWERS)/python benchmarks/answers.py

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py

clean:
	rm -rf .venv .venv-lowest .venv-newest .venv-peer .venv-answers .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that an installation that broke off is done again.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or later found as python3.11 or python3; \
	install one, or say which: make PYTHON=/path/to/python" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt \
		--editable . --group dev
	touch $@

.venv-lowest/installed: pyproject.toml constraints-lowest.txt
	rm -rf .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --constraint constraints-lowest.txt \
		--editable '.[hf,parquet,sentencepiece,testing,xdist]' orjson setuptools statsmodels
	touch $@

# Made again each time that pyproject.toml changes or make clean was called; what is newest then is installed.
.venv-newest/installed: pyproject.toml
	rm -rf .venv-newest
	$(PYTHON) -m venv .venv-newest
	$(NEWEST)/python -m pip install --quiet --upgrade pip
	$(NEWEST)/python -m pip install --quiet --upgrade --editable . --group dev
	touch $@

$(PEER_STAMP): pyproject.toml benchmarks/peer-requirements.txt
	rm -rf .venv-peer
	$(PYTHON) -m venv .venv-peer
	$(PEER)/python -m pip install --quiet --requirement benchmarks/peer-requirements.txt
	$(PEER)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(ANSWERS_STAMP): pyproject.toml benchmarks/answers-requirements.txt
	rm -rf .venv-answers
	$(PYTHON) -m venv .venv-answers
	$(ANSWERS)/python -m pip install --quiet --requirement benchmarks/answers-requirements.txt
	$(ANSWERS)/python -m pip install --quiet --no-deps --editable .
	touch $@
