# make setup   .venv with everything, and the compilers and the emulator (apt-get, when it may)
# make demo    build the bundled network for a Cortex-M and measure its accuracy
# make test    lint, types, tests
# make docs    the documentation as a site, in out/site
# make mutants small wrongs put into specification, proof and kernels, one by one: do the tests find each?
#              SAMPLE=40: so many of all that tokens give instead, of operators, kernels and planner each
# make fuzz    mutated models, for HOURS (1): refused, or equal to onnxruntime? Goes on where it stopped, in out/fuzz
# make coverage which lines of dfqgen/ the tests run, in processes that they start too
# make dist    wheel, sdist and SBOM of the last commit, the same bytes each time

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

DIGITS := examples/digits

.PHONY: setup demo docs test lint pytest mutants fuzz coverage dist clean

setup:
	@PYTHON=$(PYTHON) scripts/setup.sh

demo: setup
	$(BIN)/dfqgen build $(DIGITS)/digits.onnx --target cortex-m --input-std 16 --input-range 0,16 \
	    --data $(DIGITS)/digits_test.npz --output out/digits --force
	$(BIN)/dfqgen run out/digits --on cortex-m4

# C in its layout, generated C too: the golden files are formatted as they are
C_SOURCES := $(shell find runtime_c tests/golden -name "*.[ch]")

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)

test: lint pytest

pytest: setup
	$(BIN)/pytest -n $(WORKERS)

docs: setup
	$(BIN)/mkdocs build --strict

mutants: setup
	$(BIN)/python -m tests.mutants $(if $(SAMPLE),sample $(SAMPLE))

fuzz: setup
	$(BIN)/python -m tests.fuzz --hours $(or $(HOURS),1) --workers $(WORKERS)

coverage: setup
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --show-missing --sort=miss

dist: setup
	scripts/dist.sh

clean:
	rm -rf out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
