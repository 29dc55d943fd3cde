# `make demo` and `make test` do all their own set-up, in .venv
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help setup demo test bench docs docs-serve test-docs notebooks outputs readme clean
help:            ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## Make .venv and install the package with its development tools
$(READY): settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "binreg_nb needs Python 3.10 or later: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch, fastai and the rest into $(VENV) (some minutes, several GB)"
	$(BIN)/python -m pip install --quiet --upgrade pip 2>/dev/null || true
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

demo: $(READY)   ## Eight runs on scanned digits, a table, and runs/demo/report.html
	@$(BIN)/binreg-sweep demo --out runs/demo

test: $(READY)   ## Everything that guards the project: notebooks, then pytest (NB=nbs/20_regularizers.ipynb: one notebook)
	$(BIN)/python tools/nbtest.py $(NB)
	$(if $(NB),,$(BIN)/python -m pytest)

docs: $(READY)   ## The site, in _docs: by Quarto where it is installed, in pure Python where it is not
	$(BIN)/python -m pip install --quiet -e '.[dev,docs]'
	$(BIN)/python tools/docs

docs-serve: $(READY) ## The site, at http://localhost:4200
	$(BIN)/python -m pip install --quiet -e '.[dev,docs]'
	$(BIN)/python tools/docs --serve

test-docs: $(READY) ## Every page of the site in Chromium, a tutorial in JupyterLab, the package in an empty environment
	@command -v chromium chromium-browser google-chrome >/dev/null || { echo "test-docs needs Chromium: apt-get install chromium, or playwright install chromium"; exit 2; }
	$(BIN)/python -m pip install --quiet -e '.[dev,docs,test-docs]'
	$(BIN)/python -m pytest -n 0 tests_docs

bench: $(READY)  ## What quantization costs, and exported networks: results/bench-cpu.csv, bench-export-cpu.csv, export-checks.csv (BENCH="--device cuda" for a GPU, --quick to try)
	$(BIN)/python -m pip install --quiet -e '.[dev,bench,export]'
	$(BIN)/python benchmarks/bench.py $(BENCH)
	$(if $(findstring cuda,$(BENCH)),,$(BIN)/python benchmarks/export.py $(filter --quick,$(BENCH)))
	$(if $(findstring cuda,$(BENCH)),,$(BIN)/python benchmarks/runs.py $(filter --quick,$(BENCH)))

notebooks: $(READY) ## Export the library, clean the notebooks, write the README
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python tools/readme.py

outputs: $(READY) ## Run the notebooks and keep their outputs, then `notebooks`
	$(BIN)/python tools/nbtest.py --save
	$(MAKE) notebooks

clean:           ## Remove the environment and build products (runs/ stays)
	rm -rf $(VENV) build dist _docs _proc *.egg-info
