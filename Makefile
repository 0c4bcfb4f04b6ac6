# Short names for what is run most; `.venv` is made, from locked versions, when it is missing.
PYTHON ?= python3
TASK ?= antispoof
ARGS ?=
BENCH := .venv/bin/bench
READY := .venv/.ready

# The variables of each target. Another one on the command line is an error, where make itself would ignore it.
variables_bench := TASK PRESET METHODS BUDGETS SEEDS DATA MODEL COST RESULTS ARGS PYTHON
variables_report := TASK PRESET MODEL RESULTS ARGS PYTHON
variables_ui := RESULTS ARGS PYTHON
variables_test := ARGS PYTHON
variables_perf := PYTHON
variables_chaos := ARGS PYTHON
variables_validate := PYTHON
variables_lint := PYTHON
variables_docs := PYTHON
variables_setup := PYTHON

goals := $(or $(MAKECMDGOALS),setup)
known := $(sort $(foreach goal,$(goals),$(variables_$(goal))))
given := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
near = $(firstword $(foreach name,$(known),$(if $(findstring $1,$(name))$(findstring $(name),$1),$(name))))
hint = $(if $(call near,$1), (did you mean $(call near,$1)?))
$(foreach name,$(filter-out $(known),$(given)),$(error \
make $(goals) has no variable $(name)$(call hint,$(name)); it has: $(or $(known),none)))

# A variable as an option of the command, if it is set: `--data='/a b'`. No shell and no make reads anything into its
# value; without `unexport`, make would expand a $ in it.
unexport TASK PRESET METHODS BUDGETS SEEDS DATA MODEL COST RESULTS
define newline


endef
one_line = $(if $(findstring $(newline),$(value $1)),$(error $1 has more than one line),$(value $1))
quoted = '$(subst ','\'',$(call one_line,$1))'
option = $(if $(value $1), --$2=$(call quoted,$1))
shown = $(call option,PRESET,preset)$(call option,MODEL,model)$(call option,RESULTS,results)
chosen = $(call option,METHODS,methods)$(call option,BUDGETS,budgets)$(call option,SEEDS,seeds)$(call option,DATA,data)$(call option,COST,cost)

.PHONY: setup bench test lint report ui perf chaos validate docs clean
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
	$(BENCH) run $(call quoted,TASK)$(shown)$(chosen) $(ARGS)

test: setup
	.venv/bin/python -m pytest $(ARGS)

lint: setup
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

report: setup
	$(BENCH) report $(call quoted,TASK)$(shown) $(ARGS)

ui: setup
	$(BENCH) ui$(call option,RESULTS,results) $(ARGS)

perf: setup
	.venv/bin/python -m tests.perf
	.venv/bin/python -m tests.perf_runs
	.venv/bin/python -m tests.perf_scale --trials 1000

chaos: setup
	.venv/bin/python -m tests.chaos $(ARGS)

validate: setup
	.venv/bin/python -m tests.validate

# the theme prints when its own support ends, which whoever builds pages can do nothing about
docs: setup
	.venv/bin/python docs/pages.py
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo 'documentation: site/index.html (its search needs a server: python -m http.server --bind 127.0.0.1 --directory site)'

clean:
	rm -rf .venv
