# SPDX-License-Identifier: BSD-2-Clause
"""pc-testdev: a guest ends bhyve with a status of its choice."""

import pytest
from conftest import BOARD, kernel


@pytest.mark.parametrize("value,status", [(0, 1), (5, 11), (255, 255)])
def test_exit(machine, guest, value, status):
    vm = machine("-D", "-m", "512M", *BOARD, "-l", "pc-testdev",
                 *kernel(guest), "vm0")
    vm.expect("GUEST-UP")
    # The latch keeps what it is given; /dev/port reads and writes bytes.
    vm.run("printf Q | dd of=/dev/port bs=1 seek=226 conv=notrunc 2> /dev/null"
           "; dd if=/dev/port bs=1 skip=226 count=1 2> /dev/null | od -c",
           r"0000000 +Q")
    vm.type(f"printf '\\{value:o}' | dd of=/dev/port bs=1 seek=244 "
            "conv=notrunc")
    assert vm.wait() == status
