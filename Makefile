# Two commands do everything, their own set-up included: `make quickstart` and `make test`.
PYTHON ?= python3
# Where pip would fetch gigabytes of CUDA for a machine without a GPU, a pinned CPU build may be at
# hand; override it for another one: make TORCH="torch==2.14.1" test. TORCH=torch keeps what is there.
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin
PYTEST = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0 --timeout 300
# The oldest packages beside the newest of those that they use: the former call what is deprecated.
test-lowest: PYTEST += -W ignore::DeprecationWarning

.PHONY: quickstart test coverage test-slow reliability test-lowest test-latest layout docs dist clean

quickstart: $(VENV)/.examples
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(call PYTEST,$(VENV))

coverage: $(VENV)/.test
	$(call PYTEST,$(VENV)) --cov

test-slow: $(VENV)/.test-slow
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest tests/students/test_setfit.py

# Kills, full disks, soaks: the long part of what docs/reliability.md promises.
reliability: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "" tests/reliability

# The oldest and the newest versions that pyproject.toml allows: make test-lowest PYTHON=python3.10
test-lowest: RESOLUTION = lowest-direct
test-latest: RESOLUTION = highest
test-lowest test-latest: test-%:
	$(PYTHON) -m venv --clear $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet uv
	$(VENV)-$*/bin/uv pip install --quiet --python $(VENV)-$* --resolution $(RESOLUTION) --editable ".[test]"
	$(call PYTEST,$(VENV)-$*)

layout: $(VENV)/.test
	$(BIN)/python tests/layout.py

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

# The wheel, the sdist, an SBOM and SHA256SUMS, each tried in an environment of its own.
dist: $(VENV)/.release
	$(BIN)/python scripts/release.py --with "$(TORCH)"

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	touch $@

$(VENV)/.examples $(VENV)/.test $(VENV)/.test-slow $(VENV)/.docs $(VENV)/.release: $(VENV)/.%: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-latest quickstart-out dist docs/_build .pytest_cache .mypy_cache .ruff_cache
