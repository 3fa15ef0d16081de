# SPDX-License-Identifier: BSD-2-Clause
"""bhyveload, bhyve, bhyvectl: a VM's life in bhyve's two steps."""

import re
import time

import pytest
from conftest import BOARD, kernel, program


@pytest.fixture
def ctl(rundir):
    def call(*arguments, name="vm0"):
        return program("bhyvectl", f"--rundir={rundir}", f"--vm={name}",
                       *arguments)
    return call


@pytest.fixture
def loaded(rundir, guest, ctl):
    result = program("bhyveload", "-o", f"rundir={rundir}", "-m", "512M",
                     "-k", guest / "vmlinuz", "-i", guest / "initrd",
                     "-a", "console=ttyS0 panic=-1", "vm0")
    assert result.returncode == 0, result.stderr
    yield
    ctl("--destroy")


def test_two_steps(loaded, machine, ctl, rundir):
    before = ctl("--get-rip", "--cpu=0")
    assert re.search(r"rip\[0\]\s+0x0*[1-9a-f]", before.stdout), before.stdout
    vm = machine("-c", 2, "-m", "512M", *BOARD, "vm0")
    vm.expect("GUEST-UP")

    # Another process looks, and may not run it.
    second = program("bhyve", "-o", f"rundir={rundir}", "-c", 2, "-m", "512M",
                     *BOARD, "vm0")
    assert second.returncode == 4
    assert "vm0" in second.stderr and "running" in second.stderr
    every = ctl("--get-all")
    assert every.returncode == 0, every.stderr
    for name in ("rax", "cr3", "rflags", "cs", "gdtr"):
        assert re.search(name + r"\b.*0x", every.stdout), name
    one = ctl("--get-rip", "--cpu=1")
    assert re.search(r"rip\[1\]\s+0x[0-9a-f]+", one.stdout)
    stats = ctl("--get-stats")
    assert "Resident memory" in stats.stdout
    count = re.search(r"instructions retired\s+(\d+)", stats.stdout)
    assert int(count.group(1)) > 1_000_000
    assert "0, 1" in ctl("--get-active-cpus").stdout.replace(",", ",")

    # NMI: Linux says what it thinks of it.
    vm.type("echo 8 > /proc/sys/kernel/printk")
    vm.expect("printk")
    assert ctl("--inject-nmi", "--cpu=0").returncode == 0
    vm.expect("NMI")
    assert ctl("--force-poweroff").returncode == 0
    assert vm.wait() == 1
    assert ctl("--destroy").returncode == 0
    assert not (rundir / "vm0").exists()


def test_force_reset(machine, guest, ctl):
    vm = machine("-c", 1, "-m", "512M", *BOARD, *kernel(guest), "vm0")
    vm.expect("Linux version")
    assert ctl("--force-reset").returncode == 0
    assert vm.wait() == 0
    assert ctl("--destroy").returncode == 0


def test_create_and_destroy(ctl, rundir):
    assert ctl("--create", name="x").returncode == 0
    again = ctl("--create", name="x")
    assert again.returncode != 0 and "x" in again.stderr
    assert (rundir / "x").is_dir()
    assert ctl("--destroy", name="x").returncode == 0
    gone = ctl("--get-rip", name="x")
    assert gone.returncode != 0 and "x" in gone.stderr
    assert "errno = " in gone.stdout + gone.stderr


def test_destroy_while_running(machine, guest, ctl, rundir):
    vm = machine("-c", 2, "-m", "512M", *BOARD, *kernel(guest), "vm0")
    vm.expect("Linux version")
    assert ctl("--destroy").returncode == 0
    vm.wait()
    assert not (rundir / "vm0").exists()


def test_killed_vm_is_crashed(machine, guest, ctl, rundir):
    vm = machine("-c", 1, "-m", "512M", *BOARD, *kernel(guest), "vm0")
    vm.expect("Linux version")
    vm.kill()
    looked = ctl("--get-rip", "--cpu=0")
    assert looked.returncode == 0, looked.stderr
    second = program("bhyve", "-o", f"rundir={rundir}", "-m", "512M", *BOARD,
                     "vm0")
    assert second.returncode == 4 and "crashed" in second.stderr
    assert ctl("--destroy").returncode == 0


def test_halted_guest_costs_nothing(machine, guest):
    vm = machine("-D", "-c", 2, "-m", "512M", *BOARD, *kernel(guest), "vm0")
    vm.expect("GUEST-UP")
    time.sleep(3)

    def ticks():
        with open(f"/proc/{vm.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    start = ticks()
    time.sleep(5)
    # Ticks are 10 ms: a busy vCPU would use 500. Not a claim of speed: the
    # bound tells sleeping from spinning.
    assert ticks() - start < 250
    vm.type("poweroff")
    assert vm.wait() == 1


def test_triple_fault_status(machine, guest):
    vm = machine("-D", "-c", 1, "-m", "512M", *BOARD,
                 *kernel(guest, "console=ttyS0 panic=-1 reboot=triple"), "vm0")
    vm.expect("GUEST-UP")
    vm.type("reboot -f")
    assert vm.wait() == 3
