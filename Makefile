# `make help` lists the targets.
# What other projects, login shells and languages have put into the environment does not reach recipes.
SHELL := scripts/bash.sh
unexport BASH_ENV
# Their shell complains of others before it can read anything.
export LC_ALL := C.UTF-8
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# What this sandbox consists of.
INVENTORY ?= inventories/dev
# What else a playbook or a test run is told: make up ARGS='--tags apps --check', make unit ARGS='-k kubeconfig'.
ARGS ?=
# In the order in which they prove things: machines; the same, and etcd with what is lost and restored, on a host with systemd; the
# whole site. Of a host with and one without systemd, each role sees both.
SCENARIOS ?= machines under-systemd default

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Named here because Ansible ignores an ansible.cfg in a directory that others may write to.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export MAKE

playbook = scripts/playbook.sh

##@ The sandbox
.PHONY: up down clean status scan shell open trust untrust
up: venv ## Make the sandbox, or mend it; then prove that the application answers
	$(playbook) site.yml -i $(INVENTORY) $(ARGS)

down: venv ## Remove the sandbox; the cache of built artifacts stays
	$(playbook) playbooks/teardown.yml -i $(INVENTORY) $(ARGS)

clean: venv ## Remove the sandbox and the caches
	$(playbook) playbooks/clean.yml -i $(INVENTORY) $(ARGS)

status: venv ## Say what stands and whether it is well
	$(playbook) playbooks/status.yml -i $(INVENTORY) $(ARGS)

scan: venv ## Have scanners look at the standing sandbox, and judge what they find
	$(playbook) site.yml -i $(INVENTORY) --tags scan $(ARGS)

shell: venv ## Open a shell with the sandbox's programs, context and namespaces
	@scripts/shell.sh $(INVENTORY) $(ARGS)

open: venv ## Open the sandbox's pages, or say their addresses
	$(playbook) playbooks/open.yml -i $(INVENTORY) $(ARGS)

trust: venv ## Have your browsers trust the certificate of the sandbox's pages
	$(playbook) playbooks/trust.yml -i $(INVENTORY) $(ARGS)

untrust: venv ## Have your browsers trust it no more
	$(playbook) playbooks/untrust.yml -i $(INVENTORY) $(ARGS)

##@ Tests
.PHONY: test lint unit molecule e2e trials
# A view of this computer under systemd has neither its network nor its processes, and its tests wait much: they run beside
# linters and unit tests. The machines' root file system is there by then; the view could not make it.
test: venv ## Everything that must hold: lint, unit, machines, the whole site
	@scripts/playbook.sh </dev/null
	@scripts/stages.sh artifacts+environments molecule-machines lint+unit+under-systemd molecule-default

lint: venv ## Linters, formatter, type checker, documentation, changelog
	@scripts/stages.sh --keep-going lint-ansible lint-python lint-types lint-shell lint-docs lint-secrets lint-apps

unit: TOOLS = helm,helm_docs,opa,gitleaks
unit: tools ## Tests that need no machine
	@scripts/stages.sh --keep-going unit-collection unit-apps

molecule: venv ## Roles on real machines, ending with the whole site
	@scripts/playbook.sh </dev/null
	@scripts/stages.sh $(SCENARIOS:%=molecule-%)

e2e: tools ## Browser and API tests against the standing sandbox
	scripts/e2e.sh $(INVENTORY) $(ARGS)

# Minutes of load, faults and updates, which CI does not wait for.
trials: tools ## Trials of load, faults and updates against the standing sandbox
	scripts/e2e.sh $(INVENTORY) -m trial $(ARGS)

.PHONY: fuzz
# Seconds for each run of a fuzzer.
FUZZ_SECONDS ?= 60
fuzz: venv ## Feed the parsers of reports with made-up input for a minute
	mkdir -p build
	tests/fuzz/fuzz_reports.py -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -artifact_prefix=build/

.PHONY: tools artifacts environments
# Helm renders the chart in unit tests, Chromium looks at pages; of helm-docs only a unit test has need. Nothing is
# installed, and nobody has to be root, where HELM_BINARY and HELM_DOCS_BINARY name programs of yours.
TOOLS = helm
tools: venv
	@[ -n "$${HELM_BINARY:+$${HELM_DOCS_BINARY:-}}" ] || \
	$(playbook) playbooks/tools.yml -i $(INVENTORY) --extra-vars tools_components=$(TOOLS)

