#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_iasl.py DUMP: what ACPICA, which most systems use, says of our ACPI
tables. iasl takes each one apart and compiles it again, acpiexec loads the
AML and runs it; neither may have anything to complain about. TAP."""

import pathlib
import re
import subprocess
import sys
import tempfile

COMPLAINT = re.compile(r"error|exception|warning|invalid|failure", re.I)


def output(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False, **options)
    return done.returncode, done.stdout + done.stderr


def check_table(table):
    """None, or what is wrong."""
    status, text = output("iasl", "-d", table)
    if status != 0 or COMPLAINT.search(text):
        return text
    # Data tables compile without "errors" when a field is unknown, too.
    source = table.with_suffix(".dsl")
    status, text = output("iasl", "-p", table.with_suffix(".again"), source)
    if status != 0 or "0 Errors, 0 Warnings" not in text:
        return text
    return None


def run_aml(folder, board, commands):
    """What acpiexec prints for commands, on a board's DSDT and SSDT."""
    status, text = output("acpiexec", "-b", "; ".join(commands),
                          folder / f"{board}-DSDT.dat",
                          folder / f"{board}-SSDT.dat")
    if status != 0 or COMPLAINT.search(text):
        raise AssertionError(text)
    return text


def integers(text):
    return [int(number, 16)
            for number in re.findall(r"\[Integer\] = ([0-9A-F]+)", text)]


def check_routes(folder):
    """_PRT gives the 8259's interrupts until _PIC says IOAPIC."""
    slots = [(3 << 16 | 0xffff, 0), (4 << 16 | 0xffff, 0),
             (4 << 16 | 0xffff, 1)]
    want = [value for irqs in ((5, 10, 11), (16, 17, 18))
            for (address, pin), irq in zip(slots, irqs)
            for value in (address, pin, 0, irq)]
    prt = r"evaluate \_SB.PC00._PRT"
    got = integers(run_aml(folder, "usual", [prt, r"evaluate \_PIC 1", prt]))
    return None if got == want else f"{got}, not {want}"


def check_soft_off(folder):
    got = integers(run_aml(folder, "bare", [r"evaluate \_S5"]))
    return None if got == [5, 0, 0, 0] else str(got)


def check_serial_port(folder):
    text = run_aml(folder, "usual", [r"resources \_SB.PC00.ISA.COM1"])
    found = re.search(r"Address Minimum : 03F8.*Address Length : 08", text,
                      re.S) and re.search(r"Interrupt List : 4\b", text)
    return None if found else text


def check_devices(folder):
    """The full board's namespace has one of each that it should have."""
    text = run_aml(folder, "full", ["namespace"])
    want = ([f"C{i:03X}" for i in range(16)] +
            [f"PC{i:02X}" for i in range(0, 256, 32)] +
            [f"COM{i}" for i in range(1, 5)] + ["HPET", "XTRA", "KBD", "RTC"])
    missing = [name for name in want
               if len(re.findall(rf"\b{name:_<4} Device", text)) != 1]
    return f"not one of each: {missing}\n{text}" if missing else None


def main():
    number = 0
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        subprocess.run([sys.argv[1], folder], check=True)
        tables = sorted(folder.glob("*.dat"))
        assert len(tables) > 20
        checks = [(table.stem, check_table, table) for table in tables]
        checks += [(check.__name__, check, folder) for check in (
            check_routes, check_soft_off, check_serial_port, check_devices)]
        for name, check, argument in checks:
            number += 1
            wrong = check(argument)
            print(f"{'ok' if wrong is None else 'not ok'} {number} - {name}")
            for line in (wrong or "").splitlines():
                print(f"# {line}")
    print(f"1..{number}")


main()
