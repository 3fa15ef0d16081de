#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fails when the soft engine calls out to what it may not (src/vmm/soft/cpu.h).

While the guest's vector state is in the host's registers, a function of libc
or of the room would destroy it. What is listed here is called after vec_leave,
or before a vCPU runs.
"""

import subprocess
import sys

ALLOWED = {
    # Making and destroying.
    "aligned_alloc", "calloc", "free", "mmap64", "mmap", "munmap", "mprotect",
    "mremap", "madvise", "getrandom", "close", "perfmap_open",
    "__errno_location",
    "err_set", "err_sys",
    # Leaving an instruction: no vector registers (not with sanitizers, see
    # SOFT_EAGER_LEAVE).
    "_setjmp", "longjmp", "__longjmp_chk",
    # The room, after vec_leave.
    "room_pio", "room_mmio", "room_msr", "vcpu_tsc", "vcpu_tsc_changed",
    "vcpu_get_cr8", "vcpu_set_cr8", "vcpu_intr_pending", "vcpu_intr_accept",
    "vm_stop", "cpu_model_cpuid", "perfmap_add", "mem_populate",
    # soft.jit=verify says what differs, after vec_leave.
    "fprintf", "fputc", "fwrite", "snprintf", "stderr", "disasm",
    # The CPU model: tables, in general registers (a compiler's, so far).
    "cpu_model_has", "cpu_model_is_amd", "cpu_model_maxphyaddr",
    "cpu_model_xcr0",
    # Making a VM; beginning to run it; a handler that passes a signal on.
    "pthread_mutex_lock", "pthread_mutex_unlock", "sigaction", "sigemptyset",
    "sigaddset", "pthread_self", "pthread_sigmask", "signal",
    "cpu_model_restrict", "host_tsc_is_clock",
    "_GLOBAL_OFFSET_TABLE_",
}


def main():
    library = sys.argv[1]
    output = subprocess.run(["nm", library], capture_output=True, text=True,
                            check=True).stdout
    defined, wanted = set(), {}
    module = ""
    for line in output.splitlines():
        if line.endswith(":"):
            module = line[:-1]
            continue
        fields = line.split()
        if len(fields) == 2 and fields[0] == "U":
            wanted.setdefault(fields[1], module)
        elif len(fields) == 3 and fields[1].isupper():
            defined.add(fields[2])
    bad = {name: where for name, where in wanted.items()
           if name not in defined and name not in ALLOWED}
    for name, where in sorted(bad.items()):
        print(f"{where}: calls {name}, which may destroy vector state")
    return 1 if bad else 0


sys.exit(main())
