# What a person or CI does with this project. Everything lands in .venv and .stratavore; nothing outside is touched.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:
# Where it is set, each of many processes compiles the project anew: seconds each time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
PORT ?=
PART ?= launch
# Tests wait for processes more than they compute: one more than there are cores.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)
BIN := .venv/bin
# Types and Django's checks need settings, but no server.
THROWAWAY := STRATAVORE_ENV_FILE=/dev/null DATABASE_URL=postgres://nobody@127.0.0.1:1/none REDIS_URL=redis://127.0.0.1:1/0 \
	SECRET_KEY=only-for-checks-0000000000000000000000000000000000 AUDIT_KEYS=checks:only-for-checks-0000000000000000000000000000000

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# $(call install,NAME): .venv holds exactly what requirements/NAME.txt locks; a copy of that file remembers what was installed.
define install
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Stratavore needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1): name another, as in make $@ PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { echo "Making .venv ..."; $(PYTHON) -m venv --clear .venv; }
	@cmp -s requirements/$(1).txt .venv/installed-$(1).txt || { \
		echo "Installing requirements/$(1).txt into .venv ..."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/$(1).txt \
		|| { echo "The packages could not be installed: see pip's words above (no network, or a full disk?)." >&2; exit 1; }; \
		rm -f .venv/installed-*.txt; cp requirements/$(1).txt .venv/installed-$(1).txt; }
endef

.PHONY: venv
venv: ## make .venv with everything for development
	$(call install,dev)

.PHONY: up
up: ## start everything: servers, web, workers, beat, node agent, a demo runner (PORT=8000)
	$(if $(shell cmp -s requirements/dev.txt .venv/installed-dev.txt && $(BIN)/python -c '' && echo current),,$(call install,embedded))
	@exec $(BIN)/python manage.py up $(if $(PORT),--port $(PORT))

.PHONY: test
test: venv ## run the tests on real servers (ARGS="-k name")
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not soak" $(ARGS)

.PHONY: check
check: venv ## format, lint, types, imports, Django's checks, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(THROWAWAY) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(THROWAWAY) $(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/python -m stratavore_site.embedded manage.py makemigrations --check --dry-run

.PHONY: format
format: venv ## format and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: venv ## measure one part (PART=launch); the last line is JSON
	@$(BIN)/python -m stratavore_site.embedded -m benchmarks $(PART)

.PHONY: soak
soak: venv ## the long tests
	$(BIN)/python -m pytest -m soak $(ARGS)

.PHONY: lock
lock: venv ## choose versions anew: requirements/*.in to *.txt
	for name in base embedded dev; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
			--custom-compile-command "make lock" requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

.PHONY: clean
clean: ## remove .venv and caches; the data in .stratavore stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path "./.stratavore/*" -prune -exec rm -rf {} +
