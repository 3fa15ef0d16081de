#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fails when docs quote code that is not there (any more).

A ```c block is a quotation of the file that was last named on a line of its
own, as `src/dev/x.c`: with the back quotes and the colon.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
BLOCK = re.compile(r"^`([\w/.]+)`:$|^```c\n(.*?)^```$", re.M | re.S)


def main():
    bad = 0
    for page in sorted((ROOT / "docs").glob("*.md")):
        source = None
        for match in BLOCK.finditer(page.read_text()):
            name, quoted = match.groups()
            if name is not None:
                source = name
            elif source is not None and (
                    quoted not in (ROOT / source).read_text()):
                print(f"docs/{page.name}: not in {source}:\n{quoted}")
                bad += 1
    return 1 if bad else 0


sys.exit(main())
