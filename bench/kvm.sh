#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# kvm.sh: the KVM engine's figures, or nothing where there is no KVM.
#	exits	our way of an exit against a bare KVM_RUN loop (kvm_exits.c)
#	wake	of a vCPU that has halted, by IPI and by MSI (kvm_wake.c)
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "${BUILD:-$root/build}")
[ -w /dev/kvm ] || { echo "kvm: no usable /dev/kvm"; exit 0; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

echo "== exits, microseconds each"
"$build/bhyve" -o engine=help | sed -n 's/^kvm/kvm:/p'
${CC:-cc} -O2 -D_GNU_SOURCE -I"$root/include" -o "$work/exits" \
    "$root/bench/kvm_exits.c" -L"$build" -lvmmapi -Wl,-rpath,"$build" ||
    exit 1
"$work/exits" "${EXITS:-2000}" "${ROUNDS:-5}"

echo "== waking a vCPU from HLT"
${CC:-cc} -O2 -D_GNU_SOURCE -I"$root/include" -o "$work/wake" \
    "$root/bench/kvm_wake.c" -L"$build" -lvmmapi -lpthread \
    -Wl,-rpath,"$build" || exit 1
"$work/wake" "${WAKES:-2000}" "${ROUNDS:-5}"

echo "== start-up on KVM, 128 MiB"
BHYVE=$build/bhyve BHYVE_OPTIONS="-m 128M -o engine=kvm" \
    "$root/bench/start.sh" "${ROUNDS:-15}"
