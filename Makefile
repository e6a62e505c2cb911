# The commands of development, in one place. `make lint PYTHON=.venv/bin/python` runs them in another environment.
PYTHON ?= python3
SCRIPTS = $(shell $(PYTHON) -c "import sysconfig; print(sysconfig.get_path('scripts'))")

.PHONY: help lint format test test-slow docs dist

help:
	@echo "lint       ruff, cython-lint and numpydoc's validation"
	@echo "format     let ruff mend what it can"
	@echo "test       the tests, without the slow ones"
	@echo "test-slow  the slow tests"
	@echo "docs       HTML documentation, examples run, warnings are errors"
	@echo "dist       sdist, and a wheel built from it"

lint:
	$(PYTHON) -m ruff check .
	PATH="$(SCRIPTS):$$PATH" cython-lint mlfeat  # it calls pycodestyle by name
	$(PYTHON) -m numpydoc lint $$(git ls-files 'mlfeat/*.py')

format:
	$(PYTHON) -m ruff check --fix .

test:
	$(PYTHON) -m pytest

test-slow:
	$(PYTHON) -m pytest -m slow

docs:
	rm -rf docs/reference/generated  # pages of names that are gone would be warned of
	$(PYTHON) -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html

dist:
	$(PYTHON) -m build
