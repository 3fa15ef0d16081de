#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# ours.sh KERNEL INITRD [CMDLINE [ARGUMENT...]]: ours. A guest with one vCPU
# and 512 MiB (MEMORY, in MiB), its serial line on stdout. BHYVE is the
# program, BHYVE_OPTIONS are more of its arguments ("-o soft.jit=off").
kernel=$1 initrd=$2 cmdline=${3:-console=ttyS0 quiet panic=-1}
here=$(cd "$(dirname "$0")" && pwd)
[ $# -le 3 ] && set -- || shift 3
# shellcheck disable=SC2086  # options
exec "${BHYVE:-$here/../build/bhyve}" -D -H -m "${MEMORY:-512}M" \
    -s 0,hostbridge -s 31,lpc -l com1,stdio -o engine=soft \
    -o "rundir=${RUNDIR:-/dev/shm}" ${BHYVE_OPTIONS:-} \
    -o boot.kernel="$kernel" -o boot.initrd="$initrd" \
    -o boot.cmdline="$cmdline" "$@" "bench-$$" </dev/null
