# SPDX-License-Identifier: BSD-2-Clause
"""Debian's 32-bit kernel, with PAE, and a 32-bit busybox."""

import os
import subprocess

import pytest
from conftest import BOARD, GUEST, ROOT, kernel


@pytest.fixture(scope="module")
def i386():
    """Its folder, with vmlinuz and initrd."""
    folder = GUEST / "i386"
    made = subprocess.run([ROOT / "tools/fetch-kernel.sh", folder,
                           "linux-image-686-pae", "i386"],
                          capture_output=True, text=True, check=False)
    if made.returncode == 0 and not (folder / "initrd").exists():
        made = subprocess.run(
            [ROOT / "tools/mkinitrd.sh", folder / "initrd", folder],
            capture_output=True, text=True, check=False,
            env=dict(os.environ, BUSYBOX=str(folder / "busybox")))
    if made.returncode != 0:
        pytest.skip("no 32-bit kernel: " + made.stderr.strip()[-200:])
    return folder


@pytest.mark.parametrize("cpus", [1, 2])
def test_shell_and_poweroff(machine, i386, cpus):
    vm = machine("-D", "-c", cpus, "-m", "512M", *BOARD,
                 *kernel(i386, "console=ttyS0 panic=-1"), "vm0")
    vm.expect("GUEST-UP")
    vm.run("uname -rm", r"686-pae i686")
    vm.run("echo cpus=$(nproc)", f"cpus={cpus}")
    vm.type("poweroff")
    assert vm.wait() == 1
