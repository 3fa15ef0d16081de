#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# scale.sh ROUNDS KERNEL INITRD: gbench's alu alone and twice at once, on two
# vCPUs and on the host (INITRD is mkinitrd.sh's with "scale"); not pinned. The
# share is what each of the two does of what one does alone; medians.
set -u
rounds=$1 kernel=$2 initrd=$3
here=$(cd "$(dirname "$0")" && pwd)

on_host() {
	"$initrd.gbench" 1 alu
	"$initrd.gbench" 1 alu &
	"$initrd.gbench" 1 alu
	wait
}

in_guest() {
	"$here/ours.sh" "$kernel" "$initrd" "console=ttyS0 quiet panic=-1" -c 2
}

share() { # of three lines "GB alu NS ns/op"
	tr -d '\r' | sed -n 's/^.*GB alu \([0-9.]*\) ns.*$/\1/p' |
	    awk '{ t[NR] = $1 } END { if (NR == 3) print 2 * t[1] / (t[2] + t[3]) }'
}

median() {
	sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR+1)/2)] : 0 }'
}

for ((i = 0; i < rounds; i++)); do
	echo "host $(on_host 2> /dev/null | share)"
	echo "guest $(in_guest 2> /dev/null | share)"
done > "$initrd.shares"
host=$(sed -n 's/^host //p' "$initrd.shares" | median)
guest=$(sed -n 's/^guest //p' "$initrd.shares" | median)
echo "$host $guest" | awk '{
    r = ($1 > 0) ? $2 / $1 : 0
    printf "host %.2f guest %.2f guest/host %.2f\n", $1, $2, r }'
