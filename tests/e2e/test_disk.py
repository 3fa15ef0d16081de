# SPDX-License-Identifier: BSD-2-Clause
"""Debian's drivers on virtio-blk and virtio-rnd: what a guest writes, the
next boot and the host read."""

import gzip
import hashlib
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import BOARD, kernel, program

HERE = pathlib.Path(__file__).resolve().parent
POWEROFF = 1
MIB = 1024 * 1024


def boot(machine, guest, *slots, cpus=2, more=(), **files):
    """A machine at its shell, with slots from 2 on."""
    options = [word for number, slot in enumerate(slots, 2)
               for word in ("-s", f"{number},{slot}")]
    vm = machine("-D", "-c", cpus, "-m", "512M", *BOARD, *options,
                 *more, *kernel(guest, **files), "vm0")
    vm.expect("GUEST-UP")
    return vm


def power_off(vm):
    vm.type("poweroff")
    assert vm.wait() == POWEROFF


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def e2fs(name, *arguments):
    """Runs one of e2fsprogs, which are in sbin."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if shutil.which(name, path=path) is None:
        pytest.skip(f"no {name}: install e2fsprogs")
    return subprocess.run([name, *map(str, arguments)], check=True,
                          capture_output=True, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, PATH=path)).stdout


def make_ext4(path, size):
    e2fs("mke2fs", "-q", "-t", "ext4", sparse(path, size))
    return path


def random_file(path, size):
    path.write_bytes(os.urandom(size))
    return path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("options", ["", ",packed=false"],
                         ids=["packed", "split"])
def test_written_and_read(machine, guest, tmp_path, options):
    """What is written to a file system in one boot is there in the next and
    for the host, and a raw copy is on the host's disk bit by bit."""
    filesystem = make_ext4(tmp_path / "filesystem", 64 * MIB)
    source = random_file(tmp_path / "source", 8 * MIB)
    copy = sparse(tmp_path / "copy", 8 * MIB)
    slots = [f"virtio-blk,{path}{options}"
             for path in (filesystem, source, copy)]

    vm = boot(machine, guest, *slots)
    packed = int(not options)
    vm.run("echo features=$(cut -c35 /sys/block/vda/device/features)",
           f"features={packed}")
    vm.run("md5sum /dev/vdb", md5(source))
    vm.run("dd if=/dev/vdb of=/dev/vdc bs=64k conv=fsync && echo "
           "copied-$((6 * 7))", "copied-42")
    vm.run("modprobe ext4; mount -t ext4 /dev/vda /mnt && "
           "echo mounted-$((6 * 7))", "mounted-42")
    # Several at once, with reads between.
    vm.run("for i in 1 2 3 4; do (dd if=/dev/vdb of=/mnt/file$i bs=4k; "
           "sync; md5sum /mnt/file$i) & done; wait; echo all-$((6 * 7))",
           "all-42")
    vm.run("umount /mnt && echo clean-$((6 * 7))", "clean-42")
    power_off(vm)
    assert copy.read_bytes() == source.read_bytes()
    e2fs("e2fsck", "-fn", filesystem)
    for number in range(1, 5):
        assert (e2fs("debugfs", "-R", f"cat file{number}", filesystem)
                == source.read_bytes())

    vm = boot(machine, guest, *slots, cpus=1)
    vm.run("modprobe ext4; mount -t ext4 -o ro /dev/vda /mnt; "
           f"md5sum /mnt/file* | grep -c {md5(source)}", r"\n4\r")
    vm.run("echo errors=$(dmesg | grep -c 'I/O error')", "errors=0")
    power_off(vm)


def test_read_only(machine, guest, tmp_path):
    """The guest knows, its writes are refused, the file is as it was."""
    disk = random_file(tmp_path / "disk", 1 * MIB)
    before = md5(disk)
    vm = boot(machine, guest, f"virtio-blk,{disk},ro,ser=ro-disk")
    vm.run("echo ro=$(cat /sys/block/vda/ro)", "ro=1")
    vm.run("echo serial=$(cat /sys/block/vda/serial)", "serial=ro-disk")
    vm.run("md5sum /dev/vda", before)
    vm.run("dd if=/dev/zero of=/dev/vda bs=4k count=1 || echo "
           "refused-$((6 * 7))", "refused-42")
    power_off(vm)
    assert md5(disk) == before


def test_locked(machine, guest, tmp_path, rundir):
    """Two VMs on one disk would destroy it; two that only read may."""
    disk = random_file(tmp_path / "disk", 1 * MIB)
    boot(machine, guest, f"virtio-blk,{disk}")
    second = program("bhyve", "-o", f"rundir={rundir}", *BOARD, "-s",
                     f"2,virtio-blk,{disk}", *kernel(guest), "vm1")
    assert second.returncode == 4
    assert "another VM or program has locked it" in second.stderr


def test_random(machine, guest):
    vm = boot(machine, guest, "virtio-rnd")
    vm.run("cat /sys/class/misc/hw_random/rng_current", "virtio_rng.0")
    vm.run("for i in 1 2 3; do dd if=/dev/hwrng bs=64 count=64 2> /dev/null |"
           " md5sum; done | sort -u | wc -l", r"\n3\r")
    vm.run("dd if=/dev/hwrng bs=64 count=64 2> /dev/null | wc -c",
           r"\n4096\r")
    power_off(vm)


def with_program(guest, folder, source):
    """The guest's initrd with a static program in /bin."""
    program = folder / "tree/bin" / source.stem
    program.parent.mkdir(parents=True)
    subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", program,
                    source], check=True)
    packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"],
                            cwd=folder / "tree", check=True,
                            input=f"bin/{source.stem}\n".encode(),
                            capture_output=True).stdout
    initrd = folder / "initrd"
    initrd.write_bytes((guest / "initrd").read_bytes()
                       + gzip.compress(packed, 1))
    return initrd


@pytest.mark.parametrize("cpus, more", [
    (1, ()), (2, ()), (2, ("-o", "soft.jit.hot=1")),
    (2, ("-o", "soft.jit=off"))])
def test_read_over_hot_code(machine, guest, tmp_path, cpus, more):
    """A disk's blocks are read over code that one CPU runs, or two do."""
    disk = tmp_path / "disk"
    # nop; nop; nop; mov eax, n; ret
    disk.write_bytes(b"".join(
        (b"\x90\x90\x90\xb8" + n.to_bytes(4, "little") + b"\xc3").ljust(4096)
        for n in range(250)))
    initrd = with_program(guest, tmp_path, HERE / "programs/hotdma.c")
    vm = boot(machine, guest, f"virtio-blk,{disk}", cpus=cpus, more=more,
              initrd=initrd)
    other = "ran" if cpus > 1 else "none"
    vm.run("hotdma /dev/vda", f"HOTDMA bad=0 other={other} other_bad=0 END")
    power_off(vm)
