# SPDX-License-Identifier: BSD-2-Clause
"""Debian's stock kernel boots to a shell, and ends as it is told to."""

import pytest
from conftest import BOARD, kernel

POWEROFF, REBOOT = 1, 0


def to_shell(machine, guest, cpus=1, options=(), cmdline=None, name="vm0"):
    """A machine that has reached the shell."""
    arguments = kernel(guest) if cmdline is None else kernel(guest, cmdline)
    vm = machine("-D", "-c", cpus, "-m", "512M", *BOARD, *options,
                 *arguments, name)
    vm.expect("GUEST-UP")
    return vm


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_shell_and_poweroff(machine, guest, cpus):
    vm = to_shell(machine, guest, cpus)
    vm.run("echo cpus=$(nproc)", f"cpus={cpus}")
    vm.run("echo clock=$(cat /sys/devices/system/clocksource/"
           "clocksource0/current_clocksource)", "clock=tsc")
    vm.type("poweroff")
    assert vm.wait() == POWEROFF


def test_reboot(machine, guest):
    vm = to_shell(machine, guest, options=["-o", "destroy_on_poweroff=true"])
    vm.type("reboot")
    assert vm.wait() == REBOOT
