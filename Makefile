PYTHON ?= python3
BIN := .venv/bin

export MPLBACKEND := Agg
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Two installs into one environment must not overlap.
.NOTPARALLEL:
.PHONY: help example test sweep gallery plain lint format coverage nightly docs truth bench dist oldest newest clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

example: .venv/.plots-stamp  ## fit, print and plot a first model
	@$(BIN)/python -c 'import runpy; from matplotlib import pyplot as plt; plt.show = lambda: plt.savefig("engel.png", dpi=150); \
	  runpy.run_path("examples/first/plot_engel.py"); print("\nThe picture is in engel.png")'

test: lint  ## lint, then run all tests and doctests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: .venv/.test-stamp  ## check style, format, spelling and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy

format: .venv/.test-stamp  ## format, and fix what is safe to fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

sweep: .venv/.test-stamp  ## run the seeds and pairs of the batteries that `make test` leaves out
	$(BIN)/python -m pytest -m sweep --numprocesses 2 --dist worksteal

gallery: .venv/.test-stamp  ## run every example with warnings as errors
	$(BIN)/python -m pytest -m gallery tests/test_docs.py

# What fits whole data sets would take hours so.
plain: .venv/.test-stamp  ## run what tests kernels, contracts and losses without compiling anything
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest tests/test_kernels.py tests/contract tests/test_distribution.py \
	  tests/test_trust_region.py tests/test_datasets.py tests/simulation/test_voronoi.py \
	  tests/simulation/test_density.py tests/simulation/test_truth.py

# What numba compiles is invisible to it.
coverage: .venv/.test-stamp  ## run the suite and say which lines of Python it visits: htmlcov/index.html
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-report=html

# What is too slow for every change.
nightly: sweep coverage plain gallery truth oldest newest dist  ## run all that `make test` leaves out

truth: .venv/.test-stamp  ## check fits against the known maxima
	$(BIN)/python benchmarks/truth.py

bench: .venv/.bench-stamp  ## time everything beside other programs: make bench ARGS=--quick
	$(BIN)/python benchmarks/speed.py $(ARGS)

docs: .venv/.docs-stamp  ## build the documentation: docs/_build/html/index.html
	@rm -rf docs/api/generated
	$(BIN)/python -m sphinx -W --keep-going -q -j 2 -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

# The README's examples run on the wheel in an environment that has nothing else, away from the checkout.
dist: .venv/.created  ## build sdist and wheel, and run the README on the wheel in an empty environment
	@rm -rf dist build/dist && mkdir -p build/dist
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/dist/env
	build/dist/env/bin/python -m pip install --quiet "$$(ls dist/*.whl)[plots]" pandas
	cd build/dist && MPLBACKEND=Agg env/bin/python ../../tests/readme.py
	@ls -l dist

# The versions that setup.cfg allows at least, and the newest that there are.
oldest:  ## run core tests with the oldest versions that are allowed
newest:  ## run core tests with the newest versions that there are
oldest newest:
	rm -rf build/$@ && $(PYTHON) -m venv build/$@
	$(PYTHON) tests/versions.py $@ > build/$@/constraints.txt
	build/$@/bin/python -m pip install --quiet . pytest pandas polars matplotlib formulaic hypothesis \
	  --constraint build/$@/constraints.txt
	build/$@/bin/python -c 'import smoe; smoe.show_versions()'
	build/$@/bin/python -m pytest -q -o addopts= tests/test_estimators.py tests/test_fitted.py tests/test_saving.py

clean:  ## remove the environment and all that was built
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .coverage htmlcov \
	  docs/_build docs/auto_examples docs/api/generated

# Always editable, so that every target sees the checkout, in whatever order they run.
.venv/.%-stamp: .venv/.created setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

# --clear starts over after a creation that failed half-way.
.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'smoe needs Python 3.11 or newer, and "$(PYTHON)" is not: make PYTHON=/path/to/python ...' >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@
