#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# deps.sh SECTION...: installs what is missing of tools/packages.txt's
# sections. Not root: says which packages are missing, and how to get them.
set -eu
list=$(dirname "$0")/packages.txt
missing=
for section in "$@"; do
	for package in $(awk -v want="[$section]" '
	    /^\[/ { on = ($1 == want) } on && /^[a-z0-9]/ { print $1 }' "$list")
	do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
		    grep -qx installed || missing="$missing $package"
	done
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "anyhyve: packages are missing; as root:" \
	    "apt-get install$missing" >&2
	exit 1
fi
echo "anyhyve: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of names
apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1 || {
	apt-get -qq update
	apt-get -qq install -y --no-install-recommends $missing >/dev/null
}
