#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# mkinitrd.sh OUT [SECONDS]: an initrd whose init says GUEST-UP, runs gbench
# for SECONDS (0.3) a line and powers off. SECONDS may be 0, only to boot, idle,
# to sleep, or scale, to run one line alone and twice at once. The same gbench
# is left in OUT.gbench, for the host.
set -eu
out=$1 seconds=${2:-0.3}
here=$(cd "$(dirname "$0")" && pwd)
busybox=${BUSYBOX:-/bin/busybox}
for tool in "$busybox" cpio gcc; do
	command -v "$tool" >/dev/null || {
		echo "bench: $tool is missing" >&2
		exit 1
	}
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/proc" "$work/sys" "$work/dev"
cp "$busybox" "$work/bin/busybox"
gcc -O2 -fno-inline-functions -fno-if-conversion -static \
    -o "$work/bin/gbench" "$here/gbench.c" -lm
cat >"$work/init" <<END
#!/bin/busybox sh
/bin/busybox mount -t proc p /proc
/bin/busybox mount -t sysfs s /sys
/bin/busybox mount -t devtmpfs d /dev
echo GUEST-UP
cd /sys/devices/system/clocksource/clocksource0
echo "clock source \$(/bin/busybox cat current_clocksource)"
case "$seconds" in
0) ;;
idle) /bin/busybox sleep 1000 ;;
scale)
	/bin/gbench 1 alu
	/bin/gbench 1 alu &
	/bin/gbench 1 alu
	wait ;;
*) /bin/gbench $seconds ;;
esac
/bin/busybox poweroff -f
END
chmod +x "$work/init"
(cd "$work" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -9) \
    >"$out"
cp "$work/bin/gbench" "$out.gbench"
