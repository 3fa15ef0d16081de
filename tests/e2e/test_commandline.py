# SPDX-License-Identifier: BSD-2-Clause
"""Command lines as libvirt, vm-bhyve and CBSD build them, and what they look
for in what bhyve says. config.dump shows what an option has become."""

import re

import pytest
from conftest import BOARD, kernel, program

USAGE, MALFORMED, ERROR = 1, 64, 4
UUID = "00112233-4455-6677-8899-aabbccddeeff"


def variables(*arguments):
    """What a command line sets, as a dictionary."""
    result = program("bhyve", "-o", "config.dump=true", *arguments)
    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    found = dict(line.split("=", 1) for line in result.stdout.splitlines())
    del found["config.dump"]
    return found


def test_libvirt():
    assert variables(
        "-c", "cpus=2,sockets=1,cores=2,threads=1", "-p", "0:1", "-p", "0:3",
        "-p", "1:2", "-m", "214", "-w", "-S", "-A", "-I", "-u", "-H", "-P",
        "-s", "0:0,hostbridge", "-s", "1:0,lpc",
        "-s", "2:0,virtio-blk,/tmp/a.img,bootindex=1",
        "-s", "3:0,virtio-blk,/tmp/b.img,ro,ser=X1", "-s", "5:0,virtio-rnd",
        "-l", "com1,/dev/pts/7", "-l", "com2,tcp=127.0.0.1:12345",
        "-o", "bios.vendor=Test Corp", "-o", "system.sku=1", "bhyve") == {
            "cpus": "2", "sockets": "1", "cores": "2", "threads": "1",
            "vcpu.0.cpuset": "1,3", "vcpu.1.cpuset": "2",
            "memory.size": "214", "x86.strictmsr": "false",
            "memory.wired": "true", "rtc.use_localtime": "false",
            "x86.vmexit_on_hlt": "true", "x86.vmexit_on_pause": "true",
            "pci.0.0.0.device": "hostbridge", "pci.0.1.0.device": "lpc",
            "pci.0.2.0.device": "virtio-blk", "pci.0.2.0.path": "/tmp/a.img",
            "pci.0.2.0.bootindex": "1",
            "pci.0.3.0.device": "virtio-blk", "pci.0.3.0.path": "/tmp/b.img",
            "pci.0.3.0.ro": "true", "pci.0.3.0.ser": "X1",
            "pci.0.5.0.device": "virtio-rnd",
            "lpc.com1.path": "/dev/pts/7", "lpc.com2.tcp": "127.0.0.1:12345",
            "bios.vendor": "Test Corp", "system.sku": "1", "name": "bhyve"}


def test_vm_bhyve():
    assert variables(
        "-c", "1", "-m", "512M", "-AHP", "-U", UUID, "-u", "-S", "-Y",
        "-s", "0,amd_hostbridge", "-s", "31,lpc",
        "-s", "1:4:7,virtio-blk,/vm/disk0.img", "-s", "0:6:0,virtio-rnd",
        "-l", "com1,stdio", "guest.one") == {
            "cpus": "1", "memory.size": "512M", "x86.vmexit_on_hlt": "true",
            "x86.vmexit_on_pause": "true", "uuid": UUID,
            "rtc.use_localtime": "false", "memory.wired": "true",
            "x86.mptable": "false", "pci.0.0.0.device": "amd_hostbridge",
            "pci.0.31.0.device": "lpc", "pci.1.4.7.device": "virtio-blk",
            "pci.1.4.7.path": "/vm/disk0.img",
            "pci.0.6.0.device": "virtio-rnd", "lpc.com1.path": "stdio",
            "name": "guest.one"}


