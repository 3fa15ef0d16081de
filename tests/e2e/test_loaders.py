# SPDX-License-Identifier: BSD-2-Clause
"""Linux by the ways into it that are not the usual one. tests/boot has small
kernels for the same loaders."""

import subprocess

import pytest
from conftest import BOARD, GUEST, ROOT, kernel, program


@pytest.fixture(scope="module")
def cloud_vmlinux(guest):
    """The ELF kernel of Debian's cloud flavour, which has a PVH note."""
    folder = GUEST / "cloud"
    if not (folder / "vmlinux").exists():
        made = subprocess.run([ROOT / "tools/fetch-kernel.sh", folder,
                               "linux-image-cloud-amd64"],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0 or not (folder / "vmlinux").exists():
            pytest.skip("no cloud kernel: " + made.stderr.strip()[-200:])
    return folder / "vmlinux"


@pytest.mark.parametrize("cpus", [1, 2])
def test_linux_by_pvh(machine, guest, cloud_vmlinux, cpus):
    vm = machine("-D", "-c", cpus, "-m", "512M", *BOARD,
                 *kernel(guest, "console=ttyS0 panic=-1 mark=pvh",
                         kernel=cloud_vmlinux), "vm0")
    vm.expect("Linux version .*cloud")
    vm.expect("Command line: console=ttyS0 panic=-1 mark=pvh")
    vm.expect("GUEST-UP")
    # What Linux sets at its PVH entry (0xb0); our own would be 255.
    vm.run("cat /proc/sys/kernel/bootloader_type", r"\n176\r")
    vm.run("nproc", rf"\n{cpus}\r")
    vm.type("poweroff")
    assert vm.wait() == 1


def test_linux_takes_no_modules(guest, rundir):
    result = program("bhyveload", "-o", f"rundir={rundir}", "-k",
                     guest / "vmlinuz", "-o", f"boot.module.0={guest}/initrd",
                     "vm0")
    assert result.returncode == 4
    assert "boot.module" in result.stderr
    assert result.stderr.count("\n") == 1
