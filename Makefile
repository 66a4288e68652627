# make demo: a synthetic heart, segmented and measured. make test: everything that can be tested without Slicer.
# Both make their own environment in .venv and reuse what is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench bench-cine bench-perfusion agreement flags results clean

# The answer to the terms is kept in the demo's folder: it must not stand for one's own images.
demo: $(VENV)/.demo
	CARDIACAI_HOME=$(CURDIR)/demo/.terms $(BIN)/cardiacai demo --output demo --accept-license

# Two files at a time: what a file shares stays in one process.
test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check CardiacAI CardiacAISegment CardiacAIMass CardiacAIPerfusion Testing

# What the results page tells of time and memory comes from here.
bench: $(VENV)/.test
	$(BIN)/python -m CardiacAITraining.results.bench_files -o docs/evaluations/bench

bench-cine: $(VENV)/.test
	$(BIN)/python -m CardiacAITraining.bench_cine

bench-perfusion: $(VENV)/.test
	$(BIN)/python -m CardiacAITraining.bench_perfusion

# make agreement ACDC=folder [MODEL=name or folder] [SPLIT=validation]; make flags: of the evaluation that is kept.
MODEL ?= cine_short_axis
SPLIT ?= holdout
agreement: $(VENV)/.test
	@test -n "$(ACDC)" || { echo "Name the ACDC folder: make agreement ACDC=..."; exit 2; }
	$(BIN)/python -m CardiacAITraining.agreement "$(MODEL)" "$(ACDC)" --split $(SPLIT) -o docs/evaluations/agreement_$(SPLIT)

flags: $(VENV)/.test
	$(BIN)/python -m CardiacAITraining.flag_check docs/evaluations/holdout.json -o docs/evaluations/flags.json

# docs/results.md from the files in docs/evaluations.
results: $(VENV)/.test
	$(BIN)/python -m CardiacAITraining.results.page

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	  sys.exit(0 if ok else "CardiacAI needs Python 3.11, 3.12 or 3.13; this is %d.%d. Name another one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The stamps are written last, so an installation that was broken off is done again.
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[openvino]'
	@touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) demo build dist CardiacAI/*.egg-info
