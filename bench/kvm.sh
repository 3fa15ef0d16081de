#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# kvm.sh: the KVM engine's figures, or nothing where there is no KVM.
#	exits	our way of an exit against a bare KVM_RUN loop (kvm_exits.c)
#	port	reading com1's line status, ours against QEMU (port.S)
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

# The quickest of a boot's eight rounds.
port_cycles() { # SIDE
	case $1 in
	ours)
		"$build/bhyve" -D -m 64M -s 0,hostbridge -s 31,lpc \
		    -l com1,stdio -o engine=kvm -o rundir="$work" \
		    -o boot.kernel="$work/port" "port$$" ;;
	peer)
		qemu-system-x86_64 -accel kvm -m 64 -display none \
		    -serial stdio -monitor none -no-reboot \
		    -kernel "$work/port" ;;
	esac < /dev/null 2> /dev/null | tr -d '\r' | sort -n | head -n 1
}

echo "== a port that the VMM handles, TSC cycles a read"
${CC:-cc} -m32 -nostdlib -static -no-pie -Wl,--build-id=none \
    -Wl,-Ttext-segment=0x100000 -Wl,-e,start -o "$work/port" \
    "$root/bench/port.S" || exit 1
for ((i = 0; i < ${ROUNDS:-5}; i++)); do
	for side in ours peer; do
		port_cycles "$side" >> "$work/port.$side"
	done
done
for side in ours peer; do
	sort -n "$work/port.$side" | sed -n "$(((${ROUNDS:-5} + 1) / 2))p"
done | paste -sd ' ' | awk '{
	printf "port ours %s peer %s", $1, $2 == "" ? "-" : $2
	if ($2) printf " ours/peer %.2f", $1 / $2
	print "" }'

echo "== waking a vCPU from HLT"
${CC:-cc} -O2 -D_GNU_SOURCE -I"$root/include" -o "$work/wake" \
    "$root/bench/kvm_wake.c" -L"$build" -lvmmapi -lpthread \
    -Wl,-rpath,"$build" || exit 1
"$work/wake" "${WAKES:-2000}" "${ROUNDS:-5}"

echo "== start-up on KVM, 128 MiB"
BHYVE=$build/bhyve BHYVE_OPTIONS="-m 128M -o engine=kvm" \
    "$root/bench/start.sh" "${ROUNDS:-15}"
