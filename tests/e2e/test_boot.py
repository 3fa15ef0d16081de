# SPDX-License-Identifier: BSD-2-Clause
"""Debian's stock kernel boots to a shell, and ends as it is told to."""

import pathlib
import re
import signal

import pytest
from conftest import BOARD, PATIENCE, kernel

POWEROFF, REBOOT = 1, 0
CLOCK = ("echo clock=$(cat /sys/devices/system/clocksource/clocksource0/"
         "current_clocksource)")


def to_shell(machine, guest, cpus=1, options=(), cmdline=None, name="vm0",
             timeout=PATIENCE):
    """A machine that has reached the shell."""
    arguments = kernel(guest) if cmdline is None else kernel(guest, cmdline)
    vm = machine("-D", "-c", cpus, "-m", "512M", *BOARD, *options,
                 *arguments, name)
    vm.expect("GUEST-UP", timeout=timeout)
    return vm


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_shell_and_poweroff(machine, guest, cpus):
    vm = to_shell(machine, guest, cpus)
    vm.run("echo cpus=$(nproc)", f"cpus={cpus}")
    vm.run(CLOCK, "clock=tsc")
    vm.type("poweroff")
    assert vm.wait() == POWEROFF


@pytest.mark.parametrize("cmdline, command, answer", [
    ("acpi=off", "echo cpus=$(nproc)", "cpus=2"),  # by the MP table
    ("noapic", "echo xt=$(grep -c XT-PIC /proc/interrupts)", "xt=[1-9]"),
    ("nolapic", "echo cpus=$(nproc)", "cpus=1"),
    ("nox2apic", "echo cpus=$(nproc)", "cpus=2"),
    ("clocksource=hpet", CLOCK, "clock=hpet"),
    ("clocksource=acpi_pm", CLOCK, "clock=acpi_pm"),
])
def test_shell_without(machine, guest, cmdline, command, answer):
    """Kernels that are told to do without one of the room's devices."""
    vm = to_shell(machine, guest, cpus=2,
                  cmdline="console=ttyS0 panic=-1 " + cmdline)
    vm.run(command, answer)
    vm.type("reboot -f")
    assert vm.wait() == REBOOT


def test_speculation_is_not_the_kernels(machine, guest):
    """No page-table isolation on the soft engine, whatever the host's CPU."""
    vm = to_shell(machine, guest)
    vm.run("cat /sys/devices/system/cpu/vulnerabilities/meltdown",
           "Not affected")
    vm.type("reboot -f")
    assert vm.wait() == REBOOT


def test_reboot(machine, guest):
    vm = to_shell(machine, guest, options=["-o", "destroy_on_poweroff=true"])
    vm.type("reboot")
    assert vm.wait() == REBOOT


def test_power_button(machine, guest):
    """SIGTERM presses it; the guest's acpid finds it by ACPI."""
    vm = to_shell(machine, guest)
    # Who presses it before acpid listens presses it for nobody.
    vm.run("until pidof acpid; do sleep 0.1; done > /dev/null; sleep 1; "
           "echo listening-$((6 * 7))", "listening-42")
    vm.process.send_signal(signal.SIGTERM)
    vm.expect("going down")
    assert vm.wait() == POWEROFF


def test_tables(machine, guest):
    """Linux has nothing to say against the firmware's tables."""
    vm = to_shell(machine, guest, cpus=2)
    vm.run("echo com=$(cat /sys/bus/acpi/devices/PNP0501:00/path)",
           r"com=.*PC00.ISA_.COM1")
    vm.run("echo uid=$(cat /sys/bus/acpi/devices/ACPI0007:01/uid)", "uid=1")
    vm.run("echo dmi=$(cat /sys/class/dmi/id/product_name)", "dmi=BHYVE")
    vm.run("echo sci=$(grep -c 'IO-APIC *9-fasteoi *acpi' /proc/interrupts)",
           "sci=1")
    vm.type("dmesg; echo dmesg-$((6 * 7))")
    vm.expect("dmesg-42")
    text = vm.output.decode(errors="replace")
    for complaint in ("ACPI Error", "ACPI Exception", "ACPI BIOS Error",
                      "ACPI Warning", "BIOS bug", "MMCONFIG not reserved"):
        assert complaint not in text
    vm.type("poweroff")
    assert vm.wait() == POWEROFF


@pytest.mark.parametrize("cpus", [1, 2])
def test_translator_verified(machine, guest, cpus):
    """What the translator runs is run by the interpreter, too.

    So slowly that Linux would find its timer ticks too far apart.
    """
    vm = to_shell(machine, guest, cpus, options=["-o", "soft.jit=verify"],
                  cmdline="console=ttyS0 panic=-1 no_timer_check",
                  timeout=3 * PATIENCE)
    vm.run("echo cpus=$(nproc)", f"cpus={cpus}")
    vm.type("poweroff")
    assert vm.wait() == POWEROFF


def test_small_translator(machine, guest):
    """All code is translated at once, into too little room, and told perf."""
    vm = to_shell(machine, guest, cpus=2, options=[
        "-o", "soft.jit.cache=4", "-o", "soft.jit.hot=1",
        "-o", "soft.jit.perfmap=on"])
    vm.run("echo cpus=$(nproc)", "cpus=2")
    vm.type("poweroff")
    assert vm.wait() == POWEROFF
    perfmap = pathlib.Path(f"/tmp/perf-{vm.process.pid}.map")
    lines = perfmap.read_text().splitlines()
    perfmap.unlink()
    assert len(lines) > 10000
    assert all(re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ guest_[0-9a-f]+", line)
               for line in lines)
    assert any(" guest_ffffffff" in line for line in lines)
