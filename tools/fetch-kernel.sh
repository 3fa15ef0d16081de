#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# fetch-kernel.sh GUESTDIR [PACKAGE [ARCH]]: Debian's own kernel, out of the
# package that linux-image-amd64, or PACKAGE of another architecture, stands
# for. The package is downloaded by apt (which checks its signature) and
# unpacked, never installed; any user may do it. Leaves
#	GUESTDIR/vmlinuz	the bzImage
#	GUESTDIR/vmlinux	the ELF file in it, where that is easy
#	GUESTDIR/release	its release, as uname -r will say
#	GUESTDIR/lib/modules	those of its modules that guests here use
#	GUESTDIR/busybox	with ARCH: that of its busybox-static
# and does nothing when they are there.
set -eu
PATH=$PATH:/usr/sbin:/sbin
# What a guest may find in a VM or want of a file system.
modules="virtio_pci virtio_mmio virtio_blk virtio_net virtio_console
	virtio_rng virtio_scsi virtio_balloon virtio_input sd_mod ahci nvme
	ext4 button evdev crc32c_generic"

die() {
	echo "fetch-kernel: $*" >&2
	exit 1
}

[ $# -ge 1 ] && [ $# -le 3 ] ||
    die "usage: fetch-kernel.sh GUESTDIR [PACKAGE [ARCH]]"
guest=$1 wanted=${2:-linux-image-amd64} arch=${3:-}
[ ! -s "$guest/vmlinuz" ] || exit 0
for tool in apt-get dpkg-deb depmod; do
	command -v $tool >/dev/null ||
	    die "$tool is missing; it takes a Debian system with kmod"
done
mkdir -p "$guest"
guest=$(cd "$guest" && pwd)
work=$guest/.fetch
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/tree"

# Package lists of our own, so that the system's are neither needed nor
# changed. As root, apt would fetch as a user who cannot write here.
own="-o Dir::State::Lists=$work/lists -o Dir::Cache=$work
     -o Dir::Cache::Archives=$work/archives -o Debug::NoLocking=true
     -o APT::Sandbox::User=root"
apt=
# Nothing that is installed here matters to another architecture.
[ -z "$arch" ] || own="$own -o APT::Architecture=$arch
     -o APT::Architectures=$arch -o Dir::State::status=/dev/null"

# The package that the wanted one depends on, of the newest version.
package() {
	# shellcheck disable=SC2086  # options
	apt-cache $apt --no-all-versions show "$wanted" 2>/dev/null |
	    sed -n 's/^Depends: *\(linux-image-[^ ,]*\).*/\1/p'
}

download() {
	name=$(package)
	[ -n "$name" ] || return 1
	# shellcheck disable=SC2086
	(cd "$work" && apt-get -qq -o APT::Sandbox::User=root $apt \
	    download "$name" ${arch:+busybox-static} 2>"$work/errors" >&2)
}

echo "fetch-kernel: downloading Debian's kernel (up to 70 MB)" >&2
# The system's lists may be absent, or older than the archive.
if [ -n "$arch" ] || ! download; then
	apt=$own
	# shellcheck disable=SC2086
	apt-get -qq $apt update >"$work/errors" 2>&1 || true
	download || die "no $wanted from apt:" \
	    "$(tail -n 1 "$work/errors" 2>/dev/null)"
fi

dpkg-deb -x "$work"/linux-image-*.deb "$work/tree"
image=$(echo "$work"/tree/boot/vmlinuz-*)
[ -s "$image" ] || die "no boot/vmlinuz in $name"
release=${image##*/vmlinuz-}
if [ -n "$arch" ]; then
	dpkg-deb --fsys-tarfile "$work"/busybox-static_*.deb |
	    tar -xO ./bin/busybox >"$guest/busybox"
	chmod 755 "$guest/busybox"
fi
[ -d "$work/tree/lib" ] || ln -s usr/lib "$work/tree/lib"
from=$work/tree/lib/modules/$release
to=lib/modules/$release
depmod -b "$work/tree" "$release"

rm -rf "$guest/lib/modules"
mkdir -p "$guest/$to"
cp "$from"/modules.order "$from"/modules.builtin* "$guest/$to/"
for module in $modules; do
	# Lines of "insmod FILE" and "builtin NAME", dependencies first.
	modprobe -d "$work/tree" -S "$release" --show-depends "$module" \
	    2>/dev/null || echo "fetch-kernel: $name has no $module" >&2
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u |
while read -r file; do
	part=${file##*/"$release"/}
	mkdir -p "$guest/$to/${part%/*}"
	cp "$file" "$guest/$to/$part"
done
depmod -b "$guest" "$release"
echo "$release" >"$guest/release"
"$(dirname "$0")/extract-vmlinux.sh" "$image" "$guest/vmlinux" || true
# Last, for what is there is whole.
mv "$image" "$guest/vmlinuz"
