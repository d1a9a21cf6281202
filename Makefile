# Two commands matter: `make demo` and `make test`. Each sets up all that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AUDIT := $(VENV)-audit
CAMERA ?=
PORT ?= 8080
# By file, in our own order: the longest first (tests/conftest.py).
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test stress faults failover soak check audit setup setup-dev system-packages format train clean

# The camera travels in the environment, not in the recipe: nothing prints its password, no character needs quoting.
demo: export SYNCVIS_CAMERA := $(value CAMERA)
demo: setup ## Start the server on the embedded camera, or on CAMERA=rtsp://user:password@host/path
	@$(BIN)/syncvis-online demo --port $(PORT)

test: setup-dev system-packages ## All tests: units, real RTSP servers, a real browser, a real Prometheus
# Units and what starts servers in processes of their own: what one leaves in a process, the other does not hear of.
	$(BIN)/python -m pytest $(TWO) --durations 10 tests/syncvis_online tests/stream
	$(BIN)/python -m pytest $(TWO) --durations 15 tests/integration
	$(BIN)/python -m pytest $(TWO) --durations 10 tests/browser

check: setup-dev ## Lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: ## Ask PyPI for known weaknesses of the pinned packages; says so and goes on where it cannot be asked
	@$(AUDIT)/bin/python -m pip_audit --version >/dev/null 2>&1 || { $(PYTHON) -m venv $(AUDIT) && \
		$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; } || true
	@$(AUDIT)/bin/python scripts/audit.py constraints.txt

stress: setup-dev system-packages ## Long forms: viewers and cameras that come and go, ten minutes each; overload, six
	SYNCVIS_STRESS_MINUTES=10 $(BIN)/python -m pytest tests/stream/test_many_viewers.py tests/stream/test_cameras_stress.py tests/stream/test_overload.py

faults: setup-dev system-packages ## Every fault of cameras and networks, one after the other: a table (docs/faults.md)
	$(BIN)/python -m tests.faults

failover: setup-dev system-packages ## Workers, nodes, gateways and the controller of a Ray cluster killed: a table (docs/scale.md)
	$(BIN)/python -m tests.cluster

soak: setup-dev system-packages ## A day of viewers, cameras and faults in an hour: nothing may stay behind (docs/results.md)
	mkdir -p artifacts
	SYNCVIS_SOAK_ROUNDS=60 SYNCVIS_SOAK_JSON=artifacts/soak.json $(BIN)/python -m pytest tests/integration/test_soak.py

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/.train ## Train the checkpoint that ships (hours on two cores; resumes): see docs/training.md
	nice $(BIN)/syncvis-online train small

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/.runtime: pyproject.toml constraints.txt
	sh scripts/setup.sh $(PYTHON) $(VENV) .
	touch $@

$(VENV)/.train: $(VENV)/.runtime
	sh scripts/setup.sh $(PYTHON) $(VENV) '.[train]'
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	sh scripts/setup.sh $(PYTHON) $(VENV) '.[dev]'
# By themselves: they ask for opencv-python, which would take the place of the headless build.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt \
		trackeval trackers supervision pydeprecate
	touch $@

system-packages:
	sh scripts/system_packages.sh

clean:
	rm -rf $(VENV) $(AUDIT) artifacts .pytest_cache .mypy_cache .ruff_cache
