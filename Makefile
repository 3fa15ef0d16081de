# SPDX-License-Identifier: BSD-2-Clause
# A thin front to Meson; `make help` lists the targets.
BUILD ?= build
GUEST ?= guest

all: deps-build $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) >/dev/null

deps: deps-build deps-run deps-test
deps-build deps-run deps-test deps-bench: deps-%:
	@tools/deps.sh $*

# Debian's kernel and a busybox initrd, in $(GUEST)/.
guest: deps-run
	@tools/fetch-kernel.sh $(GUEST)
	@test -s $(GUEST)/initrd || tools/mkinitrd.sh $(GUEST)/initrd $(GUEST)

# Debian to a shell on this terminal; `poweroff` (bhyve's status 1) ends it.
run: all guest
	@BUILD=$(BUILD) GUEST=$(GUEST) tools/run.sh

# Packages first: what is there decides what gets configured.
test: deps-run deps-test all
	@BUILD=$(BUILD) GUEST=$(GUEST) tools/test.py

# What does not fit into CI: more rounds of the generated tests, more boots.
nightly: deps-run deps-test all
	@BUILD=$(BUILD) GUEST=$(GUEST) tools/test.py --nightly

bench: deps-bench all guest
	@BUILD=$(BUILD) GUEST=$(GUEST) bench/run.sh

bench-programs: deps-bench all guest
	@BUILD=$(BUILD) GUEST=$(GUEST) bench/programs.sh

clean:
	rm -rf $(BUILD) build-asan build-clang build-fuzz build-tsan

help:
	@echo "make            build (products in $(BUILD)/)"
	@echo "make run        boot Debian's kernel to a shell"
	@echo "make test       all tests that fit into CI"
	@echo "make nightly    the long ones too"
	@echo "make bench      speed, side by side with the host and QEMU's TCG"
	@echo "make bench-programs  the same with real programs, an hour"
	@echo "make deps       install all packages of tools/packages.txt"

# In the order that is written: packages, then the build, then its use.
.NOTPARALLEL:
.PHONY: all deps deps-build deps-run deps-test deps-bench guest run test \
	nightly bench bench-programs clean help
