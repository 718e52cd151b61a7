# Short names for what people do most; each prints the command it runs. `make help` lists them.
#
# ENV, BACKUP and ARGS count only on the command line of make. A variable of that name in the environment is not
# enough: a shell may well have an ENV of its own, and a restore must not follow it.

.PHONY: help backup restore drill validate plan list show verify test check generate bench torture build service
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

given = $(if $(filter-out command line,$(origin $1)),,$(strip $($1)))
quoted = '$(subst ','\'',$1)'
environments = $(or $(patsubst pipelines/environments/%.toml,%,$(wildcard pipelines/environments/*.toml)),none yet)

wants_env := $(filter backup restore drill plan list show verify,$(MAKECMDGOALS))
ifneq ($(wants_env),)
ifeq ($(call given,ENV),)
$(error which environment? Say so on the command line: make $(firstword $(wants_env)) ENV=dev (there are: $(environments)); nothing was done)
endif
endif

wants_backup := $(filter restore show,$(MAKECMDGOALS))
ifneq ($(wants_backup),)
ifeq ($(call given,BACKUP),)
$(error which backup? Say so on the command line: make $(firstword $(wants_backup)) ENV=$(ENV) BACKUP=latest (make list ENV=$(ENV) lists them); nothing was done)
endif
endif

env := --env $(call quoted,$(call given,ENV))
backup := $(call quoted,$(call given,BACKUP))
pipeline := $(call quoted,$(or $(call given,PIPELINE),$(if $(call given,BACKUP),restore,backup)))
args := $(if $(call given,ARGS), $(ARGS))

# The program: built here, or the one that STRONGROOM names, which is then taken as it is.
ifeq ($(origin STRONGROOM),undefined)
STRONGROOM := $(or $(CARGO_TARGET_DIR),target)/release/strongroom
build:
	cargo build --release --locked$(if $(filter dev,$(call given,ENV)), --bin strongroom --example service)
else
build:
endif

# The environment `dev` belongs to the example service, whose data is made at first use.
SERVICE ?= $(dir $(STRONGROOM))examples/service
ifeq ($(call given,ENV),dev)
service: build
	$(SERVICE) init --env dev
else
service:
endif

## backup ENV=…                 back up an environment
backup: build service
	$(STRONGROOM) backup $(env)$(args)

## restore ENV=… BACKUP=…       put a backup back; what it replaces is kept
#
# A restore beside redacted files that are present ends with 3: done, with something to look at. That is no failure.
restore: build
	$(STRONGROOM) restore $(backup) $(env)$(args) || [ $$? -eq 3 ]

## drill ENV=… [BACKUP=…]       restore a backup (the newest) into nowhere, judge it, and record that it was done
drill: build
	$(STRONGROOM) drill$(if $(call given,BACKUP), $(backup)) $(env)$(args)

## plan ENV=… [BACKUP=…]        say what a backup (or a restore) would do, and do nothing
plan: build
	$(STRONGROOM) plan $(pipeline)$(if $(call given,BACKUP), $(backup)) $(env)$(args)

## validate [ENV=…]             check the manifests
validate: build
	$(STRONGROOM) validate$(if $(call given,ENV), $(env))$(args)

## list ENV=…                   list the backups of an environment
list: build
	$(STRONGROOM) list $(env)$(args)

## show ENV=… BACKUP=…          show one backup
show: build
	$(STRONGROOM) show $(backup) $(env)$(args)

## verify ENV=… [BACKUP=…]      check a backup (the newest) down to the content of each file
verify: build
	$(STRONGROOM) verify $(or $(filter-out '',$(backup)),latest) $(env)$(args)

## test                         install what the tests need and is missing, then run them
test:
	scripts/test.sh$(args)

## torture                      the same tests at full size; takes long
torture:
	STRONGROOM_TORTURE=1 scripts/test.sh$(args)

## check                        format, lints, documentation, generated files, links, scripts
check:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	cargo run --locked --quiet -- generate --check
	cargo test --locked --quiet --test it -- links_between_pages_lead_somewhere
	bash -n scripts/*.sh .ci/run

## generate                     write schemas and reference pages anew
generate:
	cargo run --locked --quiet -- generate$(args)

## bench                        measure beside tar, zstd and b3sum
bench: build
	benches/run.sh$(args)

## help                         this list
help:
	@sed -n 's/^## /  make /p' Makefile
	@echo
	@echo '  ARGS=… is passed on, such as ARGS="--dry-run". make itself ends with 2 whatever failed:'
	@echo '  automation calls scripts/backup.sh and scripts/restore.sh, which pass the exit code on.'
