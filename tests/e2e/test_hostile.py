# SPDX-License-Identifier: BSD-2-Clause
"""A guest that means harm (programs/hostile.c): random values to every port,
MSR, PCI register, device register, descriptor table and virtqueue. bhyve lives
on, goes on running it, and ends when it is told to.

HOSTILE_STEPS is how many steps to take in all, 0 for no end; HOSTILE_SEED
where to start. A failure names its seed.
"""

import itertools
import os
import pathlib

from conftest import BUILD, PATIENCE, program

STEPS = int(os.environ.get("HOSTILE_STEPS", "1000000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
STEPS_A_SEED = 1_000_000
REPORT_STEPS = 100_000
POWEROFF = 1
# What a guest may do to itself: reset, power off, halt, triple fault.
GUESTS_OWN = (0, 1, 2, 3)


def options(disk, seed):
    # Every second one has two CPUs.
    return ["-c", 1 + seed % 2, "-m", "64M", "-s", "0,hostbridge", "-s", f"2,virtio-blk,{disk}",
            "-s", "3,virtio-rnd", "-s", "4,uart", "-s", "31,lpc",
            "-l", "com2,stdio", "-l", "pc-testdev", "-o", "lpc.com1.none=1",
            "-o", f"boot.kernel={BUILD}/tests/e2e/hostile.elf",
            "-o", f"boot.cmdline=seed={seed}"]


def run(machine, rundir, disk, seed, steps):
    """One VM. How many steps it took before its guest ended itself."""
    vm = machine("-D", *options(disk, seed), f"seed{seed}")
    done = 0
    try:
        while done < steps:
            done = int(vm.expect(rb"(\d+)\r?\n".decode(), PATIENCE).group(1))
    except AssertionError:
        # Its output has ended; a sanitizer looks for leaks before it does.
        if vm.process.wait(PATIENCE) not in GUESTS_OWN:
            raise AssertionError(
                f"seed {seed}, after {done} steps:\n{vm.tail()}") from None
        return done
    end = program("bhyvectl", f"--vm=seed{seed}", "--force-poweroff",
                  env=dict(os.environ, VMM_RUNDIR=str(rundir)))
    assert end.returncode == 0, f"seed {seed}: {end.stderr}"
    assert vm.wait() == POWEROFF, f"seed {seed}"
    return done


def test_random_guest(machine, rundir, tmp_path):
    disk = pathlib.Path(tmp_path / "disk")
    disk.write_bytes(bytes(1 << 20))
    done, early, steps = 0, 0, 0
    for seed in itertools.count(SEED):
        if STEPS != 0 and done >= STEPS:
            break
        wanted = min(STEPS - done, STEPS_A_SEED) if STEPS else STEPS_A_SEED
        took = run(machine, rundir, disk, seed, wanted)
        early += took < wanted
        steps += took
        done += max(took, REPORT_STEPS // 10)
        print(f"seed {seed}: {took} steps, {done} in all", flush=True)
    print(f"# count: {steps} steps of a hostile guest, seeds {SEED} to {seed - 1}")
    assert disk.stat().st_size == 1 << 20
    # It is written so that it does not end itself; else it tests little.
    assert early <= 1 + done // STEPS_A_SEED // 4
