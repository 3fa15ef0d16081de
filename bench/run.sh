#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# run.sh: speed, as ratios measured side by side in one run. Uses the
# yardstick's gbench.c (YARDSTICK, else ../shared/bench). Prints
#   start-up	from exec to the first guest instruction, and memory beyond the
#		guest's, with an uncompressed ELF
#   boot	Debian's kernel to the shell
#   gbench	native against ours, medians of ROUNDS (3) by line; the peer
#		(QEMU TCG) too where qemu-system-x86_64 is installed
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "${BUILD:-$root/build}") guest=$(realpath "${GUEST:-$root/guest}")
yard=${YARDSTICK:-$root/../shared/bench} rounds=${ROUNDS:-3}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
board="-D -m 512M -H -s 0,hostbridge -s 31,lpc -l com1,stdio"

ours() { # INITRD CMDLINE [ARGUMENT...]
	local initrd=$1 cmdline=$2
	shift 2
	# shellcheck disable=SC2086  # options
	"$build/bhyve" $board -o rundir="$work/run" \
	    -o boot.kernel="$guest/vmlinuz" -o boot.initrd="$initrd" \
	    -o boot.cmdline="$cmdline" "$@" "bench-$RANDOM"
}

if [ ! -r "$yard/mkinitrd.sh" ]; then
	echo "bench: no yardstick at $yard (set YARDSTICK)" >&2
	exit 1
fi
"$yard/mkinitrd.sh" "$work/boot.gz" 0
"$yard/mkinitrd.sh" "$work/gbench.gz" "${SECONDS_A_LINE:-0.3}"

echo "== boot: kernel to the shell, seconds"
for ((i = 0; i < rounds; i++)); do
	start=$EPOCHREALTIME
	ours "$work/boot.gz" "console=ttyS0 quiet panic=-1" < /dev/null \
	    2> "$work/err" | while IFS= read -r line; do
		case $line in *GUEST-UP*)
			echo "$EPOCHREALTIME $start" |
			    awk '{ printf "%.2f\n", $1 - $2 }' ;;
		esac
	done
	grep -i unpack "$work/err"
done

echo "== gbench"
if command -v qemu-system-x86_64 > /dev/null; then
	export -f ours
	export build board guest work
	"$yard/compare.sh" -r "$rounds" "$guest/vmlinuz" "$work/gbench.gz" \
	    bash -c 'ours "$INITRD" "console=ttyS0 quiet panic=-1"'
else
	for ((i = 0; i < rounds; i++)); do
		"$work/gbench.gz.gbench" 0.3 | sed 's/^GB /native /' \
		    >> "$work/all"
		ours "$work/gbench.gz" "console=ttyS0 quiet panic=-1" \
		    < /dev/null 2> /dev/null | tr -d '\r' |
		    sed -n 's/^GB /ours /p' >> "$work/all"
	done
	sort -k1,2 -k3,3n "$work/all" | awk '
	    $4 == "ns/op" { v[$1, $2, ++n[$1, $2]] = $3; names[$2] = 1 }
	    END { for (k in names) {
		a = v["native", k, int((n["native", k] + 1) / 2)]
		b = v["ours", k, int((n["ours", k] + 1) / 2)]
		printf "%-9s native %12.2f ours %12.2f ours/native %6.2f\n",
		    k, a, b, b / a } }' | sort
fi
