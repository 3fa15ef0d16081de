# SPDX-License-Identifier: BSD-2-Clause
"""VMs are started, looked at, steered and stopped by bhyvectl, again and
again, each vCPU pinned: no wake-up is lost, nothing hangs. STORM_LIVES is how
many VMs for each engine and each way of running vCPUs. Several vCPUs that
work together under such a storm: tests/guest/storm.c."""

import os
import random
import re
import time

import pytest
from conftest import BUILD, PATIENCE, program

LIVES = int(os.environ.get("STORM_LIVES", "8"))
CPUS = 3
REBOOT, POWEROFF = 0, 1


def engine_reason(name):
    """Why bhyve cannot run with this engine here, or None."""
    for line in program("bhyve", "-o", "engine=help").stdout.splitlines():
        if line.startswith(name + "\t"):
            return None if "\tusable" in line else line
    return f"{name}: no such engine"


def allowed(pid):
    """The host CPUs of each vCPU's thread that has its name."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as comm:
            match = re.fullmatch(r"vcpu (\d+)\n", comm.read())
        if match:
            found[int(match.group(1))] = os.sched_getaffinity(int(task))
    return found


def one_life(machine, rundir, name, seed, options, pins):
    chance = random.Random(seed)
    vm = machine("-D", "-c", CPUS, "-m", "32M", "-s", "0,hostbridge",
                 "-s", "31,lpc", "-l", "com1,stdio", *options,
                 "-o", f"boot.kernel={BUILD}/tests/e2e/beat.elf", name)

    def ctl(*arguments):
        result = program("bhyvectl", f"--rundir={rundir}", f"--vm={name}",
                         *arguments)
        assert result.returncode == 0, (seed, arguments, result.stderr)

    vm.expect(r"\.")
    # Which is done beside it, when a thread runs already.
    deadline = time.monotonic() + PATIENCE
    while pins and allowed(vm.process.pid) != pins:
        assert time.monotonic() < deadline, allowed(vm.process.pid)
    for _ in range(chance.randrange(1, 6)):
        cpu = f"--cpu={chance.randrange(CPUS)}"
        verb = chance.choice(["nmi", "pause", "pause all", "look", "stats"])
        if verb == "nmi":
            ctl("--inject-nmi", "--cpu=0")
        elif verb == "pause":
            ctl("--pause", cpu)
            ctl("--get-rip", "--get-cr3", cpu)
            ctl("--resume", cpu)
        elif verb == "pause all":
            ctl("--pause")
            ctl("--resume")
        elif verb == "look":
            ctl("--get-all", cpu)
        else:
            ctl("--get-stats", cpu)
    vm.seen = len(vm.output)
    vm.expect(r"\.")  # its heart still beats
    how = chance.choice([REBOOT, POWEROFF])
    ctl("--force-reset" if how == REBOOT else "--force-poweroff")
    assert vm.wait() == how, seed
    vm.kill()
    if how == REBOOT:
        ctl("--destroy")


@pytest.mark.parametrize("engine", ["soft", "kvm"])
@pytest.mark.parametrize("mux", ["false", "true"])
def test_lives(machine, rundir, engine, mux):
    reason = engine_reason(engine)
    if reason is not None:
        pytest.skip(reason)
    host = sorted(os.sched_getaffinity(0))
    pins = {cpu: {host[cpu % len(host)]} for cpu in range(CPUS)}
    options = ["-o", f"engine={engine}", "-o", f"vcpu.mux={mux}"]
    for cpu, to in pins.items():
        options += ["-p", f"{cpu}:{min(to)}"]
    for life in range(LIVES):
        one_life(machine, rundir, f"life{life}", life, options,
                 pins if mux == "false" else None)
