# SPDX-License-Identifier: BSD-2-Clause
"""Static 64- and 32-bit programs give in the guest what they give on the
host, and every line of the yardstick completes."""

import gzip
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import BOARD, PATIENCE, ROOT, kernel

HERE = pathlib.Path(__file__).resolve().parent
YARDSTICK = ROOT / "bench" / "gbench.c"
INIT = """#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo GUEST-UP
"""


def initrd(folder, programs, commands):
    """An initrd of busybox and programs, whose init runs commands."""
    tree = folder / "tree"
    for name in ("bin", "proc", "dev", "sys", "tmp"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    for source in programs:
        shutil.copy(source, tree / "bin")
    init = tree / "init"
    init.write_text(INIT + commands + "\n/bin/busybox poweroff -f\n")
    init.chmod(0o755)
    names = "\n".join(path.relative_to(tree).as_posix()
                      for path in sorted(tree.rglob("*")))
    packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree,
                            input=names.encode(), capture_output=True,
                            check=True).stdout
    out = folder / "initrd"
    out.write_bytes(gzip.compress(packed, 1))
    return out


def compiled(folder, bits):
    out = folder / f"selfcheck{bits}"
    made = subprocess.run(
        ["gcc", f"-m{bits}", "-O2", "-static", "-pthread", "-o", out,
         HERE / "programs/selfcheck.c", "-lm"], capture_output=True,
        text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no static {bits}-bit programs here: "
                    + made.stderr.strip()[-100:])
    return out


def on_host(binary):
    """What it says here; some hosts' kernels run no 32-bit programs."""
    try:
        return subprocess.run([binary], capture_output=True, text=True,
                              check=True).stdout.splitlines()
    except OSError as error:
        pytest.skip(f"this host does not run {binary.name}: {error.strerror}")


@pytest.mark.parametrize("bits", [64, 32])
def test_selfcheck(machine, guest, tmp_path, bits):
    binary = compiled(tmp_path, bits)
    wanted = on_host(binary)
    image = initrd(tmp_path, [binary], f"/bin/{binary.name}")
    vm = machine("-D", "-c", 2, "-m", "512M", *BOARD,
                 *kernel(guest, "console=ttyS0 quiet panic=-1", initrd=image),
                 "vm0")
    vm.expect("GUEST-UP")
    vm.expect("SELFCHECK-END")
    text = vm.output.decode(errors="replace").replace("\r", "")
    for line in wanted:
        assert line in text
    assert vm.wait() == 1


def test_gbench_completes(machine, guest, tmp_path):
    binary = tmp_path / "gbench"
    subprocess.run(["gcc", "-O2", "-fno-inline-functions",
                    "-fno-if-conversion", "-static", "-o", binary,
                    YARDSTICK, "-lm"], check=True)
    lines = re.findall(r'^\s*\{"(\w+)",', YARDSTICK.read_text(), re.M)
    assert len(lines) == 18
    image = initrd(tmp_path, [binary], "/bin/gbench 0.02")
    vm = machine("-D", "-c", 1, "-m", "512M", *BOARD,
                 *kernel(guest, "console=ttyS0 quiet panic=-1", initrd=image),
                 "vm0")
    vm.expect("GB-END", timeout=2 * PATIENCE)
    done = re.findall(rb"GB (\w+) [0-9.]+ ns/op", vm.output)
    missing = set(lines) - {name.decode() for name in done}
    assert missing <= {"avx2"}, missing
    assert vm.wait() == 1
