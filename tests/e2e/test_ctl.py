# SPDX-License-Identifier: BSD-2-Clause
"""bhyvectl on a VM that runs, on one that lies there, and on none."""

import json
import re

import pytest
from conftest import BOARD, BUILD, kernel, program

KERNEL = BUILD / "tests/boot/multiboot64.kernel"


@pytest.fixture
def ctl(rundir):
    def call(*arguments, name="vm0"):
        return program("bhyvectl", f"--rundir={rundir}", f"--vm={name}",
                       *arguments)
    return call


def good(result):
    assert result.returncode == 0, result.stderr + result.stdout
    assert result.stderr == ""
    return result.stdout


def refused(result, text, status=1):
    assert result.returncode == status, result.stderr + result.stdout
    assert result.stderr.count("\n") == 1 and text in result.stderr
    return result


@pytest.fixture
def lying(rundir, ctl):
    """A VM of 64 MiB that nobody runs, its CPU before the first instruction
    of a small kernel that powers off."""
    result = program("bhyveload", "-o", f"rundir={rundir}", "-m", "64M", "-k",
                     KERNEL, "vm0")
    assert result.returncode == 0, result.stderr
    yield
    ctl("--destroy")


def value(ctl, name, *more):
    found = re.search(r"\[\d+\]\s+0x([0-9a-f]+)", good(ctl(f"--get-{name}",
                                                           *more)))
    return int(found.group(1), 16)


def test_registers(lying, ctl):
    for name in ("rax", "rdx", "r15", "rsp", "rip", "cr2", "dr0", "dr3",
                 "cr3"):
        good(ctl(f"--set-{name}=0x123000"))
        assert value(ctl, name) == 0x123000, name
    # One command does both, in the order that makes sense.
    out = good(ctl("--get-rbx", "--set-rbx=077"))
    assert re.fullmatch(r"rbx\[0\]\t\t0x000000000000003f\n", out)
    refused(ctl("--set-rax=1x"), "1x", 64)
    refused(ctl("--set-rax="), "rax", 64)
    refused(ctl("--set-rax=0x10000000000000000"), "rax", 64)
    refused(ctl("--get-rax", "--cpu=99"), "cpu", 64)


def test_segments(lying, ctl):
    assert value(ctl, "cs") == 0x10
    assert (good(ctl("--get-desc-cs")) ==
            "cs desc[0]\t0x0000000000000000/0xffffffff/0x0000c09b\n")
    good(ctl("--set-desc-fs", "--desc-base=0x1000", "--desc-limit=0xff",
             "--desc-access=0xc093"))
    assert "0x0000000000001000/0x000000ff/0x0000c093" in good(
        ctl("--get-desc-fs"))
    # What is not given stays.
    good(ctl("--set-desc-fs", "--desc-base=0x2000"))
    assert "0x0000000000002000/0x000000ff/0x0000c093" in good(
        ctl("--get-desc-fs"))
    good(ctl("--set-desc-gdtr", "--desc-base=0x5000", "--desc-limit=0x17"))
    assert (good(ctl("--get-desc-gdtr")) ==
            "gdtr[0]\t\t0x0000000000005000/0x00000017\n")
    refused(ctl("--set-desc-fs", "--desc-limit=0x100000000"), "desc-limit", 64)


def test_memory(lying, ctl):
    assert good(ctl("--get-lowmem")).split() == [
        "lowmem", f"0x{0:016x}/{64 << 20}"]
    assert re.search(r"0x0 +0x4000000 +sysmem\+0x0 +RWX",
                     good(ctl("--get-memmap")))
    assert re.search(r"0 +0x4000000 +sysmem", good(ctl("--get-memseg")))
    assert good(ctl("--get-gpa-pmap=0x1234")) == "gpa 0x1234: sysmem+0x1234\n"
    assert good(ctl("--get-gpa-pmap=0x4000000")) == \
        "gpa 0x4000000: not mapped\n"
    refused(ctl("--get-gpa-pmap=here"), "here", 64)


def test_set_mem(ctl):
    assert ctl("--create", "--set-mem=32", name="m").returncode == 0
    assert f"/{32 << 20}" in good(ctl("--get-lowmem", name="m"))
    refused(ctl("--set-mem=x", name="m"), "x", 64)
    larger = ctl("--set-mem=64", name="m")
    assert larger.returncode == 1 and "32 MB" in larger.stderr
    good(ctl("--destroy", name="m"))


def test_capabilities(lying, ctl):
    assert good(ctl("--capname=hlt_exit", "--getcap")) == \
        'Capability "hlt_exit" is not set on vcpu 0\n'
    good(ctl("--capname=hlt_exit", "--setcap=1"))
    assert good(ctl("--capname=hlt_exit", "--getcap")) == \
        'Capability "hlt_exit" is set on vcpu 0\n'
    every = good(ctl("--getcap", "--cpu=1"))
    assert 'Capability "unrestricted_guest" is set on vcpu 1\n' in every
    refused(ctl("--capname=none", "--getcap"), "none", 64)
    refused(ctl("--setcap=1"), "--capname", 64)
    refused(ctl("--capname=hlt_exit", "--setcap=2"), "setcap", 64)
    failed = ctl("--capname=unrestricted_guest", "--setcap=0")
    assert failed.returncode == 1 and "errno = 22" in failed.stdout


