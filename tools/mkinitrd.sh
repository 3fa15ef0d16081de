#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# mkinitrd.sh OUT GUESTDIR: an initrd of busybox and GUESTDIR/lib/modules. Its
# init mounts what a Linux system has, loads the modules of the devices it
# finds, says GUEST-UP and leaves a shell on the console. poweroff and reboot
# work there, and so does the power button.
#
# It is not compressed: the host reads it in no time, while the guest would
# spend its own on unpacking.
set -eu

die() {
	echo "mkinitrd: $*" >&2
	exit 1
}

[ $# -eq 2 ] || die "usage: mkinitrd.sh OUT GUESTDIR"
out=$1 guest=$2
busybox=${BUSYBOX:-/bin/busybox}
[ -x "$busybox" ] || die "no $busybox: install busybox-static"
command -v cpio >/dev/null || die "cpio is missing: install cpio"
work=$(mktemp -d)
trap 'rm -rf "$work" "$out.new"' EXIT
tree=$work/tree
mkdir -p "$tree"
(cd "$tree" && mkdir -p bin dev etc/acpi/PWRF lib mnt proc root run sys tmp)
ln -s bin "$tree/sbin"
cp "$busybox" "$tree/bin/busybox"
# One of another architecture may not run here: the host's has the same ones.
applets=$("$busybox" --list 2>/dev/null || /bin/busybox --list) ||
    die "$busybox does not run here: install busybox-static"
for applet in $applets; do
	[ "$applet" = busybox ] || ln -sf busybox "$tree/bin/$applet"
done
if [ -d "$guest/lib/modules" ]; then
	cp -R "$guest/lib/modules" "$tree/lib/"
	# kmod's own indices, which busybox does not read.
	rm -f "$tree"/lib/modules/*/modules.*.bin \
	    "$tree"/lib/modules/*/modules.order \
	    "$tree"/lib/modules/*/modules.builtin.modinfo
fi

cat >"$tree/init" <<'END'
#!/bin/sh
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
# Each device names the modules that may drive it. Twice: virtio's devices are
# only there once PCI's have a driver.
for bus in pci virtio; do
	find /sys/devices -name modalias -exec cat {} + 2>/dev/null |
	    sort -u | xargs modprobe -qa 2>/dev/null
done
modprobe -q evdev
[ ! -e /dev/input/event0 ] || acpid -l /dev/null
hostname guest
echo GUEST-UP
exec /bin/init
END
cat >"$tree/etc/inittab" <<'END'
# cttyhack: the console itself cannot be a controlling terminal, so Ctrl-C and
# jobs need the terminal behind it.
::respawn:/bin/cttyhack /bin/sh -l
::ctrlaltdel:/bin/reboot
END
cat >"$tree/etc/profile" <<'END'
export PATH=/bin HOME=/root
cd
END
cat >"$tree/etc/acpi/PWRF/00000080" <<'END'
#!/bin/sh
exec poweroff
END
echo "root:x:0:0:root:/root:/bin/sh" >"$tree/etc/passwd"
echo "root:x:0:" >"$tree/etc/group"
chmod 755 "$tree/init" "$tree/etc/acpi/PWRF/00000080"

(cd "$tree" && find . | LC_ALL=C sort |
    cpio -o -H newc -R +0:+0 --quiet) >"$out.new"
mv "$out.new" "$out"
