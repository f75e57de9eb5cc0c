# The names that people and CI use: demo, test, check, bench, fuzz, conformance.
# Each makes the virtual environment first where it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check conformance bench fuzz format clean

$(READY): setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip 'setuptools>=77' wheel
	$(BIN)/python -m pip install --quiet --no-build-isolation -e '.[dev]'
	touch $(READY)

demo: $(READY) ## the whole way on built-in data: train, export, serve, query
	$(BIN)/python examples/demo.py

test: $(READY) ## every test that needs no GPU and no long run
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

check: $(READY) ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

conformance: $(READY) ## the long proofs, and the table of every network's promises
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or promise"

bench: $(READY) ## speed against named peers, where they are installed
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/network.py
	$(BIN)/python benchmarks/sliding.py
	$(BIN)/python benchmarks/patches.py
	$(BIN)/python benchmarks/dicom.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/soak.py

fuzz: $(READY) ## damaged files: none may crash, hang, fill the memory or pass in silence
	$(BIN)/python tests/fuzz/fuzz_dicom.py --reader images --inputs 200000 --seed 10
	$(BIN)/python tests/fuzz/fuzz_dicom.py --reader labels --inputs 50000 --seed 10
	$(BIN)/python tests/fuzz/fuzz_dicom.py --reader results --inputs 50000 --seed 10
	$(BIN)/python tests/fuzz/fuzz_pictures.py --inputs 6000 --seed 10
	$(BIN)/python tests/fuzz/fuzz_volumes.py --inputs 50000 --seed 10
	$(BIN)/python tests/fuzz/fuzz_documents.py --inputs 20000 --seed 10

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info runs demo exports
