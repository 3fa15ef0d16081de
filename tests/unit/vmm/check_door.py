#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What libvmmapi.so exports, vmmapi.h declares, callers.c calls, and
docs/vmmapi-compat.md and vmmapi(3) list are the same functions."""

import pathlib
import re
import subprocess
import sys

ROOT, LIBRARY = pathlib.Path(sys.argv[1]), sys.argv[2]
FUNCTION = re.compile(r"\b(vm_\w+|vcpu_\w+)\s*\(")


def declared():
    text = (ROOT / "include/vmmapi.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(FUNCTION.findall(text))


def exported():
    lines = subprocess.run(["nm", "-D", "--defined-only", LIBRARY],
                           capture_output=True, text=True, check=True)
    return {line.split()[-1].split("@")[0]
            for line in lines.stdout.splitlines()}


def listed():
    rows = re.findall(r"^\| (v\w+) \| (\w+)",
                      (ROOT / "docs/vmmapi-compat.md").read_text(), re.M)
    names = [name for name, _ in rows]
    assert len(names) == len(set(names)), "a function is listed twice"
    wrong = [kind for _, kind in rows
             if kind not in ("same", "differs", "ENOTSUP", "ours")]
    assert not wrong, wrong
    return set(names)


def called():
    text = (ROOT / "tests/unit/vmm/callers.c").read_text()
    return set(re.findall(r"\bX\((v\w+),", text))


def described():
    """Each has its prototype and its words in vmmapi(3)."""
    text = (ROOT / "man/vmmapi.3").read_text()
    synopsis, rest = text.split(".Sh DESCRIPTION")
    rest = rest.split(".Sh FUNCTIONS")[1].split(".Sh RETURN")[0]
    name = re.compile(r"^\.(?:It )?Fn (v\w+)", re.M)
    return set(name.findall(synopsis)) & set(name.findall(rest))


def main():
    bad = 0
    wanted = declared()
    assert len(wanted) > 50
    for what, names in (("exported", exported()), ("listed", listed()),
                        ("called", called()),
                        ("described", described())):
        for name in sorted(wanted ^ names):
            print(f"{name}: {'not ' if name in wanted else ''}{what}")
            bad = 1
    return bad


sys.exit(main())
