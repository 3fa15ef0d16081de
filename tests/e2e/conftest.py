# SPDX-License-Identifier: BSD-2-Clause
"""What the end-to-end tests share: the programs, a guest, a running VM.

The guest is Debian's kernel and busybox initrd of `make guest`. A Machine is
a bhyve process with its console on pipes; everything it made is gone when the
test ends, and a test fails when something is left behind.
"""

import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
GUEST = pathlib.Path(os.environ.get("GUEST", ROOT / "guest")).resolve()
# A bound on how long a hang may last, not a claim of speed.
PATIENCE = float(os.environ.get("PATIENCE", "300"))
RACE_FOUND = 66  # ThreadSanitizer's exit status, in its build
BOARD = ["-H", "-s", "0,hostbridge", "-s", "31,lpc", "-l", "com1,stdio"]


@pytest.fixture(scope="session")
def guest():
    """The folder with vmlinuz and initrd, made when it is not there."""
    if not (GUEST / "initrd").exists() or not (GUEST / "vmlinuz").exists():
        made = subprocess.run(["make", "-C", ROOT, "guest", f"GUEST={GUEST}"],
                              capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip("no guest kernel: " + made.stderr.strip()[-200:])
    return GUEST


@pytest.fixture
def rundir():
    """A run directory of the test's own, which must be empty at its end."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="anyhyve-test-"))
    yield path
    # .kvm-speed is what engine=auto found out about this host.
    left = sorted(entry.name for entry in path.iterdir()
                  if entry.name != ".kvm-speed")
    shutil.rmtree(path)
    assert not left, f"left behind in the run directory: {left}"


def program(name, *arguments, timeout=PATIENCE, **options):
    """Runs one of our programs to its end."""
    return subprocess.run([BUILD / name, *map(str, arguments)],
                          capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, **options)


class Machine:
    """A bhyve process: what it prints, what is typed at it, how it ends."""

    def __init__(self, arguments, stdin=subprocess.PIPE, before=()):
        self.process = subprocess.Popen(
            [*before, BUILD / "bhyve", *map(str, arguments)], stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.output = b""
        self.seen = 0

    def _read(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            return True
        data = os.read(self.process.stdout.fileno(), 65536)
        self.output += data
        return bool(data)

    def expect(self, pattern, timeout=PATIENCE):
        """Waits for pattern after what was matched before."""
        deadline = time.monotonic() + timeout
        expression = re.compile(pattern.encode())
        alive = True
        while True:
            match = expression.search(self.output, self.seen)
            if match:
                self.seen = match.end()
                return match
            if not alive or time.monotonic() > deadline:
                raise AssertionError(
                    f"no {pattern!r} in the guest's output:\n{self.tail()}")
            alive = self._read(1.0)

    def tail(self):
        text = self.output.decode(errors="replace")[-3000:]
        try:
            self.process.wait(5)  # it may just be ending
        except subprocess.TimeoutExpired:
            return text
        if self.process.poll() is not None:
            errors = self.process.stderr.read().decode(errors="replace")
            text += f"\n[status {self.process.returncode}] {errors}"
        return text

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def run(self, command, pattern):
        """Types a shell command and waits for pattern in what it prints."""
        self.type(command)
        return self.expect(pattern)

    def wait(self, timeout=PATIENCE):
        """The exit status, once bhyve has ended by itself."""
        deadline = time.monotonic() + timeout
        while self._read(0.2) or self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError("bhyve does not end:\n" + self.tail())
        status = self.process.wait(timeout=timeout)
        assert status != RACE_FOUND, self.tail()
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout,
                       self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def machine(rundir):
    """Makes Machines: machine("-c", 2, ..., "vm0")."""
    made = []

    def make(*arguments, **options):
        made.append(Machine(["-o", f"rundir={rundir}", *arguments],
                            **options))
        return made[-1]

    yield make
    for one in made:
        one.kill()
    for name in [entry.name for entry in rundir.iterdir() if entry.is_dir()]:
        program("bhyvectl", "--vm=" + name, "--destroy",
                env=dict(os.environ, VMM_RUNDIR=str(rundir)))


def kernel(guest, cmdline="console=ttyS0 panic=-1", **files):
    """The options that boot the guest's kernel directly."""
    return ["-o", f"boot.kernel={files.get('kernel', guest / 'vmlinuz')}",
            "-o", f"boot.initrd={files.get('initrd', guest / 'initrd')}",
            "-o", f"boot.cmdline={cmdline}"]
