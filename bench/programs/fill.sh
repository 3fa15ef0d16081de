#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# fill.sh ROOT IMAGE: called by mmdebstrap for bench/programs.sh. Puts what the
# programs work on into ROOT, all of it made from ROOT's own packages, and ROOT
# into an ext4 image.
set -eu
PATH=$PATH:/usr/sbin:/sbin
root=$1 image=$2
here=$(cd "$(dirname "$0")" && pwd)
to=$root/bench
mkdir -p "$to" "$root/work"
cp "$here/run" "$here/loops.py" "$here/makec.py" "$here/queries.sql" "$to/"
chmod 755 "$to/run"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
# 50 MB of programs, libraries and text.
tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    -cf - usr/share usr/lib usr/bin | head -c 50MB >"$to/data.all"
# Some 2,500 small files.
tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    -cf "$to/tree.tar" usr/share/doc usr/share/perl5 usr/lib/python3.11 \
    usr/include usr/share/zoneinfo 2>/dev/null || true
chroot "$root" openssl genrsa -out /bench/key.pem 2048 2>/dev/null
# Without what is mounted in it (/proc, /sys, /dev).
bare=$(mktemp -d)
trap 'rm -rf "$bare"' EXIT
tar -C "$root" --one-file-system -cf - . | tar -C "$bare" -xf -
rm -f "$image"
# Twice as large as what is in it.
mib=$(($(du -sm "$bare" | cut -f1) * 2))
mke2fs -q -t ext4 -L bench -d "$bare" -E root_owner=0:0 "$image" "${mib}M" >/dev/null
