#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# compare.sh [-r ROUNDS] KERNEL INITRD OURS...: gbench on the host, in ours and
# in the peer (QEMU TCG, where it is installed), in turn, each pinned to one
# CPU; medians by line. INITRD is of mkinitrd.sh; OURS boots $KERNEL with
# $INITRD (both exported) and shows its serial line on stdout. The summary row
# is what is quoted: peer/ours is the geometric mean over the lines, each capped
# at 20; compute and kernel are geometric means of ours/native. All is void
# (exit 2) when the guest's clock and the host's differ by more than 3 %
# between GB-BEGIN and GB-END.
set -u
rounds=3
[ "$1" = -r ] && { rounds=$2; shift 2; }
export KERNEL=$1 INITRD=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pin="taskset -c ${CPU:-0}"

stamp() { # host's time before each line
	while IFS= read -r line; do
		printf '%s %s\n' "$EPOCHREALTIME" "$line"
	done
}

for ((i = 1; i <= rounds; i++)); do
	$pin "$INITRD.gbench" "${SECONDS_A_LINE:-0.3}" > "$work/native.$i"
	$pin "$@" < /dev/null 2> "$work/err.$i" | stamp > "$work/ours.$i"
	command -v qemu-system-x86_64 > /dev/null || continue
	$pin "$here/tcg.sh" "$KERNEL" "$INITRD" 2> /dev/null |
	    stamp > "$work/peer.$i"
done

for file in "$work"/ours.*; do
	tr -d '\r' < "$file" | awk '
	    /GB-BEGIN/ { host = $1; guest = $NF }
	    /GB-END/ { d = ($1 - host) / ($NF - guest); done = 1 }
	    END { exit !(done && d > 0.97 && d < 1.03) }' || {
		echo "void: no GB-END, or the guest's clock is not the host's," \
		    "in round ${file##*.}: $(tail -n 1 "$work/err.${file##*.}")"
		exit 2
	}
done

medians() { # SIDE: lines of "name ns"
	cat "$work/$1".* 2> /dev/null | tr -d '\r' |
	    sed -n 's/^.*GB \([a-z0-9]*\) \([0-9.]*\) ns\/op.*$/\1 \2/p' |
	    sort -k1,1 -k2,2n | awk '
		{ v[$1, ++n[$1]] = $2 }
		END { for (k in n) print k, v[k, int((n[k] + 1) / 2)] }' |
	    sort
}

for side in native ours peer; do
	medians $side > "$work/$side"
done
# Without a peer, its column is a dash.
join -a 1 -e - -o 0,1.2,2.2 "$work/ours" "$work/peer" |
    join - "$work/native" | awk '
    {
	s = $2 / $4; nat += log(s); k++
	if ($1 ~ /^(syscall|fault|fork|pipe|smc)$/) { kern += log(s); kn++ }
	else { comp += log(s); cn++ }
	printf "%-9s ours %13.2f native %13.2f ours/native %6.2f", $1, $2, $4, s
	if ($3 != "-") {
		r = $3 / $2; all += log(r > 20 ? 20 : r); pn++
		if (!min || r < min) { min = r; name = $1 }
		printf " peer %14.2f peer/ours %6.2f", $3, r
	}
	printf "\n"
    }
    END {
	if (!k) { print "no lines in common"; exit 1 }
	printf "summary lines %d ", k
	if (pn) printf "peer/ours(capped) %.2f lowest %.2f (%s) ",
	    exp(all / pn), min, name
	printf "ours/native %.2f compute %.2f kernel %.2f\n", exp(nat / k),
	    cn ? exp(comp / cn) : 0, kn ? exp(kern / kn) : 0
    }'
