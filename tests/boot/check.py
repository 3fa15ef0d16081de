#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check.py BUILD KIND KERNEL: boots one of these kernels by bhyve itself and
by bhyveload, and compares what it says it was handed with what is right."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

MIB = 1 << 20
MEMORY = 64 * MIB
INITRD = b"an initrd of odd size" * 1001
SECOND = bytes(range(256)) * 17
CMDLINE = "one two=3 nokaslr"


def checksum(data):
    total = 0
    for byte in data:
        total = (total * 31 + byte) & 0xffffffffffffffff
    return f"{total:x}"


def expected(kind, kernel, modules):
    """Lines that must be there, in order."""
    pvh = kind.startswith("pvh")
    lines = ["KERNEL-UP", f"eax={'0' if pvh else '2badb002'}", "cr0=11",
             "cr4=0", "efer=0", "eflags=2", "selectors.alike=1", "tr.set=1",
             "data=123456789abcdef", "bss=0"]
    if pvh:
        lines += ["info.magic=336ec578", "info.version=1", "info.flags=0",
                  f"cmdline={CMDLINE}"]
    else:
        lines += ["info.flags=24d", f"mem.lower={640:x}",
                  f"mem.upper={(MEMORY - MIB) // 1024:x}",
                  f"cmdline={kernel} {CMDLINE}", "loader=anyhyve"]
    for text, data in modules:
        lines += [f"module={text}", "module.aligned=1",
                  f"module.size={len(data):x}", f"module.sum={checksum(data)}"]
    lines += ["map=0 a0000 1", "map=a0000 60000 2",
              f"map=100000 {MEMORY - MIB:x} 1", "map=e0000000 10000000 2"]
    if pvh:
        lines += [f"rsdp={int.from_bytes(b'RSD PTR ', 'little'):x}"]
    return lines + ["KERNEL-END"]


class Check:
    def __init__(self, build, kind, kernel, folder):
        self.build, self.kind, self.kernel = build, kind, kernel
        self.env = dict(os.environ, VMM_RUNDIR=str(folder / "run"))
        self.initrd = folder / "init rd"
        self.second = folder / "second"
        self.initrd.write_bytes(INITRD)
        self.second.write_bytes(SECOND)
        text = f"{self.second} its arguments"
        self.modules = [(str(self.initrd), INITRD), (text, SECOND),
                        (str(self.second), SECOND)]
        self.variables = ["-o", f"boot.module.3={text}",
                          "-o", f"boot.module.10={self.second}"]

    def run(self, program, *arguments):
        return subprocess.run([f"{self.build}/{program}", *arguments],
                              env=self.env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120,
                              check=False)

    def bhyve(self, *arguments):
        return self.run("bhyve", "-m", "64M", "-s", "0,hostbridge", "-s",
                        "31,lpc", "-l", "com1,stdio", "-o", "engine=soft",
                        *arguments, "vm0")

    def direct(self):
        return self.bhyve("-o", f"boot.kernel={self.kernel}",
                          "-o", f"boot.initrd={self.initrd}",
                          "-o", f"boot.cmdline={CMDLINE}", *self.variables)

    def in_two_steps(self):
        loaded = self.run("bhyveload", "-m", "64M", "-k", self.kernel, "-i",
                          str(self.initrd), "-a", CMDLINE, *self.variables,
                          "vm0")
        return loaded if loaded.returncode != 0 else self.bhyve()

    def alike(self, result):
        got = result.stdout.replace("\r", "").splitlines()
        want = expected(self.kind, self.kernel, self.modules)
        bad = result.returncode != 1 or got != want
        if result.returncode != 1:
            print(f"# status {result.returncode}: {result.stderr.strip()}")
        for line in want:
            if line not in got:
                print(f"# missing: {line}")
        for line in got:
            if line not in want:
                print(f"# not expected: {line}")
        return not bad


def main():
    build, kind, kernel = sys.argv[1:]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="anyhyve-boot-"))
    (folder / "run").mkdir(mode=0o700)
    good = True
    print("1..2")
    try:
        check = Check(build, kind, kernel, folder)
        for number, way in enumerate((check.direct, check.in_two_steps), 1):
            result = check.alike(way())
            good = good and result
            print(f"{'' if result else 'not '}ok {number} - {kind}, "
                  f"{way.__name__}")
        check.run("bhyvectl", "--vm=vm0", "--destroy")
    finally:
        shutil.rmtree(folder)
    return 0 if good else 1


sys.exit(main())
