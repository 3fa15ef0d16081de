#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# run.sh: speed, as ratios measured side by side in one run. Prints
#	start	from exec to the guest's first output, and memory beyond the
#		guest's, with an uncompressed ELF file
#	boot	Debian's kernel to init: its bzImage, and its cloud flavour's
#		vmlinux, which QEMU boots too
#	idle	what a guest that sleeps costs
#	scale	what two vCPUs do together of what they would alone, and two
#		processes on the host
#	kvm	exits, start-up on KVM, where there is one (kvm.sh)
#	gbench	native, ours and the peer; the summary row is what is quoted
# The peer is QEMU TCG (package qemu-system-x86); without it, its columns are
# not there. Variables: ROUNDS (3), SECONDS_A_LINE (0.3), CPU (0, to pin to),
# BHYVE_OPTIONS (more arguments for ours, as "-o soft.jit=off"), ONLY (names of
# the above, all by default). bench/programs.sh has real programs.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "${BUILD:-$root/build}") guest=$(realpath "${GUEST:-$root/guest}")
bench=$root/bench rounds=${ROUNDS:-3}
work=$(mktemp -d)
mkdir -p /dev/shm/anyhyve-bench.$$
export RUNDIR=/dev/shm/anyhyve-bench.$$ BHYVE=$build/bhyve
trap 'rm -rf "$work" "$RUNDIR"' EXIT
only=" ${ONLY:-start boot idle scale kvm gbench} "

echo "host: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)," \
    "$(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg);" \
    "ours: $(git -C "$root" describe --always --dirty 2> /dev/null)" \
    "${BHYVE_OPTIONS:-}; peer:" \
    "$(qemu-system-x86_64 --version 2> /dev/null | head -n 1 || echo none)"

case $only in *" start "*)
	echo "== start"
	"$bench/start.sh" 15 ;;
esac

case $only in *" boot "*)
	echo "== boot"
	"$bench/mkinitrd.sh" "$work/boot.gz" 0
	kernels=$guest/vmlinuz
	if "$root/tools/fetch-kernel.sh" "$guest/cloud" \
	    linux-image-cloud-amd64 && [ -s "$guest/cloud/vmlinux" ]; then
		kernels="$kernels $guest/cloud/vmlinuz $guest/cloud/vmlinux"
	fi
	# shellcheck disable=SC2086  # a list
	"$bench/boot.sh" "$rounds" "$work/boot.gz" $kernels ;;
esac

case $only in *" idle "*)
	echo "== idle"
	"$bench/mkinitrd.sh" "$work/idle.gz" idle
	"$bench/idle.sh" "$guest/vmlinuz" "$work/idle.gz" ;;
esac

case $only in *" scale "*)
	echo "== scale"
	"$bench/mkinitrd.sh" "$work/scale.gz" scale
	"$bench/scale.sh" "$rounds" "$guest/vmlinuz" "$work/scale.gz" ;;
esac

case $only in *" kvm "*)
	"$bench/kvm.sh" ;;
esac

case $only in *" gbench "*)
	echo "== gbench"
	"$bench/mkinitrd.sh" "$work/gbench.gz" "${SECONDS_A_LINE:-0.3}"
	# shellcheck disable=SC2016  # compare.sh's variables
	"$bench/compare.sh" -r "$rounds" "$guest/vmlinuz" "$work/gbench.gz" \
	    sh -c 'exec "$0" "$KERNEL" "$INITRD"' "$bench/ours.sh" ;;
esac