def test_cbsd():
    found = variables("-c", "4,sockets=2,cores=2", "-m", "1g", "-H", "-A",
                      "-S", "-u", "-W", "-x", "-Y", "-w", "-e", "-C", "-D",
                      "-U", UUID, "-s", "0:0,hostbridge", "-s", "1:0,lpc",
                      "jail1")
    assert found["virtio_msix"] == "false"
    assert found["x86.x2apic"] == "true"
    assert found["x86.strictio"] == "true"
    assert found["destroy_on_poweroff"] == "true"
    assert found["memory.guest_in_core"] == "true"
    assert (found["cpus"], found["sockets"], found["cores"]) == ("4", "2", "2")


def test_the_last_one_wins(tmp_path):
    file = tmp_path / "vm.conf"
    file.write_text("# one\nname=from-file\ncpus=3\n\nmemory.size=1G\n")
    found = variables("-c", "7", "-k", file, "-m", "2G", "-x", "-a")
    assert found["name"] == "from-file"
    assert found["cpus"] == "3"
    assert found["memory.size"] == "2G"
    assert found["x86.x2apic"] == "false"
    assert variables("-c", "", "x")["cpus"] == "1"


def test_help_is_on_stderr():
    result = program("bhyve", "-h")
    assert result.returncode == 0 and result.stdout == ""
    # libvirt: an RTC that keeps UTC, a topology.
    assert "-u:" in result.stderr
    assert "-c vcpus" not in result.stderr
    # Every option of bhyve's own getopt string.
    for letter in "aehuwxACDHIMNPSWYkfopGcsmnlKUr":
        assert f"       -{letter}:" in result.stderr, letter


@pytest.mark.parametrize("device", [
    "nonsense", "ahci", "ahci-hd", "e1000", "virtio-net", "nvme", "xhci",
    "fbuf", "hda", "virtio-9p", "virtio-scsi", "passthru", "virtio-console"])
def test_probing_for_a_device(device):
    known = program("bhyve", "-s", "help").stdout.split()
    result = program("bhyve", "-s", f"0,{device}")
    text = f'pci slot 0:0:0: unknown device "{device}"'
    assert (text in result.stderr) == (device not in known)
    assert result.returncode != 0


@pytest.mark.parametrize("device", ["bootrom", "tpm", "com5", "nonsense"])
def test_probing_for_an_lpc_device(device):
    known = program("bhyve", "-l", "help").stdout.split()
    result = program("bhyve", "-l", device)
    text = f"bhyve: invalid lpc device configuration '{device}'"
    assert (text in result.stderr) == (device not in known)
    assert result.returncode != 0


@pytest.mark.parametrize("option, argument", [
    ("-f", "name=a,string=b"), ("-G", "w1234"), ("-K", "de"), ("-M", None),
    ("-N", None), ("-n", "id=0,size=1G,cpus=0"), ("-r", "file"), ("-R", "h,1"),
    ("-B", "1,a=b"), ("-d", None)])
def test_accepted_or_refused_by_name(option, argument):
    """An option that is shown as not built is refused; others are not."""
    usage = program("bhyve", "-h").stderr
    line = re.search(rf"^ +{option}: (.*)$", usage, re.M)
    arguments = [option] + ([argument] if argument else [])
    result = program("bhyve", *arguments, "-o", "config.dump=true", "x")
    if line is None:
        assert result.returncode == USAGE
        assert f"no option {option}" in result.stderr
    elif "not built" in line.group(1):
        assert result.returncode == ERROR
        assert result.stderr.startswith(f"bhyve: {option}: ")
        assert result.stderr.count("\n") == 1
    else:
        assert "not built" not in result.stderr


def test_already_occupied():
    result = program("bhyve", "-s", "3,hostbridge", "-s", "3:0,lpc", "x")
    assert "pci slot 0:3:0 already occupied!" in result.stderr


def test_title(machine, guest):
    """vm-bhyve finds a VM by pgrep -fx "bhyve: NAME"."""
    vm = machine("-D", "-m", "256M", *BOARD, *kernel(guest), "vm0")
    vm.expect("Linux version")
    with open(f"/proc/{vm.process.pid}/cmdline", "rb") as file:
        assert file.read().rstrip(b"\0") == b"bhyve: vm0"
