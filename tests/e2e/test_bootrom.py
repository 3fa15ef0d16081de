# SPDX-License-Identifier: BSD-2-Clause
"""-l bootrom: a ROM of our own (programs/rom.S) from the reset vector up."""

import re

import pytest
from conftest import BUILD, program

GOOD, BAD = 35, 37
ROM = BUILD / "tests/e2e"


def run(machine, rom, *arguments):
    vm = machine("-D", "-m", "64M", "-s", "0,hostbridge", "-s", "31,lpc",
                 "-l", "com1,stdio", "-l", "pc-testdev",
                 "-l", f"bootrom,{rom}", *arguments, "vm0")
    status = vm.wait()
    return status, vm.output.decode().split(), vm


def assert_all_modes(machine, *arguments):
    status, said, vm = run(machine, *arguments)
    assert said == ["real", "unreal", "far", "protected", "long"], vm.tail()
    assert status == GOOD


# 0: the CPU would mark descriptors and page tables in ROM as accessed.
@pytest.mark.parametrize("accessed", [0, 1])
@pytest.mark.parametrize("jit", ["on", "off"])
def test_every_mode(machine, jit, accessed):
    assert_all_modes(machine, ROM / f"rom{accessed}.bin", "-o", "engine=soft",
                     "-o", f"soft.jit={jit}", "-o", "soft.jit.hot=1")


def test_every_mode_on_kvm(machine):
    line = re.search(r"^kvm\t(.*)$",
                     program("bhyve", "-o", "engine=help").stdout, re.M)
    if not line.group(1).startswith("usable"):
        pytest.skip("engine=kvm: " + line.group(1))
    assert_all_modes(machine, ROM / "rom1.bin", "-o", "engine=kvm")


def test_variables_are_a_file(machine, tmp_path):
    """Below the ROM: the guest of rom.S does not write there."""
    variables = tmp_path / "vars"
    variables.write_bytes(b"V" * 8192)
    assert_all_modes(machine, f"{ROM}/rom0.bin,{variables}")
    assert variables.read_bytes() == b"V" * 8192


def test_it_is_in_the_memory_map(machine, rundir, tmp_path):
    """A ROM that waits for ever: jmp . at the reset vector."""
    rom = tmp_path / "rom"
    rom.write_bytes(bytes(8192 - 16) + b"\xeb\xfe" + bytes(14))
    vm = machine("-D", "-m", "64M", "-s", "0,hostbridge", "-o", "engine=soft",
                 "-l", f"bootrom,{rom}", "vm0")

    def ctl(*arguments):
        return program("bhyvectl", "--vm=vm0", *arguments,
                       env={"VMM_RUNDIR": str(rundir)}).stdout

    while not re.search(r"0xffffe000 +0x2000 +bootrom\+0x0 +R-X",
                        ctl("--get-memmap")):
        assert vm.process.poll() is None, vm.tail()
    assert "0x000000000000fff0" in ctl("--get-rip")
    assert re.search(r"1 +0x2000 +bootrom", ctl("--get-memseg"))
    assert "bootrom+0x1ff0" in ctl("--get-gpa-pmap=0xfffffff0")
    ctl("--force-poweroff")
    assert vm.wait() == 1


@pytest.mark.parametrize("size, text", [
    (0, "ROM size 0 is invalid"),
    (100, "ROM size 100 is not a multiple of the page size"),
    ((16 << 20) + 4096, "ROM size 16781312 is invalid")])
def test_sizes(tmp_path, rundir, size, text):
    rom = tmp_path / "rom"
    with open(rom, "wb") as file:
        file.truncate(size)
    result = program("bhyve", "-o", f"rundir={rundir}", "-l",
                     f"bootrom,{rom}", "vm0")
    assert result.returncode == 4
    assert result.stderr.splitlines()[-1] == f"bhyve: {text}"
