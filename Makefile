# Two commands do everything, their own set-up included: `make quickstart` and `make test`.
PYTHON ?= python3
# Where pip would fetch gigabytes of CUDA for a machine without a GPU, a pinned CPU build may be at
# hand; override it for another one: make TORCH="torch==2.14.1" test
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: quickstart test test-slow layout docs clean

quickstart: $(VENV)/.examples
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: $(VENV)/.test-slow
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest tests/students/test_setfit.py

layout: $(VENV)/.test
	$(BIN)/python tests/layout.py

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	touch $@

$(VENV)/.examples $(VENV)/.test $(VENV)/.test-slow $(VENV)/.docs: $(VENV)/.%: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache
