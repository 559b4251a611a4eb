# Two commands are enough on a fresh machine with Python 3.11 or later and git: `make train` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA := $(firstword $(wildcard data/*.json data/*/))
RECORDINGS := $(if $(DATA),data,.cache/simulated)

.PHONY: train app lint quick test nightly prepare readme config bench clean

train: $(VENV)/.installed
	@if [ "$(RECORDINGS)" = ".cache/simulated" ] && [ ! -d .cache/simulated ]; then \
		echo "data/ holds no recordings: simulating a machine into .cache/simulated"; \
		rm -rf .cache/simulated.tmp; $(BIN)/sounddetect simulate .cache/simulated.tmp --recordings 240 > /dev/null && mv .cache/simulated.tmp .cache/simulated; fi
	$(BIN)/sounddetect train $(RECORDINGS) --config config.yaml

# The workbench as a page in the browser.
app: $(VENV)/.installed-app
	$(BIN)/sounddetect app

export OMP_NUM_THREADS ?= 2

# Who has set ClearML up wants to see trainings there, not tests.
quick test nightly: export CLEARML_CONFIG_FILE = /dev/null
# A worker spends a third of its time waiting, for browsers, servers and programs; two a core were not faster.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/mypy

# While one works, two minutes at most: lint, types, the notebooks that differ from main, and tests that start nothing.
quick: lint
	$(PYTEST) -m "not slow" --changed

# Everything that a change has to pass, each notebook and each test once.
test: $(VENV)/.installed-dev
	$(BIN)/python tools/checks.py
	$(MAKE) lint
	$(PYTEST)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python settings.ini setup.py constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-app: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[app]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

# An environment with Colab's versions, for the tests of the widgets in the classic notebook; without it they skip.
.venv-colab: .venv-colab/.installed
.venv-colab/.installed: $(VENV)/.installed-dev tests/workbench/constraints-colab.txt tools/colab_environment.py
	$(BIN)/python tools/colab_environment.py .venv-colab
	@touch $@

# Before a commit: export, clean, README, tests.
prepare: $(VENV)/.installed-dev
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/readme.py
	$(MAKE) test

readme: $(VENV)/.installed-dev
	$(BIN)/nbdev_export
	$(BIN)/python tools/readme.py

# After a default changed in nbs/00_foundation/02_config.ipynb: write the two configuration files again.
config: $(VENV)/.installed-dev
	$(BIN)/python tools/write_configs.py

# What takes too long for every change: twenty kills at any moment and fifty at a call instead of three, 1,000 changed inputs and 500 run folders, the contract of every network, cells marked as slow.
nightly: $(VENV)/.installed-dev
	SOUNDDETECT_KILLS=20 SOUNDDETECT_CALLS=50 SOUNDDETECT_INPUTS=1000 SOUNDDETECT_FOLDERS=500 SOUNDDETECT_FLAGS=slow $(PYTEST) tests/workbench/test_browser.py tests/workbench/test_twelve_in_browser.py tests/jobs/test_interruptions.py tests/jobs/test_kills.py tests/jobs/test_engines.py tests/jobs/test_ray_cluster.py tests/service/test_service.py tests/service/test_postgres.py tests/data/test_corpus.py tests/testing tests/notebooks

bench: $(VENV)/.installed-dev
	$(BIN)/python bench/training_speed.py
	$(BIN)/python bench/scaling.py
	$(BIN)/python bench/memory_forecast.py
	$(BIN)/python bench/batch_size.py --only "s, 100 MiB"
	$(BIN)/python bench/checkpoints.py
	$(BIN)/python bench/reading.py --scale 0.1

clean:
	rm -rf $(VENV) .cache
