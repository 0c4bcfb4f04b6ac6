# Every target is one call of the `bench` command; `.venv` is made, from locked versions, when it is missing.
PYTHON ?= python3
TASK ?= antispoof
ARGS ?=
BENCH := .venv/bin/bench
READY := .venv/.ready

.PHONY: setup bench test lint report ui perf chaos validate clean
setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@UV=$$(command -v uv || echo .venv/bin/uv); \
	test -x "$$UV" || .venv/bin/python -m pip install --quiet uv==$$(sed -n 's/^uv==//p' requirements.lock); \
	"$$UV" pip install --quiet --python .venv/bin/python -r requirements.lock && \
	"$$UV" pip install --quiet --python .venv/bin/python --no-deps -e .
	@touch $@

bench: setup
	$(BENCH) run $(TASK) $(ARGS)

test: setup
	.venv/bin/python -m pytest $(ARGS)

lint: setup
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

report: setup
	$(BENCH) report $(TASK) $(ARGS)

ui: setup
	$(BENCH) ui $(ARGS)

perf: setup
	.venv/bin/python -m tests.perf $(ARGS)
	.venv/bin/python -m tests.perf_runs
	.venv/bin/python -m tests.perf_scale --trials 1000

chaos: setup
	.venv/bin/python -m tests.chaos $(ARGS)

validate: setup
	.venv/bin/python -m tests.validate $(ARGS)

clean:
	rm -rf .venv
