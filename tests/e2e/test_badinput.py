# SPDX-License-Identifier: BSD-2-Clause
"""Bad input: one line that names the thing and the cause, the right status,
and nothing left behind (the rundir fixture looks)."""

import os
import pathlib
import re
import subprocess

import pytest
from conftest import BOARD, BUILD, program

USAGE, MALFORMED, ERROR = 1, 64, 4


def bhyve(rundir, *arguments):
    return program("bhyve", "-o", f"rundir={rundir}", *arguments)


def one_line(result):
    """The error line, without the note which engine was chosen."""
    lines = [line for line in result.stderr.splitlines()
             if line.strip() and not re.search(r": engine \w+ \(", line)]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"this is no kernel\n" * 100)
    (tmp_path / "elf").write_bytes(pathlib.Path("/bin/busybox").read_bytes())
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 2 << 30)
    return tmp_path


@pytest.mark.parametrize("name", ["empty", "text", "elf", "missing"])
def test_kernel_that_is_none(rundir, files, name):
    result = bhyve(rundir, "-m", "128M", *BOARD,
                   "-o", f"boot.kernel={files / name}", "vm0")
    assert result.returncode == ERROR
    assert name in one_line(result)


def test_truncated_kernel(rundir, guest, files):
    whole = (guest / "vmlinuz").read_bytes()
    # setup_sects and syssize say where the kernel ends; a signature follows.
    end = ((whole[0x1f1] or 4) + 1) * 512 + 16 * int.from_bytes(
        whole[0x1f4:0x1f8], "little")
    for size in (100, 600, 4096, 20000, end // 2, end - 64):
        (files / "cut").write_bytes(whole[:size])
        result = bhyve(rundir, "-m", "128M", *BOARD,
                       "-o", f"boot.kernel={files / 'cut'}", "vm0")
        assert result.returncode == ERROR, size
        assert "cut" in one_line(result), size


def test_initrd_larger_than_memory(rundir, guest, files):
    result = bhyve(rundir, "-m", "256M", *BOARD,
                   "-o", f"boot.kernel={guest / 'vmlinuz'}",
                   "-o", f"boot.initrd={files / 'big'}", "vm0")
    assert result.returncode == ERROR
    assert "big" in one_line(result)


def test_kernel_larger_than_memory(rundir, guest):
    result = bhyve(rundir, "-m", "16M", *BOARD,
                   "-o", f"boot.kernel={guest / 'vmlinuz'}", "vm0")
    assert result.returncode == ERROR
    assert "vmlinuz" in one_line(result)


@pytest.mark.parametrize("size, status", [
    ("0", None), ("12x", None), ("-1", None), ("", None),
    ("1048577", ERROR), ("900000G", ERROR)])
def test_memory_size(rundir, guest, size, status):
    result = bhyve(rundir, "-m", size, *BOARD,
                   "-o", f"boot.kernel={guest / 'vmlinuz'}", "vm0")
    assert result.returncode in ([status] if status else [MALFORMED, ERROR])
    one_line(result)


@pytest.mark.parametrize("arguments, status, text", [
    (["-s", "0,x", "vm0"], None, 'pci slot 0:0:0: unknown device "x"'),
    (["-s", "0,hostbridge", "-s", "0,lpc", "vm0"], None, "already occupied"),
    (["-l", "nosuch,stdio", "vm0"], None, "invalid lpc device configuration"),
    (["-c", "cpus=3,sockets=2,cores=2", "vm0"], None, "cpus"),
    (["-c", "frogs=3", "vm0"], None, "frogs"),
    (["-c", "99999", "vm0"], None, "99999"),
    (["-o", "engine=fast", "vm0"], None, "engine"),
    (["-o", "novalue", "vm0"], None, "novalue"),
    (["-k", "/nonexistent/file", "vm0"], None, "/nonexistent/file"),
    (["-G", "1234", "vm0"], None, "gdb"),
    (["-s", "3,passthru,1/0/0", "vm0"], None, "passthru"),
    (["-p", "0:99999", "vm0"], None, "99999"),
])
def test_option(rundir, arguments, status, text):
    result = bhyve(rundir, *arguments)
    assert result.returncode in ([status] if status else
                                 [USAGE, MALFORMED, ERROR])
    assert text in one_line(result)


def test_unknown_option_and_no_name(rundir):
    result = bhyve(rundir, "-Z", "vm0")
    assert result.returncode == USAGE and "sage" in result.stderr
    result = bhyve(rundir)
    assert result.returncode == USAGE and "sage" in result.stderr
    result = bhyve(rundir, "vm0", "vm1")
    assert result.returncode == USAGE
    assert program("bhyve", "-h").returncode == 0


@pytest.mark.parametrize("name", ["a/b", "", "x" * 200, ".."])
def test_vm_name(rundir, guest, name):
    for command in (
            ["bhyve", "-o", f"rundir={rundir}", "-m", "128M", *BOARD, "-o",
             f"boot.kernel={guest / 'vmlinuz'}", name],
            ["bhyveload", "-o", f"rundir={rundir}", "-m", "128M", "-k",
             guest / "vmlinuz", name]):
        result = program(*command)
        assert result.returncode in (USAGE, MALFORMED)
        assert "name" in result.stderr and len(result.stderr) < 200


@pytest.mark.parametrize("setting", [
    "x86.strictmsr=perhaps", "vcpu.mux=2", "acpi_tables=", "soft.jit=maybe",
    "rtc.use_localtime=sometimes"])
def test_switch_that_is_neither(rundir, setting):
    result = bhyve(rundir, "-m", "64M", *BOARD, "-o", setting, "vm0")
    assert result.returncode == MALFORMED
    assert setting.split("=")[0] in one_line(result)


@pytest.mark.parametrize("arguments, status, text", [
    (["vm0"], USAGE, "-k"),
    (["-Z", "vm0"], USAGE, "sage"),
    (["-k", "KERNEL"], USAGE, "sage"),
    (["-k", "KERNEL", "vm0", "vm1"], USAGE, "sage"),
    (["-k", "KERNEL", "-m", "12x", "vm0"], MALFORMED, "12x"),
    (["-k", "KERNEL", "-o", "novalue", "vm0"], MALFORMED, "novalue"),
    (["-k", "KERNEL", "-o", "memory.wired=perhaps", "vm0"], MALFORMED,
     "perhaps"),
    (["-k", "KERNEL", "-o", "engine=fast", "vm0"], MALFORMED, "engine"),
    (["-k", "KERNEL", "-d", "disk.img", "vm0"], ERROR, "-d"),
    (["-k", "KERNEL", "-a", "x" * 5000, "vm0"], ERROR, "command line"),
    (["-k", "KERNEL", "-m", "16M", "vm0"], ERROR, "vmlinuz"),
    (["-k", "/nonexistent", "vm0"], ERROR, "/nonexistent"),
    (["-k", "KERNEL", "-i", "/nonexistent", "vm0"], ERROR, "/nonexistent"),
])
def test_bhyveload(rundir, guest, arguments, status, text):
    kernel = str(guest / "vmlinuz")
    result = program("bhyveload", "-o", f"rundir={rundir}",
                     *[kernel if word == "KERNEL" else word
                       for word in arguments])
    assert result.returncode == status, result.stderr
    assert text in result.stderr
    if "sage" not in text:
        one_line(result)


def test_vm_that_does_not_exist(rundir):
    result = bhyve(rundir, "-m", "128M", *BOARD, "vm0")
    assert result.returncode == ERROR
    assert "vm0" in one_line(result)


def test_rundir_without_permission(guest, tmp_path):
    if os.getuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        result = bhyve(closed, "-m", "128M", *BOARD, "-o",
                       f"boot.kernel={guest / 'vmlinuz'}", "vm0")
    else:
        closed = tmp_path / "file"
        closed.touch()
        result = bhyve(closed, "-m", "128M", *BOARD, "-o",
                       f"boot.kernel={guest / 'vmlinuz'}", "vm0")
    assert result.returncode == ERROR
    assert str(closed) in one_line(result)


def test_different_memory_size(rundir, guest):
    load = program("bhyveload", "-o", f"rundir={rundir}", "-m", "256M",
                   "-k", guest / "vmlinuz", "vm0")
    assert load.returncode == 0, load.stderr
    result = bhyve(rundir, "-m", "512M", *BOARD, "vm0")
    assert result.returncode == ERROR
    assert "256" in result.stderr and "512" in result.stderr
    assert program("bhyvectl", f"--rundir={rundir}", "--vm=vm0",
                   "--destroy").returncode == 0


def test_terminal_is_given_back(rundir, guest, files):
    """A failing start leaves the terminal's modes as they were."""
    script = (f"before=$(stty -g); {BUILD}/bhyve -o rundir={rundir} -m 128M "
              f"-s 31,lpc -l com1,stdio -o boot.kernel={files / 'text'} vm0; "
              "[ \"$before\" = \"$(stty -g)\" ] && echo same-modes")
    result = subprocess.run(["script", "-qec", script, "/dev/null"],
                            capture_output=True, text=True, timeout=60)
    assert "same-modes" in result.stdout
