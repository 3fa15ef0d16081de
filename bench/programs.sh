#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# programs.sh: real programs in a Debian guest, ours against the peer (QEMU
# TCG), both from copies of one ext4 image on virtio-blk with 2 GiB and one
# vCPU, pinned. The guest times each program (bench/programs/run); this end
# holds the guest's clock against its own, and the programs' outputs against
# each other's. Variables: SIZE (50: MB of data, and scales the rest), ONLY
# (names, with commas), ROUNDS (1), CPU (0), BHYVE_OPTIONS (for ours), SIDES
# ("ours peer"), IMAGE (kept in $GUEST/programs.img, made when not there).
set -u
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "${BUILD:-$root/build}") guest=$(realpath "${GUEST:-$root/guest}")
bench=$root/bench size=${SIZE:-50} rounds=${ROUNDS:-1}
image=${IMAGE:-$guest/programs.img}
packages=xz-utils,gzip,openssl,python3-minimal,libpython3-stdlib,gcc,libc6-dev
packages=$packages,sqlite3,tar,findutils,stress-ng,binutils
export BHYVE=$build/bhyve MEMORY=2048

die() {
	echo "bench: $*" >&2
	exit 1
}

# The hook runs where the files have their owners, whoever we are.
make_image() {
	local new=$image.new
	echo "bench: making $image (Debian packages, 350 MB)" >&2
	rm -f "$new"
	mmdebstrap --quiet --variant=apt --include="$packages" --format=null \
	    --aptopt='Acquire::Languages "none"' \
	    --customize-hook="sh $bench/programs/fill.sh \"\$1\" $new" \
	    bookworm - >&2 || die "the image could not be made"
	mv "$new" "$image"
}

# The guest's initrd, with an init that goes on from the disk.
make_initrd() {
	local tree=$work/tree
	mkdir -p "$tree"
	cat > "$tree/init" << 'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
export PATH=/bin
modprobe -a virtio_pci virtio_blk ext4
for i in 1 2 3 4 5 6 7 8 9; do
	[ ! -b /dev/vda ] || break
	sleep 1
done
mount -t ext4 /dev/vda /mnt || poweroff -f
for fs in proc sys dev; do
	mount --move /$fs /mnt/$fs
done
exec switch_root /mnt /bench/run
END
	chmod +x "$tree/init"
	(cd "$tree" && echo init | cpio -o -H newc --quiet) |
	    cat "$guest/initrd" - > "$work/initrd"
}

# Each line with the host's clock before it.
stamp() {
	tr -d '\r' | while IFS= read -r line; do
		printf '%s %s\n' "$EPOCHREALTIME" "$line"
	done
}

run_side() { # SIDE ROUND
	local disk=$work/disk.img
	local cmdline="console=ttyS0 quiet panic=-1 bench.size=$size"
	[ -z "${ONLY:-}" ] || cmdline="$cmdline bench.only=$ONLY"
	cp --reflink=auto --sparse=always "$image" "$disk"
	case $1 in
	ours)
		taskset -c "${CPU:-0}" "$bench/ours.sh" "$guest/vmlinuz" \
		    "$work/initrd" "$cmdline" -s "3,virtio-blk,$disk" ;;
	peer)
		taskset -c "${CPU:-0}" "$bench/tcg.sh" "$guest/vmlinuz" \
		    "$work/initrd" "$cmdline" \
		    -drive "file=$disk,format=raw,if=none,id=disk" \
		    -device virtio-blk-pci,drive=disk ;;
	esac 2> "$work/err" | stamp > "$work/$1.$2"
	grep -q PG-STOP "$work/$1.$2" || {
		echo "void: $1 did not come to its end:"
		tail -n 5 "$work/$1.$2"
		tail -n 3 "$work/err"
		return 1
	}
}

# "NAME SECONDS HASH STATUS", and a complaint when a clock is wrong.
times() { # FILE
	awk -v file="${1##*/}" '
	    $2 == "PG-BEGIN" { host = $1; real = $4; up = $5 }
	    $2 == "PG-END" {
		t[$3] = $4 - real; s[$3] = $6; order[++n] = $3
		h = $1 - host; m = $5 - up
		if (h > 3 && (t[$3] / h < 0.97 || t[$3] / h > 1.03 ||
		    m / h < 0.97 || m / h > 1.03))
			printf "void: %s: %s took %.2f s, %.2f s by uptime, " \
			    "on the host %.2f s\n", file, $3, t[$3], m, h \
			    > "/dev/stderr"
	    }
	    $2 == "PG-SUM" { sum[$3] = $4 }
	    END { for (i = 1; i <= n; i++)
		print order[i], t[order[i]], sum[order[i]], s[order[i]] }' "$1"
}

# The medians of a side's rounds: "NAME SECONDS HASH STATUS".
medians() { # SIDE
	for file in "$work/$1".[0-9]*; do
		[ -e "$file" ] && times "$file"
	done | sort -k1,1 -k2,2n | awk '
	    { t[$1, ++n[$1]] = $2; rest[$1] = $3 " " $4 }
	    END { for (k in n)
		print k, t[k, int((n[k] + 1) / 2)], rest[k] }' | sort
}

[ -s "$image" ] || make_image
work=$(mktemp -d "$guest/.programs.XXXXXX") || exit 1
mkdir -p /dev/shm/anyhyve-bench.$$
export RUNDIR=/dev/shm/anyhyve-bench.$$
trap 'rm -rf "$work" "$RUNDIR"' EXIT
make_initrd
for ((i = 1; i <= rounds; i++)); do
	for side in ${SIDES:-ours peer}; do
		[ "$side" = ours ] || command -v qemu-system-x86_64 \
		    > /dev/null || continue
		run_side "$side" "$i" || exit 2
	done
done
medians ours > "$work/ours"
medians peer > "$work/peer"
join -a 1 -a 2 -e - -o 0,1.2,1.3,1.4,2.2,2.3,2.4 "$work/ours" "$work/peer" |
    awk 'function seconds(t) { return t == "-" ? t : sprintf("%.2f", t) }
    {
	printf "%-8s ours %8s s", $1, seconds($2)
	if ($2 == "-" || $5 == "-")
		printf " peer %8s s", seconds($5)
	else {
		r = $5 / $2; all += log(r); n++
		if (!min || r < min) { min = r; name = $1 }
		printf " peer %8.2f s peer/ours %6.2f", $5, r
		if ($3 != $6) printf "  OUTPUT DIFFERS"
	}
	if ($4 != 0 && $2 != "-") printf "  STATUS %s", $4
	printf "\n"
    }
    END { if (n) printf "summary programs %d peer/ours %.2f lowest %.2f (%s)\n",
	n, exp(all / n), min, name }'