# What the machines will need is built or downloaded while the linters run.
artifacts: tools
	$(playbook) playbooks/artifacts.yml -i $(INVENTORY)

# Linters and tests of the applications, side by side, use the same ones.
environments: venv
	for app in apps/* dashboards/plugin dashboards/grafana; do $(MAKE) -C $$app environment PYTHON=$(CURDIR)/.venv/bin/python; done

.PHONY: lint-ansible lint-python lint-types lint-shell lint-docs lint-secrets lint-apps
lint-ansible:
	ansible-lint

lint-python:
	ruff check
	ruff format --check
	PYTHONPATH=.collections lint-imports --no-cache --no-logo

lint-types:
	mypy

lint-shell:
	shellcheck --external-sources scripts/*.sh .ci/run

lint-docs:
	antsibull-changelog lint
	antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .
	scripts/reference.py --check

# Nobody has to be root where gitleaks is already there.
lint-secrets:
	@scripts/program.sh gitleaks >/dev/null 2>&1 || $(MAKE) tools TOOLS=gitleaks
	scripts/no-secrets.sh

lint-apps:
	for app in apps/* dashboards/plugin; do $(MAKE) -C $$app lint; done

.PHONY: unit-collection unit-apps
# Many tests wait: one more at a time than there are processors.
unit-collection:
	@$(MAKE) -C dashboards/grafana environment
	pytest tests/unit --numprocesses=$$(($$(nproc) + 1)) $(ARGS)

# ARGS are for the collection's own tests: the applications have others, with other names.
unit-apps:
	for app in apps/* dashboards/plugin; do $(MAKE) -C $$app test ARGS=; done

molecule-%:
	molecule test --no-command-borders -s $*

# A worker is lost, certificates end; a normal run mends it.
.PHONY: molecule-repair
molecule-repair: artifacts
	molecule test --no-command-borders -s repair

# The site with `istio_enabled: false`.
.PHONY: molecule-without-mesh
molecule-without-mesh: artifacts
	molecule test --no-command-borders -s without-mesh

# Nine machines play hosts of a user's, which this computer has to know by name.
.PHONY: molecule-existing
molecule-existing: artifacts
	scripts/with-names.sh molecule/existing/hosts molecule test --no-command-borders -s existing

# What only a host whose PID 1 is systemd does: each machine is a unit, and the local endpoint is a socket. There is no network:
# where artifacts come from is found out, and they are begun, before.
.PHONY: under-systemd molecule-under-systemd
molecule-under-systemd: artifacts
	scripts/under-systemd.sh $(MAKE) molecule-machines molecule-etcd

# Without what is lost and restored of etcd, which CI does not wait for.
under-systemd:
	scripts/under-systemd.sh $(MAKE) molecule-machines

##@ Maintenance
.PHONY: help venv hooks secrets-key secrets-edit docs lock changelog
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## Make .venv from requirements.txt; nothing to do when it is current
	@scripts/venv.sh

hooks: venv ## Have git refuse commits with plain secrets in this checkout
	@scripts/program.sh gitleaks >/dev/null 2>&1 || $(MAKE) tools TOOLS=gitleaks
	pre-commit install

secrets-key: venv ## Make the key that opens secrets in git, once, outside of the checkout
	@scripts/program.sh sops age-keygen >/dev/null 2>&1 || $(MAKE) tools TOOLS=sops,age
	@scripts/secrets-key.sh

FILE ?= $(INVENTORY)/group_vars/all/secrets.sops.yml
secrets-edit: venv ## Edit FILE, which is encrypted whenever it is on a disk
	@scripts/program.sh sops >/dev/null 2>&1 || $(MAKE) tools TOOLS=sops
	@scripts/sops.sh edit "$(FILE)"

docs: venv ## Write docs/reference from argument_specs, modules and catalogue
	scripts/reference.py

lock: venv ## Write constraints.txt from what .venv holds
	scripts/venv.sh --lock

changelog: venv ## Release the fragments in changelogs/fragments as galaxy.yml's version
	antsibull-changelog release --reload-plugins
