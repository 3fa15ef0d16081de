#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Fails when an object of the libraries holds mutable file-scope data. What is
# allowed is named here, with its reason.
build=${1:-build}
# vm_error_text's and vm_set_option's per-thread and per-process text; what a
# signal handler gives back.
allow='^(door_.*|error_text|terminals_raw)$'
bad=0
for object in $(find "$build/src" -name '*.o' ! -path '*/bhyve*/*' \
    ! -path '*asan*'); do
	nm "$object" 2>/dev/null | awk '$2 ~ /^[bBdD]$/ { print $3 }' |
	    grep -Ev '^(__|\.L|_)' | sed 's/\.[0-9]*$//' | while read -r name; do
		echo "$name" | grep -Eq "$allow" || echo "$object: $name"
	done
done | sort -u | { grep . && bad=1; exit $bad; }
