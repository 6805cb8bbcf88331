# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

INVENTORY ?= inventories/dev
# What else ansible-playbook is to be told, e.g. make up ARGS='--tags apps --check'.
ARGS ?=

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Named here, because Ansible ignores an ansible.cfg in a directory that others may write to.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## Make .venv from requirements.txt; nothing to do when it is current
	@scripts/venv.sh
