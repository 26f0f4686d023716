# Every target does all of its set-up: a fresh clone needs Python >= 3.10 and a network, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test gpu integrations engines portable slow check package docs format bench golden clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/prune-env compare --task digits --scenarios clean noise:0.3 \
	    --agents full short static-random random \
	        epsilon-greedy epsilon-greedy:refresh=forward-only,period=4 \
	        ucb ucb:refresh=forward-only,period=4 \
	    --epochs 20 --keep-fraction 0.25 --seeds 5 --out runs/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto

# What only a CUDA device shows: the tests marked for it, then the checklist of a first hour on one.
gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python benchmarks/first_minutes.py

# A sampler in Lightning, transformers, TRL, accelerate and torchdata, which it installs besides.
INTEGRATIONS := tests/test_lightning.py tests/test_transformers.py tests/test_loop_examples.py

integrations: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,integrations]"
	$(BIN)/python -m pytest -n auto $(INTEGRATIONS)

# Comparisons by Ray, Dask and SLURM's submitit, and RLlib, which it installs besides.
engines: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,engines]"
	$(BIN)/python -m pytest tests/test_engines.py tests/test_rllib.py

# What trains, again as other processors would compute it, and with larger networks in bfloat16.
PORTABLE := tests/test_golden.py tests/test_contract.py tests/test_training.py tests/test_updates.py \
    tests/test_env.py tests/test_vector.py tests/test_models.py tests/test_sampler.py

portable: $(STAMP)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
	    MKL_CBWR=COMPATIBLE $(BIN)/python -m pytest -n auto $(PORTABLE)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	    MKL_CBWR=AVX2 $(BIN)/python -m pytest -n auto $(PORTABLE)
	$(BIN)/python -m pytest -n auto --cnn-precision bfloat16 $(PORTABLE)

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

package: $(STAMP)
	.ci/package $(BIN)/python

# The site in build/site: open index.html there, no server and no network is needed.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python benchmarks/speed.py

golden: $(STAMP)
	$(BIN)/python tests/golden/regenerate.py

clean:
	rm -rf $(VENV) build dist *.egg-info
