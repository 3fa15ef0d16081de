#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# run.sh [ARGUMENT...]: boots the guest of `make guest` with 2 vCPUs and
# 512 MiB on this terminal. More arguments go to bhyve, before the VM's name.
set -u
build=${BUILD:-build} guest=${GUEST:-guest}
status=0
"$build/bhyve" -D -c 2 -m 512M -H -A -P -s 0,hostbridge -s 31,lpc \
    -l com1,stdio -o boot.kernel="$guest/vmlinuz" \
    -o boot.initrd="$guest/initrd" \
    -o boot.cmdline="console=ttyS0 panic=-1" "$@" "run-$$" || status=$?
# bhyve(8): 0 rebooted, 1 powered off, 2 halted, 3 triple fault, 4 error.
case $status in
0) echo "anyhyve: the guest rebooted" >&2 ;;
1) echo "anyhyve: the guest powered off" >&2 ;;
*) exit "$status" ;;
esac
