# SPDX-License-Identifier: BSD-2-Clause
"""The terminal is raw while the VM runs, and given back as it was after
whatever ends bhyve but SIGKILL."""

import os
import pty
import signal
import subprocess
import termios
import time

import pytest
from conftest import BOARD, BUILD, PATIENCE, kernel, program


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def on_terminal(rundir, guest):
    """bhyve with a terminal for its stdin and stdout, which has become raw."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [BUILD / "bhyve", "-D", "-o", f"rundir={rundir}", "-m", "512M", *BOARD,
         *kernel(guest), "vm0"], stdin=slave, stdout=slave,
        stderr=subprocess.DEVNULL,
        # A shell's background job ignores it, and its children do.
        preexec_fn=lambda: signal.signal(signal.SIGQUIT, signal.SIG_DFL))
    wait_for(lambda: process.poll() is not None or
             termios.tcgetattr(slave)[3] & termios.ECHO == 0)
    assert process.poll() is None
    yield master, slave, before, process
    process.kill()
    process.wait()
    os.close(master)
    os.close(slave)
    program("bhyvectl", f"--rundir={rundir}", "--vm=vm0", "--destroy")


def drain_until_end(master, process):
    def ended():
        os.set_blocking(master, False)
        try:
            os.read(master, 65536)
        except BlockingIOError:
            pass
        return process.poll() is not None
    wait_for(ended)


@pytest.mark.parametrize("name", ["SEGV", "ABRT", "BUS", "QUIT", "USR1",
                                  "ALRM", "RTMIN"])
def test_killed(on_terminal, name):
    master, slave, before, process = on_terminal
    number = getattr(signal, "SIG" + name)
    process.send_signal(number)
    drain_until_end(master, process)
    assert process.returncode == -number
    assert termios.tcgetattr(slave) == before


def test_escape_key(on_terminal):
    master, slave, before, process = on_terminal
    os.write(master, b"\x01x")
    drain_until_end(master, process)
    assert process.returncode == 1
    assert termios.tcgetattr(slave) == before
