#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# boot.sh ROUNDS INITRD KERNEL...: seconds from a process' start to the init of
# INITRD (mkinitrd.sh with 0), ours and the peer in turn, pinned; medians.
set -u
rounds=$1 initrd=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
pin="taskset -c ${CPU:-0}"

to_init() { # COMMAND...: seconds, or nothing
	local start=$EPOCHREALTIME
	$pin "$@" 2> /dev/null | while IFS= read -r line; do
		case $line in *GUEST-UP*)
			awk "BEGIN { print $EPOCHREALTIME - $start }" ;;
		esac
	done
}

median() {
	sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR+1)/2)] : "-" }'
}

for kernel in "$@"; do
	ours='' peer=''
	for ((i = 0; i < rounds; i++)); do
		ours+=$(to_init "$here/ours.sh" "$kernel" "$initrd")$'\n'
		command -v qemu-system-x86_64 > /dev/null || continue
		peer+=$(to_init "$here/tcg.sh" "$kernel" "$initrd")$'\n'
	done
	echo "$kernel $(grep . <<< "$ours" | median)" \
	    "$(grep . <<< "$peer" | median)" | awk '{
	    printf "%-40s ours %6.2f s", $1, $2
	    if ($3 != "-") printf " peer %6.2f s peer/ours %5.2f", $3, $3 / $2
	    printf "\n" }'
done
