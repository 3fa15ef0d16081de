#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fails when a file includes what its room may not see (ARCHITECTURE.md)."""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
DOOR = "vmmapi.h"

# room: the folders whose headers it may include. The longest match is the
# file's room; a room always sees itself.
ROOMS = {
    "base": set(),
    "x86": {"base"},
    "vmm": {"x86", "base", DOOR},
    "vmm/soft": {"vmm", "x86", "base", DOOR},
    "vmm/kvm": {"vmm", "x86", "base", DOOR},
    "vmm/dev": {"vmm", "x86", "base", DOOR},
    "vmmapi": {"vmm", "x86", "base", DOOR},
    "backend": {"base"},
    "dev": {DOOR, "backend", "x86", "base", "firmware"},
    "firmware": {DOOR, "backend", "x86", "base"},
    "boot": {DOOR, "backend", "x86", "base", "firmware"},
    "bhyve": {DOOR, "dev", "firmware", "boot", "backend", "x86", "base"},
    "bhyveload": {DOOR, "dev", "firmware", "boot", "backend", "x86", "base"},
    "bhyvectl": {DOOR, "dev", "firmware", "boot", "backend", "x86", "base"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)


def room_of(path):
    """The room of a path relative to src/, or None."""
    parts = path.split("/")
    for length in (2, 1):
        room = "/".join(parts[:length])
        if len(parts) > length and room in ROOMS:
            return room
    return None


def main():
    bad = 0
    for source in sorted((ROOT / "src").rglob("*.[ch]")):
        name = source.relative_to(ROOT / "src").as_posix()
        room = room_of(name)
        if room is None:
            print(f"src/{name}: in no room of tools/check_layers.py")
            bad += 1
            continue
        for header in INCLUDE.findall(source.read_text()):
            target = DOOR if header == DOOR else room_of(header)
            if target in (None, room) or target in ROOMS[room]:
                continue
            print(f"src/{name}: room {room} may not include {header}")
            bad += 1
    return 1 if bad else 0


sys.exit(main())
