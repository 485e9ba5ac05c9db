# `make train` and `make test` are the two commands; everything else is listed by `make help`.
# Each environment is a folder made from one lock, without resolving anything, and made again when
# its lock changes. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
CONFIG ?= configs/vision/vit_digits.py
TOPOLOGY ?= v5e:4x4
WORKERS ?= 2
INSTALL = -m pip --python $@ install -qq --disable-pip-version-check --no-deps --require-hashes
RUN = .venv-dev/bin/python
# TensorFlow's start-up notes are for its own developers.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help train test test-data test-browser test-tpu compile compile-tpu check format lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

# The outer pip installs into the folder, so that neither `ensurepip` nor a venv package is needed;
# the stamp is written last: an interrupted installation is begun again.
.venv/done: locks/base.txt
.venv-dev/done: locks/dev.txt
.venv-tpu/done: locks/tpu-dev.txt
.venv/done .venv-dev/done .venv-tpu/done:
	@echo "Installing $< into $(@D) (a few minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Reprise runs on Python 3.11 and 3.12; $(PYTHON) is another: make PYTHON=python3.12"; exit 2; }
	@rm -rf $(@D) && $(PYTHON) -m venv --without-pip $(@D)
	@$(PYTHON) $(subst $@,$(@D),$(INSTALL)) -r $<
	@touch $@

train: .venv/done ## train CONFIG (a ViT on scikit-learn's digits) and print its result
	@.venv/bin/python train.py --config=$(CONFIG)

test: .venv-dev/done ## every test that needs no raw file and no accelerator, offline
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile -m "not raw and not browser and not tpu" $(ARGS)

test-data: .venv-dev/done ## the tests on real raw files (set REPRISE_RAW_DIR)
	@test -n "$$REPRISE_RAW_DIR" || { echo "Set REPRISE_RAW_DIR to the folder of raw files (README, Data)"; exit 2; }
	$(RUN) -m pytest -m raw $(ARGS)

test-browser: .venv-dev/done ## a real browser over report.html; screenshots in artifacts/
	@command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core; }
	$(RUN) -m pytest -m browser $(ARGS)

test-tpu: .venv-tpu/done ## compile for TPUs, ahead of time, on this CPU
	JAX_PLATFORMS=cpu .venv-tpu/bin/python -m pytest -m tpu $(ARGS)

compile: .venv-tpu/done ## does CONFIG fit a TPU slice, TOPOLOGY, and how fast: on this CPU
	@.venv-tpu/bin/python -m tools.compile --config=$(CONFIG) --topology=$(TOPOLOGY) $(ARGS)

compile-tpu: .venv-tpu/done ## the same of all configs that need an accelerator, into README.md (hours)
	.venv-tpu/bin/python -m tools.compile_all --readme $(ARGS)

check: .venv-dev/done ## lint, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m ty check --error-on-warning

format: .venv-dev/done ## format the tree
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# --no-config and the cleared variables: a lock must not remember the machine that made it.
lock: .venv-dev/done ## resolve pyproject.toml again into locks/ (needs the network)
	@for lock in base: dev:dev,graphs,text,sweep graphs:graphs text:text sweep:sweep tpu:tpu cuda:cuda tpu-dev:tpu,dev,graphs,text,sweep; do \
	  name=$${lock%%:*}; extras=$$(echo $${lock#*:} | tr , '\n' | sed '/^$$/d; s/^/--extra /' | tr '\n' ' '); \
	  env -u PIP_FIND_LINKS -u UV_INDEX_URL .venv-dev/bin/uv pip compile pyproject.toml $$extras \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --no-config --quiet $(LOCK_ARGS) -o locks/$$name.txt || exit 1; echo "locks/$$name.txt"; \
	done

clean: ## remove the environments and caches (runs/ stays)
	rm -rf .venv .venv-dev .venv-tpu .cache .pytest_cache .ruff_cache .hypothesis
