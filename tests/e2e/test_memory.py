# SPDX-License-Identifier: BSD-2-Clause
"""What the host may lack: room on a tmpfs (memory, files), and addresses."""

import errno
import os
import pathlib
import resource
import subprocess
import tempfile

import pytest
from conftest import BOARD, BUILD, kernel, program

MIB = 1 << 20
ON_TMPFS = ["-o", "memory.backing=file"]


@pytest.fixture
def small():
    """A tmpfs of 300 MiB, which only root can make."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="anyhyve-small-"))
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=700",
                           "small", path], capture_output=True, text=True,
                          check=False)
    if made.returncode != 0:
        path.rmdir()
        pytest.skip("no tmpfs of our own: " + made.stderr.strip())
    yield path
    subprocess.run(["umount", path], check=True)
    path.rmdir()


def names(folder):
    """What is in it, but for what engine=auto found out about this host."""
    return [path.name for path in folder.iterdir()
            if path.name != ".kvm-speed"]


def fill(folder, left):
    """Leaves no more than that much room, while others take some, too."""
    piece = 256 * 1024
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                free = os.statvfs(folder)
                free = free.f_bavail * free.f_bsize
                if free <= left:
                    return
                file.write(b"x" * min(piece, free - left))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def one_line(text):
    lines = [line for line in text.splitlines()
             if "engine soft" not in line and "unpack" not in line]
    assert len(lines) == 1, text
    return lines[0]


def test_full_while_it_runs(small, machine, guest):
    vm = machine("-D", "-c", 2, "-m", "256M", "-o", f"rundir={small}",
                 *ON_TMPFS, *BOARD, *kernel(guest), "vm0")
    vm.expect("GUEST-UP")
    fill(small, 4 * MIB)
    vm.type("dd if=/dev/zero of=/tmp/file bs=1M count=100")
    assert vm.wait() == 4
    line = one_line(vm.process.stderr.read().decode())
    assert "vm0" in line and str(small) in line and "full" in line
    assert names(small) == ["filler"]


def test_full_at_dma(small, machine, guest, tmp_path):
    """The first to touch the page is the host's kernel, for a disk."""
    disk = tmp_path / "disk"
    disk.write_bytes(os.urandom(64 * MIB))
    vm = machine("-D", "-c", 1, "-m", "256M", "-o", f"rundir={small}",
                 *ON_TMPFS, *BOARD, "-s", f"2,virtio-blk,{disk}",
                 *kernel(guest), "vm0")
    vm.expect("GUEST-UP")
    fill(small, MIB)
    vm.type("dd if=/dev/vda of=/dev/null bs=1M iflag=direct; "
            "cat /dev/vda > /dev/null")
    assert vm.wait() == 4
    assert "full" in one_line(vm.process.stderr.read().decode())
    assert names(small) == ["filler"]


def test_full_in_two_steps(small, machine, guest):
    """What bhyveload made stays: crashed, for there is a hole in it."""
    load = program("bhyveload", "-o", f"rundir={small}", "-m", "256M", "-k",
                   guest / "vmlinuz", "-i", guest / "initrd", "-a",
                   "console=ttyS0", "vm0")
    assert load.returncode == 0, load.stderr
    vm = machine("-o", f"rundir={small}", "-m", "256M", *BOARD, "vm0")
    vm.expect("Linux version")
    fill(small, 0)
    assert vm.wait() == 4
    assert "full" in one_line(vm.process.stderr.read().decode())
    again = program("bhyve", "-o", f"rundir={small}", "-m", "256M", *BOARD,
                    "vm0")
    assert again.returncode == 4 and "crashed" in again.stderr
    assert program("bhyvectl", f"--rundir={small}", "--vm=vm0",
                   "--destroy").returncode == 0


@pytest.mark.parametrize("name", ["bhyve", "bhyveload"])
def test_full_while_it_loads(small, guest, name):
    """The file system is as large as the memory, and has other files, too."""
    options = BOARD if name == "bhyve" else []
    loader = subprocess.Popen(
        [BUILD / name, "-o", f"rundir={small}", *ON_TMPFS, "-m", "290M",
         *map(str, options), *kernel(guest), "vm0"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL)
    while not (small / "vm0" / "memory").exists():
        if loader.poll() is not None:
            break
    fill(small, 2 * MIB)
    assert loader.wait(timeout=60) == 4
    assert "vm0" in one_line(loader.stderr.read())
    assert names(small) == ["filler"]


def test_the_terminal_is_given_back(small, guest):
    script = (f"before=$(stty -g); {BUILD}/bhyve -o rundir={small} -m 256M "
              f"{' '.join(ON_TMPFS + BOARD)} -o boot.kernel={guest / 'vmlinuz'} "
              f"-o boot.cmdline=console=ttyS0 vm0; echo status=$?; "
              "[ \"$before\" = \"$(stty -g)\" ] && echo same-modes")
    run = subprocess.Popen(["script", "-qec", script, "/dev/null"],
                           stdin=subprocess.DEVNULL, text=True,
                           stdout=subprocess.PIPE)
    for line in run.stdout:
        if "Linux version" in line:
            fill(small, 0)
            break
    rest = run.stdout.read()
    run.wait()
    assert "status=4" in rest and "same-modes" in rest, rest[-2000:]


def test_huge_pages(machine, guest, rundir):
    """Memory that ends with the process; elsewhere it is a memfd."""
    vm = machine("-D", "-m", "256M", "-o", "memory.backing=anon", *BOARD,
                 *kernel(guest), "vm0")
    vm.expect("GUEST-UP")
    memory = os.stat(rundir / "vm0" / "memory")
    assert memory.st_size == 256 * MIB
    assert memory.st_mode & 0o777 == 0o600 and memory.st_uid == os.geteuid()
    vm.type("poweroff")
    assert vm.wait() == 1


def test_no_huge_pages(machine, guest, rundir):
    """Who may mount nothing, not even in a namespace, has files as before."""
    before = ["unshare", "-Ur", "sh", "-c",
              "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"",
              "sh"]
    if subprocess.run([*before, "true"], check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    vm = machine("-D", "-m", "256M", *BOARD, *kernel(guest), "vm0",
                 before=before)
    vm.expect("GUEST-UP")
    assert os.stat(rundir / "vm0" / "memory").st_size == 256 * MIB
    vm.type("poweroff")
    assert vm.wait() == 1


def test_few_addresses(machine, guest):
    """Windows want more than a process may have here: it does without."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (32 << 30, limits[1]))
    try:
        vm = machine("-D", "-m", "512M", "-o", "engine=soft", *BOARD,
                     *kernel(guest, "console=ttyS0 panic=-1"), "vm0")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    vm.expect("GUEST-UP")
    vm.type("poweroff")
    assert vm.wait() == 1