def test_clock(lying, ctl):
    good(ctl("--set-rtc-time=1000000000"))
    assert good(ctl("--get-rtc-time")) == \
        "rtc time 0x3b9aca00: Sun Sep 09 01:46:40 2001\n"
    good(ctl("--set-rtc-nvram=0x5a", "--rtc-nvram-offset=0x40"))
    assert good(ctl("--get-rtc-nvram", "--rtc-nvram-offset=64")) == \
        "rtc nvram[064]: 0x5a\n"
    refused(ctl("--get-rtc-nvram"), "rtc-nvram-offset", 64)
    refused(ctl("--get-rtc-nvram", "--rtc-nvram-offset=128"), "128", 64)


def test_state_of_a_vcpu(lying, ctl):
    good(ctl("--set-x2apic-state=1"))
    assert good(ctl("--get-x2apic-state")) == "x2apic_state[0]\tenabled\n"
    assert good(ctl("--get-intinfo")) == "pending:\tn/a\ncurrent:\tn/a\n"
    assert value(ctl, "guest-pat") == 0x0007040600070406
    assert "guest_sysenter_ip[0]\t0x0" in good(ctl("--get-guest-sysenter"))
    value(ctl, "tsc-offset")
    good(ctl("--assert-lapic-lvt=1"))
    refused(ctl("--assert-lapic-lvt=6"), "6", 64)
    assert good(ctl("--get-active-cpus")) == "active cpus:\t (none)\n"
    assert good(ctl("--get-debug-cpus")) == "debug cpus:\t (none)\n"
    assert good(ctl("--get-suspended-cpus")) == "suspended cpus:\t (none)\n"


def test_run(lying, ctl):
    """The kernel's first exit is its look at the serial port."""
    out = good(ctl("--run"))
    assert "vm exit[0]\n" in out
    assert re.search(r"reason\s+INOUT\n", out)
    assert re.search(r"port\s+0x03fd\n", out)
    assert "direction\tin\n" in out
    # It has been left where it was, with what it has done.
    assert value(ctl, "rip") == int(
        re.search(r"rip\s+0x([0-9a-f]+)", out).group(1), 16)
    assert good(ctl("--get-active-cpus")) == "active cpus:\t 0\n"


def test_all(lying, ctl):
    out = good(ctl("--get-all"))
    for line in (r"rax\[0\]", r"cs desc\[0\]", r"lowmem\t", "Address",
                 "rtc time", "cpu_topology:", "vcpu0 stats:", "tsc_offset"):
        assert re.search(line, out), line


def test_refused_by_name(lying, ctl):
    for option, why in (("--get-vmcs-vpid", "VMCS"), ("--get-eptp", "nested"),
                        ("--get-vmcb-asid", "VMCB"),
                        ("--set-vmcs-exception-bitmap=1", "VMCS"),
                        ("--get-msr-bitmap", "bitmaps"),
                        ("--unassign-pptdev=1/2/3", "passthrough"),
                        ("--checkpoint=f", "snapshots"),
                        ("--suspend=f", "snapshots")):
        result = refused(ctl(option), why)
        assert option.split("=")[0] + ":" in result.stderr
        assert "errno = 95" in result.stdout


def test_usage(ctl):
    bare = program("bhyvectl")
    assert bare.returncode == 1 and bare.stdout == ""
    # vm-bhyve looks for this.
    assert "--suspend=" in bare.stderr
    assert "vmcs" not in bare.stderr
    assert program("bhyvectl", "--vm=x", "--nonsense").returncode == 1
    assert program("bhyvectl", "--vm=x", "operand").returncode == 1
    refused(ctl("--create", "--destroy"), "exclude", 64)
    refused(ctl("--force-reset", "--force-poweroff"), "exclude", 64)
    gone = ctl("--get-rip", name="none")
    assert gone.returncode == 1 and "errno = 2\n" in gone.stdout


def test_running(machine, guest, ctl):
    vm = machine("-D", "-c", "2,sockets=1,cores=2", "-m", "512M", *BOARD,
                 *kernel(guest), "vm0")
    vm.expect("GUEST-UP")
    assert good(ctl("--get-cpu-topology")) == \
        "cpu_topology:\tsockets=1, cores=2, threads=1, maxcpus=16\n"
    assert good(ctl("--get-active-cpus")) == "active cpus:\t 0, 1\n"
    text = good(ctl("--get-stats"))
    assert text.startswith("vcpu0 stats:\n") and "Resident memory" in text
    assert good(ctl("--get-stats", "--cpu=1")).startswith("vcpu1 stats:\n")
    parsed = json.loads(good(ctl("--get-stats", "--json", "--cpu=1")))
    assert parsed["vm"] == "vm0" and parsed["vcpu"] == 1
    assert parsed["stats"]["instructions retired"] > 100_000
    assert {line.rsplit(None, 1)[0].strip()
            for line in text.splitlines()[1:]} == set(parsed["stats"])
    # 64-bit Linux: paging on, LMA set, a kernel or user address.
    assert value(ctl, "cr0") & 0x80000001 == 0x80000001
    assert value(ctl, "efer") & 0x500 == 0x500
    # __KERNEL_CS, where Linux lets 32-bit programs enter.
    assert "guest_sysenter_cs[1]\t0x0000000000000010\n" in good(
        ctl("--get-guest-sysenter", "--cpu=1"))

    good(ctl("--pause"))
    assert good(ctl("--get-debug-cpus")) == "debug cpus:\t 0, 1\n"
    before = value(ctl, "rip", "--cpu=0")
    assert value(ctl, "rip", "--cpu=0") == before
    good(ctl("--resume"))
    assert good(ctl("--get-debug-cpus")) == "debug cpus:\t (none)\n"
    vm.run("echo still $((40 + 2))", "still 42")
    # One that runs cannot be run here.
    busy = ctl("--run")
    assert busy.returncode == 1 and "running" in busy.stderr
    good(ctl("--force-poweroff"))
    assert vm.wait() == 1
