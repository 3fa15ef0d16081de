#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# idle.sh KERNEL INITRD: how much of one host CPU a guest takes that idles
# (INITRD is mkinitrd.sh's with "idle"), over 20 seconds; ours, and the peer.
set -u
kernel=$1 initrd=$2
here=$(cd "$(dirname "$0")" && pwd)

measure() { # NAME COMMAND...
	local name=$1 fd pid line before after
	shift
	exec {fd}< <(exec "$@" 2> /dev/null)
	pid=$!
	while IFS= read -r line <&"$fd"; do
		case $line in *"clock source"*) break ;; esac
	done
	sleep 5
	before=$(cut -d' ' -f14,15 "/proc/$pid/stat")
	sleep 20
	after=$(cut -d' ' -f14,15 "/proc/$pid/stat")
	kill -KILL "$pid"
	exec {fd}<&-
	echo "$before $after" | awk -v name="$name" -v hz="$(getconf CLK_TCK)" '{
	    printf "%-5s %.2f %% of a CPU\n", name,
		($3 + $4 - $1 - $2) / hz / 20 * 100 }'
}

measure ours "$here/ours.sh" "$kernel" "$initrd"
rm -rf "${RUNDIR:-/dev/shm}"/bench-* /dev/shm/anyhyve-*-bench-*
command -v qemu-system-x86_64 > /dev/null &&
    measure peer "$here/tcg.sh" "$kernel" "$initrd"
