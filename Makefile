# Everything a person or a workflow does here, starting from Python 3.11+, git and make alone.

STACK ?= sandbox
# The policy pack's configuration: a JSON file, by rule.
POLICY_CONFIG ?=
VENV := .venv
PY := $(VENV)/bin/python
KUBEPARK := bin/kubepark
TOOL_MODULES := pulumi pulumi-kubernetes pulumi-aws kubernetes etcd kwok actionlint dex standins
# Tests sometimes wait for machines, so three keep two cores busy (a fourth only takes turns with them); those of
# one file share a cluster.
PYTEST_FLAGS ?= -q -n 3 --dist loadfile --no-loadscope-reorder
# Every program built, those of real nodes where they can run.
WITH_TOOLS = real=$$($(PY) -m sandbox.nodes.choice) && \
	KUBEPARK_TOOLS=$$($(PY) -m sandbox.build.toolchain $(TOOL_MODULES) $$real) && export KUBEPARK_TOOLS &&
# One after the other: each is a cluster of real nodes.
LONG_TESTS := $(addprefix sandbox/tests/program/test_userdata_,boot.py faults.py) $(addprefix sandbox/tests/stack/test_, \
	$(addsuffix .py,real_nodes real_refused real_faults stack_life stack_failures stack_secrets stack_interrupts stack_refusals \
	stack_people stack_review_changes))
PRODUCT := __main__.py config components userdata cli policies foundation
# The first Python that is new enough. Asked for only when the virtualenv is made.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

export STACK
# Hundreds of processes start here, each of which would compile what it imports anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help up preview policy refresh destroy down check style types unit test test-slow test-real test-long bench soak lint tools sandbox-env golden review-changes diagrams lock venv clean

help: ## list the targets
	@echo 'usage: make TARGET [STACK=sandbox|dev|prod]   (STACK is sandbox unless you say otherwise)'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  %-14s %s\n' "$$name" "$$text"; done

up: venv ## create or update the stack; the sandbox stack brings its local cloud with it
	@$(KUBEPARK) up --stack $(STACK)

preview: venv ## show what `up` would do, policies checked
	@$(KUBEPARK) preview --stack $(STACK)

policy: venv ## check the stack against every policy, in a preview on the real engine
	@$(KUBEPARK) preview --stack $(STACK) --suppress-outputs $(if $(POLICY_CONFIG),--policy-pack-config '$(POLICY_CONFIG)')

refresh: venv ## read what is really there into the state
	@$(KUBEPARK) refresh --stack $(STACK)

destroy: venv ## delete every resource of the stack
	@$(KUBEPARK) destroy --stack $(STACK)

down: venv ## remove the sandbox stack and stop every process it started
	@$(KUBEPARK) down --stack $(STACK)

check: venv ## lint, types and the program's own tests: no tool, no cluster, under a minute on two cores
	@$(MAKE) --no-print-directory -j 3 --output-sync style types unit

style:
	@$(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/shellcheck bin/kubepark .ci/run

types:
	@$(VENV)/bin/mypy --strict --no-error-summary $(PRODUCT)

unit:
	@$(PY) -m pytest -q -n 2 --dist loadfile tests

test: lint ## linters, then all tests but the slow and the real ones (ten minutes on two cores)
	@$(WITH_TOOLS) $(PY) -m pytest $(PYTEST_FLAGS) -m 'not slow and not real'

test-slow: venv ## stacks that are made, broken and made again (ten minutes on two cores)
	@$(WITH_TOOLS) $(PY) -m pytest $(PYTEST_FLAGS) -m slow sandbox/tests

test-real: venv ## a whole stack on real nodes (Linux, root; ten minutes)
	@$(WITH_TOOLS) $(PY) -m pytest -q -m real sandbox/tests/stack

bench: venv ## measure speed: `up` from nothing, unchanged preview against the engine's floor
	@$(WITH_TOOLS) $(PY) -m sandbox.tests.bench $(BENCH_FLAGS)

test-long: venv ## the stack's tests, every fault and power cuts on real nodes (Linux, root; half an hour)
	@$(WITH_TOOLS) test -z "$$real" || KUBEPARK_TEST_NODES=real KUBEPARK_SOAK=1 $(PY) -m pytest -q $(LONG_TESTS)

soak: test-long ## that, then random changes and accidents, and parks and unparks; prints its seeds
	@$(WITH_TOOLS) $(PY) -m sandbox.tests.soak $(SOAK_FLAGS)
	@$(WITH_TOOLS) $(PY) -m sandbox.tests.soak.power $(SOAK_POWER_FLAGS)

lint: venv ## ruff, mypy --strict, shellcheck
	@$(MAKE) --no-print-directory style
	@$(VENV)/bin/mypy --strict --no-error-summary $(PRODUCT) sandbox

tools: venv ## download or build the sandbox's programs into the user's cache (once)
	@$(KUBEPARK) env >/dev/null

sandbox-env: venv ## print what `eval "$(make -s sandbox-env)"` needs for plain pulumi and kubectl
	@$(KUBEPARK) env --stack $(STACK)

golden: venv ## write the golden files anew; read the difference before you commit it
	@UPDATE_GOLDEN=1 $(PY) -m pytest -q tests sandbox/tests/program -k 'golden or as_reviewed'
	@git status --short tests/golden

review-changes: venv ## preview the recorded changes of a review anew; read the difference before you commit it
	@$(WITH_TOOLS) $(PY) -m sandbox.tests.stack.review_changes tests/golden/review
	@git status --short tests/golden/review

diagrams: ## render docs/diagrams/*.dot into SVG (needs Graphviz)
	@command -v dot >/dev/null || { echo 'Graphviz is needed and not on PATH: apt-get install graphviz, or brew install graphviz' >&2; exit 1; }
	@for source in docs/diagrams/*.dot; do dot -Tsvg "$$source" -o "$${source%.dot}.svg"; done

lock: venv ## pin requirements*.in anew with hashes
	@$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet pip-tools
	@for name in requirements requirements-dev requirements-go requirements-uv; do \
		CUSTOM_COMPILE_COMMAND='make lock' $(VENV)/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
			--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$$name.in"; done

venv: $(VENV)/.stamp ## make .venv from the pinned requirements

$(VENV)/.stamp: requirements.txt requirements-dev.txt requirements-uv.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed and not on PATH: install it, or name it: make PYTHON=/path/to/python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m sandbox.build.venv

clean: ## stop the sandbox and remove what was made here; says what stays in the user's cache
	@if test -x $(PY); then $(KUBEPARK) reset; $(PY) -m sandbox.build.usage; fi
	@rm -rf .sandbox $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
