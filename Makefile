# Everything runs in .venv; nothing is set up twice (the stamp file remembers).
PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed
RUN    := $(VENV)/bin/python

# The index to take torch and torchvision from, both from the same one: empty for the default index,
# or the address that PyTorch's installation page names for a CPU-only or a particular CUDA build.
TORCH_INDEX ?=

.PHONY: help install demo test test-slow test-search fuzz check docs wheel format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

install: $(STAMP)  ## install everything in .venv

$(STAMP): requirements.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"expected Python 3.11 or newer, got {v.major}.{v.minor}; run `make PYTHON=/path/to/python3.11`")'
	$(PYTHON) -m venv $(VENV)
ifeq ($(strip $(TORCH_INDEX)),)
	$(RUN) -m pip install --quiet --no-deps --requirement requirements.txt
else
	$(RUN) -m pip install --quiet --index-url $(TORCH_INDEX) $$(grep -E '^torch(vision)?==' requirements.txt)
	grep -vE '^(torch|torchvision|triton|cuda-.*|nvidia-.*)==' requirements.txt > $(VENV)/requirements-without-torch.txt
	$(RUN) -m pip install --quiet --no-deps --requirement $(VENV)/requirements-without-torch.txt
endif
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(RUN) -W ignore -c 'import torch, torchvision; torchvision.ops.nms' || \
	  { echo 'torch and torchvision do not match: take both from one index (see "Installation" in README.md)'; exit 2; }
	@touch $(STAMP)

demo: $(STAMP)  ## the main job on synthetic radiographs, in runs/demo
	$(VENV)/bin/mura demo --resume

# One thread a process, as many processes as CPUs: more threads would only wait for one another. Modules are
# given out in the order of `tests/conftest.py`, the long ones first. Many containers forbid Python to keep
# compiled files: each of some sixty processes would compile the packages anew, and pytest all tests.
test: $(STAMP)  ## the test suite, on all CPUs
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses logical --dist loadscope --no-loadscope-reorder

test-slow: $(STAMP)  ## the checks that take longer
	$(RUN) -m pytest -m slow

test-search: $(STAMP)  ## the property tests of the environment, with ten times as many and new examples
	HYPOTHESIS_PROFILE=search $(RUN) -m pytest --numprocesses logical tests/mura_env

fuzz: $(STAMP)  ## 2,000 generated hostile inputs of all kinds: no traceback, hang, lost file or executed code
	OMP_NUM_THREADS=1 $(RUN) -m tests.fuzz.run

check: $(STAMP)  ## format, lint, types with benchmarks, import contract
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(STAMP)  ## the documentation, in docs/_build/html; warnings are errors
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

wheel: $(STAMP)  ## a wheel of the package, in dist
	rm -rf build
	$(RUN) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

format: $(STAMP)  ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(STAMP)  ## the speed benchmarks
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(RUN) $$script || exit 1; done

clean:  ## remove the environment and caches (runs/ stays)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis docs/_build build dist
