# Two commands matter: `make audit` and `make test`. Each does all the set-up it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EMULATOR := .emulator
EMULATOR_READY := $(EMULATOR)/.ready
MUTANTS := .mutants
MUTANTS_READY := $(MUTANTS)/.ready
# aws-cdk-lib's Python is hundreds of MB: compiled anew by each process, it takes longer than all the rest.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help audit test quick coverage mutants mutants-code demo load lint format docs site models picture lock clean
help:
	@echo "make audit   judge the order pipeline by requirements.yaml (ARGS='--format json' passes options)"
	@echo "make test    linters, type checks, the tests and the gate"
	@echo "make quick   linters, types, and the tests of what differs from main: under a minute"
	@echo "make coverage  the lines and branches that the tests run, into docs/tests.md"
	@echo "make demo    the pipeline on an emulator of AWS: an order passes, and one fails"
	@echo "make mutants change the pipeline in thousands of ways, and show which the requirements see"
	@echo "make mutants-code  change the gate's own code, and show which changes its tests notice"
	@echo "make format  rewrite the sources as ruff wants them"
	@echo "make docs    rewrite the pages of docs/ that are made of code"
	@echo "make site    the documentation as a site, in site/"
	@echo "make models  take the service models of the newest botocore for the handlers' sandbox"
	@echo "make picture draw docs/report.png anew, with Chromium"
	@echo "make lock    refresh requirements.lock from pyproject.toml"
	@echo "make clean   remove everything that make made"

# Every package is checked against its hash. uv installs in seconds what takes pip minutes; pip brings uv.
# A failed install leaves no stamp, so the next run repeats it.
$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@echo "   installing Python packages, once: a minute or two" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo "   installing what requirements.lock lists" >&2
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The emulator of AWS, and the tool that changes code, pin packages that the gate has in other versions.
$(EMULATOR_READY) $(MUTANTS_READY): .%/.ready: requirements-%.lock | $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --require-hashes -r $<
	@touch $@

audit: $(READY)
	@COMPLIANCE_PROGRESS=1 $(BIN)/compliance audit $(ARGS)

test: $(READY) $(EMULATOR_READY) lint
	$(BIN)/python -m pytest $(ARGS)

# While you work: the linters, the types, and the tests that touch what differs from main.
quick: $(READY) lint
	@$(BIN)/python -m tools.quick $(ARGS)

# ARGS names tests, as for pytest; without it the whole suite is measured.
# What is measured runs slower, and writes a file that a confined app may not write.
UNMEASURED := tests/plugins/test_cdk_synth.py::test_it_is_quick tests/template/test_hostile.py \
	tests/template/test_synth.py::test_our_own_app_says_what_is_wrong_with_its_environment \
	tests/template/test_synth.py::test_an_apps_error_says_its_line

coverage: $(READY) $(EMULATOR_READY)
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q $(UNMEASURED:%=--deselect=%) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage json --quiet --fail-under=0 -o - | $(BIN)/python -m tools.coverage_page $(ARGS)
	$(BIN)/coverage report --format=total

demo: $(READY) $(EMULATOR_READY)
	@$(BIN)/python tests/emulator/demo.py

# Many orders at once on the emulator: `make load ARGS='--orders 10000 --handlers python'`.
load: $(READY) $(EMULATOR_READY)
	@$(BIN)/python tests/emulator/load.py $(ARGS)

# Both languages of handlers; the templates are the same but for the runtime.
mutants: $(READY)
	@$(BIN)/python -m tools.mutants $(ARGS)
	@$(BIN)/python -m tools.mutants -c handlers=python --handlers-only $(ARGS)

# A sample, by seed: ARGS='rules --per-room 20 --seed 7' changes 20 places of one room.
mutants-code: $(READY) $(MUTANTS_READY)
	@$(MUTANTS)/bin/python -m tools.code_mutants $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo > /dev/null || $(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m tools.docs

# Strict: a broken link fails it.
site: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# The newest, not the one that the scanners pin: a parameter that it does not know would be refused.
models: $(READY)
	$(BIN)/uv pip install --quiet --no-deps --target build/botocore botocore
	$(BIN)/python -m tools.service_models build/botocore
	PYTHONPATH=build/botocore $(BIN)/python -m tools.declared_errors
	rm -rf build/botocore

picture: $(READY)
	$(BIN)/python tests/picture.py

lock: COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --upgrade
lock: $(READY)
	echo uv | $(COMPILE) - -o requirements-uv.lock
	$(COMPILE) --extra dev pyproject.toml -o requirements.lock
	$(COMPILE) requirements-emulator.in -o requirements-emulator.lock
	$(COMPILE) requirements-mutants.in -o requirements-mutants.lock

clean:
	rm -rf $(VENV) $(EMULATOR) $(MUTANTS) cdk.out site .pytest_cache .mypy_cache .ruff_cache
