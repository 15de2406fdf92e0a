# gst-neural: what you can ask for is listed by `make help`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

PREFIX ?= $(HOME)/.local
# Handed to packaging/setup.sh, for example SETUP_FLAGS=--no-apt
SETUP_FLAGS ?=
# Handed to the demo: which model, which clip.
MODEL ?= luma-x2
CLIP ?= examples/media/rooftop_360p.mp4

.PHONY: help setup build demo test bench soak docs install uninstall lint fmt clean distclean

help: ## this list
	@printf 'gst-neural: streaming super-resolution for GStreamer\n\n'
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
	@printf '\nSettings: PREFIX=%s MODEL=%s CLIP=%s SETUP_FLAGS=%s\n' '$(PREFIX)' '$(MODEL)' '$(CLIP)' '$(SETUP_FLAGS)'

setup: ## install what is needed (Debian packages, ONNX Runtime, Python for the tests)
	@packaging/setup.sh $(SETUP_FLAGS)

build: ## build the plugin and the program (release)
	@packaging/setup.sh --quiet $(SETUP_FLAGS)
	@echo 'build: cargo build --release'
	@cargo build --release --locked
	@packaging/third-party/build.sh

demo: build ## upscale a clip with real sound and put it beside bicubic
	@packaging/demo.sh '$(CLIP)' '$(MODEL)'

test: ## set up, build and run all tests
	@tests/run.sh

bench: build ## measure, and write docs/results/{upscale,quality,s3,live,codec}.md
	@.deps/venv/bin/python tests/bench/run.py
	@.deps/venv/bin/python tests/bench/run.py s3
	@.deps/venv/bin/python tests/bench/run.py live realtime
	@.deps/venv/bin/python tests/bench/run.py live busy
	@.deps/venv/bin/python tests/bench/run.py live player
	@cargo build --release --locked -p gstneural-codec --examples
	@.deps/venv/bin/python plugins/core/codec/bench/lossy.py "$${GST_NEURAL_DATA:-../shared/data}" --write docs/results/codec.md

soak: build ## an hour of a live stream; its figures go to docs/results/live.md
	@.deps/venv/bin/python tests/bench/run.py live soak

docs: build ## bring the tables of properties in docs up to date
	@GST_PLUGIN_PATH=$(CURDIR)/target/release .deps/venv/bin/python packaging/properties.py

install: build ## install plugin, runtime, models and program for this user (PREFIX=~/.local)
	@packaging/install.sh install '$(PREFIX)'

uninstall: ## remove what `make install` put there
	@packaging/install.sh uninstall '$(PREFIX)'

lint: ## formatting, clippy, shellcheck, and cargo-deny where it is installed
	@packaging/lint.sh

fmt: ## format the Rust code
	@cargo fmt --all

clean: ## remove what was built
	@cargo clean
	@rm -rf build

distclean: clean ## and what setup fetched
	@rm -rf .deps
