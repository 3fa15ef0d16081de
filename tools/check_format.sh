#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Fails when clang-format would change a C file, or a file lacks its SPDX line.
cd "${1:-.}" || exit 1
files=$(git ls-files '*.c' '*.h' 2>/dev/null)
[ -n "$files" ] || files=$(find src include tests -name '*.[ch]')
bad=0
for file in $files; do
	grep -q 'SPDX-License-Identifier: BSD-2-Clause' "$file" || {
		echo "$file: no SPDX line"
		bad=1
	}
done
# shellcheck disable=SC2086  # a list of names
found=$(clang-format --dry-run -Werror $files 2>&1 | grep 'error:')
if [ -n "$found" ]; then
	echo "$found" | cut -d: -f1 | sort | uniq -c
	bad=1
fi
exit $bad
