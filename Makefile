# One environment, .venv, built by the first target that needs it from the exact versions in envs/requirements.lock.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.cohortseg-ready
SNAKEMAKE := $(BIN)/snakemake --snakefile workflow/Snakefile
TINY := tests/data/cohort
NETWORK := scripts/cohortseg/networks/models/nuclei-mini.pt
IMAGES ?= ../shared/data/dsb2018
PROFILES := $(or $(XDG_CONFIG_HOME),$(HOME)/.config)/snakemake

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slurm profile lint bench network format schemas lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

env: $(READY) ## build the environment in .venv

$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "cohortseg needs Python 3.11 or newer, not %s: make PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Building the environment in $(VENV): about 7 GB, a few minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## make a small cohort, segment it, print what was made
	@test -f demo/config.yaml || $(BIN)/cohortseg demo demo
	@$(SNAKEMAKE) --workflow-profile profiles/local --directory demo --configfile demo/config.yaml --quiet rules progress host reason
	@echo "Made in demo/results, a folder for each sample and for each stack:"
	@cd demo/results && ls -d */*.* stacks/*/*.* | sed 's/^/  /'
	@echo "Open demo/results/cohort/report.html in a browser to see the cells."

test: $(READY) ## run all tests
	@$(BIN)/python -m pytest

test-slurm: $(READY) ## run the workflow on a SLURM cluster that is started for it (needs slurm-wlm and munge)
	@PATH="$$PATH:/usr/sbin" command -v slurmctld >/dev/null || \
		{ echo "SLURM is not installed: apt-get install --no-install-recommends slurm-wlm munge" >&2; exit 1; }
	@$(BIN)/python -m pytest tests/slurm

# Not overwritten: what is there may be the profile of another workflow.
profile: ## once, for `snakemake --profile slurm`: let Snakemake find profiles/slurm by its name
	@mkdir -p $(PROFILES)
	@test $(PROFILES)/slurm -ef profiles/slurm || ln -sT $(CURDIR)/profiles/slurm $(PROFILES)/slurm
	@echo "$(PROFILES)/slurm is profiles/slurm of this folder."

lint: $(READY) ## check style, types and the workflow
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check workflow
	@$(SNAKEMAKE) --lint --directory $(TINY) --configfile $(TINY)/config.yaml

bench: $(READY) ## measure speed and memory, also against Cellpose 3.1.1.3 (an hour; WHAT="whole postprocess": less)
	@$(BIN)/python tests/benchmarks/bench.py $(WHAT)

# Its weights began as those that cohortseg had first, which the history keeps.
network: $(READY) ## train nuclei-mini again, in training/ (IMAGES=folder of BBBC038 stage 1; 75 minutes on 3 cores)
	@mkdir -p training/first
	@git show "$$(git log --diff-filter=A --format=%H -- $(NETWORK) | tail -1):$(NETWORK)" > training/first/nuclei-mini.pt
	@$(BIN)/cohortseg dsb2018 $(IMAGES) training/sheet.tsv
	@$(BIN)/cohortseg train training/sheet.tsv --output training/nuclei-mini --config-file config/nuclei-mini.yaml --threads 3

format: $(READY) ## put all files into their standard format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/snakefmt workflow

schemas: $(READY) ## write workflow/schemas and the tables of config/README.md from the settings
	@$(BIN)/python -m cohortseg.settings.schema .

lock: $(READY) ## add what pyproject.toml needs to the lock file, keeping the versions it has (UPGRADE=--upgrade: not)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11.2 --extra test --extra dev $(UPGRADE) \
		--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml --output-file envs/requirements.lock

clean: ## remove the environment, the demo and all caches; results stay
	@rm -rf $(VENV) .bench demo .mypy_cache .ruff_cache .pytest_cache .hypothesis scripts/cohortseg.egg-info $(TINY)/.snakemake
	@find scripts tests -type d -name __pycache__ -prune -exec rm -rf {} +
