#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# extract-vmlinux.sh VMLINUZ OUT: the ELF kernel out of a bzImage that is
# packed with xz, gzip or lz4 (boot.rst, "The real-mode kernel header").
set -eu

die() {
	echo "extract-vmlinux: $*" >&2
	exit 1
}

number() { # OFFSET BYTES: a number of the setup header
	od -An -v -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '
}

[ $# -eq 2 ] || die "usage: extract-vmlinux.sh VMLINUZ OUT"
image=$1 out=$2
[ "$(number 514 4)" = 1400005704 ] || die "$image: not a bzImage (no HdrS)"
start=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
case $(number "$start" 2) in
14333) unpack="xz -dc --single-stream" ;; # fd 37
35615) unpack="gzip -dc" ;;               # 1f 8b
8450) unpack="lz4 -dc" ;; # 02 21, the legacy format
*) die "$image: neither xz nor gzip nor lz4" ;;
esac
command -v "${unpack%% *}" >/dev/null || die "${unpack%% *} is missing"
trap 'rm -f "$out.new"' EXIT
# The sizes and relocations behind the stream make both complain.
tail -c +$((start + 1)) "$image" | head -c "$(number 588 4)" |
    $unpack >"$out.new" 2>/dev/null || true
[ "$(head -c 4 "$out.new" | tail -c 3)" = ELF ] ||
    die "$image: what is packed in it is no ELF file"
mv "$out.new" "$out"
