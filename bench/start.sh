#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# start.sh ROUNDS: milliseconds from bhyve's start to the first output of a
# guest whose whole kernel is an uncompressed ELF file of a few instructions,
# CPU time, and what bhyve itself takes of memory beyond the guest's, when the
# guest halts there. Medians; for 1 and 16 vCPUs.
set -u
rounds=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/tiny.S" << 'END'
	.globl _start
_start:	mov $0x3f8, %dx
	mov $'X', %al
	out %al, %dx
	mov $10, %al
	out %al, %dx
	sti
1:	hlt
	jmp 1b
END
gcc -nostdlib -static -no-pie -Wl,-Ttext=0x1000000 -Wl,--build-id=none \
    -o "$work/tiny" "$work/tiny.S" || exit 1

once() { # CPUS: "ms cpu-ms MiB"
	local start=$EPOCHREALTIME line end pid fd
	# shellcheck disable=SC2086  # options
	exec {fd}< <(exec "${BHYVE:-$here/../build/bhyve}" -D -H -c "$1" \
	    -m 512M -s 0,hostbridge -s 31,lpc -l com1,stdio -o engine=soft \
	    -o "rundir=$work/run" ${BHYVE_OPTIONS:-} \
	    -o boot.kernel="$work/tiny" "start-$$" < /dev/null 2> /dev/null)
	pid=$!
	IFS= read -r line <&"$fd"
	end=$EPOCHREALTIME
	# Guest memory is the one shared mapping of that name.
	awk -v ms="$(awk "BEGIN { print ($end - $start) * 1000 }")" '
	    FILENAME ~ /schedstat/ { cpu += $1 / 1e6; next }
	    /^[0-9a-f]+-/ { guest = $0 ~ /\/(anyhyve-|memory)/ }
	    /^Pss:/ && !guest { kib += $2 }
	    END { printf "%.1f %.1f %.1f\n", ms, cpu, kib / 1024 }' \
	    /proc/"$pid"/task/*/schedstat /proc/"$pid"/smaps
	kill -TERM "$pid"
	sleep 0.1
	kill -KILL "$pid" 2> /dev/null
	exec {fd}<&-
	rm -f /dev/shm/anyhyve-*-"start-$$"-*
	rm -rf "$work/run"
}

for cpus in 1 16; do
	for ((i = 0; i < rounds; i++)); do
		mkdir -p "$work/run"
		once $cpus
	done | awk -v cpus=$cpus '
	    function median(v, n,   i, j, t) {
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
				t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
			}
		return v[int((n + 1) / 2)]
	    }
	    { ms[NR] = $1 + 0; cpu[NR] = $2 + 0; mib[NR] = $3 + 0 }
	    END { printf "%2d vCPUs: %.1f ms, of them CPU %.1f ms, %.1f MiB" \
		" beyond guest memory\n", cpus, median(ms, NR),
		median(cpu, NR), median(mib, NR) }'
done
