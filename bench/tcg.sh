#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tcg.sh KERNEL INITRD [CMDLINE [ARGUMENT...]]: the peer. The same guest under
# QEMU's software engine (package qemu-system-x86), its serial line on stdout.
kernel=$1 initrd=$2 cmdline=${3:-console=ttyS0 quiet panic=-1}
[ $# -le 3 ] && set -- || shift 3
exec qemu-system-x86_64 -accel tcg -cpu max -m "${MEMORY:-512}" -nodefaults \
    -display none -no-reboot -serial stdio -kernel "$kernel" \
    -initrd "$initrd" -append "$cmdline" "$@" </dev/null
