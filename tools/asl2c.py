#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""asl2c.py IASL IN.asl OUT.c NAME: compiles ASL and writes the AML as a C
array, NAME, and its size, NAME_size. A warning of iasl is an error."""

import pathlib
import subprocess
import sys
import tempfile


def compiled(iasl, source):
    with tempfile.TemporaryDirectory() as work:
        out = pathlib.Path(work, "out")
        done = subprocess.run([iasl, "-we", "-p", out, source],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)
        return out.with_suffix(".aml").read_bytes()


def main():
    iasl, source, target, name = sys.argv[1:]
    aml = compiled(iasl, source)
    lines = [", ".join(f"0x{byte:02x}" for byte in aml[i:i + 12])
             for i in range(0, len(aml), 12)]
    pathlib.Path(target).write_text(
        '#include "firmware/acpi_priv.h"\n\n'
        f"const uint8_t {name}[] = {{\n\t" + ",\n\t".join(lines) + ",\n};\n"
        f"const size_t {name}_size = sizeof({name});\n")


main()
