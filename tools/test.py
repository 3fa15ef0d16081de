#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the tests and sums them up.

The builds and suites are the table below. Each suite's seconds are printed,
each failure with the end of its output, what a hostile guest or a fuzzer
counted ("# count: ..." in its output), and at the end, for those who see only
that: why tests were skipped, which ones failed, and one line: N passed, N
failed, N skipped.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time

BUILD = os.environ.get("BUILD", "build")
# Where the suppressions are, a test's working directory notwithstanding.
TSAN = {"TSAN_OPTIONS": "history_size=4:suppressions="
        + str(pathlib.Path(__file__).resolve().parents[1] / "tests/tsan.supp")}
SANITIZE = ["-Db_sanitize=address,undefined", "-Db_lundef=false"]

# (build directory, meson arguments, environment, suites)
PLAN = [
    (BUILD, [], {}, ["style", "unit", "x86", "guest", "fuzz", "e2e"]),
    ("build-clang", [], {"CC": "clang"}, ["unit"]),
    ("build-asan", SANITIZE, {}, ["unit", "asan-boot"]),
    ("build-fuzz", [*SANITIZE, "-Dfuzz=true"], {"CC": "clang"}, ["fuzz"]),
]
NIGHTLY = [
    (BUILD, [], {}, ["nightly"]),
    ("build-fuzz", [*SANITIZE, "-Dfuzz=true"], {"CC": "clang"},
     ["fuzz-long"]),
    ("build-tsan", ["-Db_sanitize=thread", "-Db_lundef=false"], TSAN,
     ["unit", "tsan"]),
]

TAP = re.compile(r"^\s*(not )?ok\b[^#]*(?:#\s*(skip)\S*\s*(.*))?", re.I)
COUNT = re.compile(r"^\W*# count: (.*)$", re.M)
FUZZED = re.compile(r"^stat::number_of_executed_units: +(\d+)$", re.M)
PYTEST = re.compile(r"(\d+) (passed|failed|skipped|error|errors)\b")


class Total:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.reasons = []
        self.failures = []

    def add_tap(self, text):
        """Counts lines of TAP. cmocka gives a skipped test's name for its
        reason; our tests give theirs in a line "# NAME: REASON"."""
        reasons = dict(re.findall(r"^# (\w+): (.*)$", text, re.M))
        found = False
        for line in text.splitlines():
            match = TAP.match(line)
            if match is None:
                continue
            found = True
            if match.group(2):
                self.skipped += 1
                reason = match.group(3) or "no reason given"
                if reason in reasons:
                    reason += ": " + reasons[reason]
                self.reasons.append(reason)
            elif match.group(1):
                self.failed += 1
            else:
                self.passed += 1
        return found

    def add_pytest(self, text):
        lines = [line for line in text.splitlines()
                 if PYTEST.search(line) and " in " in line]
        if not lines:
            return False
        for count, kind in PYTEST.findall(lines[-1]):
            if kind == "passed":
                self.passed += int(count)
            elif kind == "skipped":
                self.skipped += int(count)
            else:
                self.failed += int(count)
        self.reasons += [line.split(": ", 1)[-1] for line in text.splitlines()
                         if line.startswith("SKIPPED")]
        return True

    def add(self, test):
        text = test.get("stdout", "") or ""
        failed_before = self.failed
        counted = self.add_pytest(text) or self.add_tap(text)
        result = test["result"]
        if result == "SKIP" and not counted:
            self.skipped += 1
            last = (text.strip().splitlines() or ["no reason given"])[-1]
            self.reasons.append(re.sub(r"^1\.\.0 # SKIP ", "", last))
        elif result not in ("OK", "SKIP", "EXPECTEDFAIL"):
            if self.failed == failed_before:
                self.failed += 1
        elif not counted:
            self.passed += 1


def counts(test):
    """What a test says it did, beside passing."""
    text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
    name = test["name"].split(" / ")[-1]
    return [f"{name}: {found}" for found in COUNT.findall(text)] + [
        f"{name}: {found} inputs" for found in FUZZED.findall(text)]


def failure(directory, test):
    """A head, and the lines that tell: what did not pass, then the end."""
    output = (test.get("stdout") or "") + (test.get("stderr") or "")
    lines = output.splitlines()
    seconds = test.get("duration", 0)
    head = f"--- {directory} {test['name']}: {test['result']}, {seconds:.0f} s"
    bad = [line for line in lines[:-60]
           if re.match(r"\s*not ok\b|FAILED |E  ", line)]
    return [head, *bad[:20], *lines[-60:]]


def call(command, env=None):
    merged = dict(os.environ, **(env or {}))
    return subprocess.run(command, env=merged, check=False).returncode


def prepare(directory, arguments, env):
    if not pathlib.Path(directory, "build.ninja").exists():
        if call(["meson", "setup", directory, *arguments], env) != 0:
            return False
    return call(["ninja", "-C", directory, "--quiet"], env) == 0


# Tests' limits are for a quiet machine: one that shares its CPUs may be given a
# fraction of them for a while. Only what hangs is to end by its limit.
PATIENCE = "4"


def run_suite(directory, suite, env, total):
    log = pathlib.Path(directory, "meson-logs", f"testlog-{suite}.json")
    log.unlink(missing_ok=True)
    started = time.monotonic()
    subprocess.run(["meson", "test", "-C", directory, "--no-rebuild",
                    "--timeout-multiplier", PATIENCE,
                    "--suite", suite, "--logbase", f"testlog-{suite}"],
                   env=dict(os.environ, **env),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=False)
    seconds = time.monotonic() - started
    own = Total()
    tests = []
    if log.exists():
        tests = [json.loads(line) for line in log.read_text().splitlines()]
    for test in tests:
        own.add(test)
        for line in counts(test):
            print(f"count: {directory} {line}")
        if test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"):
            own.failures.append(failure(directory, test))
            print("\n".join(own.failures[-1]))
    if not tests:
        own.failed += 1
        own.failures.append([f"--- {directory}: suite {suite} has no tests"])
        print(own.failures[-1][0])
    print(f"{directory} {suite}: {own.passed} passed, {own.failed} failed, "
          f"{own.skipped} skipped, {seconds:.0f} s", flush=True)
    total.passed += own.passed
    total.failed += own.failed
    total.skipped += own.skipped
    total.reasons += own.reasons
    total.failures += own.failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nightly", action="store_true",
                        help="the suites that CI has no time for, too")
    parser.add_argument("suite", nargs="*", help="only these suites")
    arguments = parser.parse_args()
    total = Total()
    for directory, options, env, suites in (
            PLAN + (NIGHTLY if arguments.nightly else [])):
        suites = [suite for suite in suites
                  if not arguments.suite or suite in arguments.suite]
        if not suites:
            continue
        if not prepare(directory, options, env):
            total.failures.append([f"--- {directory}: does not build"])
            print(total.failures[-1][0])
            total.failed += 1
            continue
        for suite in suites:
            run_suite(directory, suite, env, total)
    for reason, times in sorted(collections.Counter(total.reasons).items()):
        print(f"skipped: {reason}" + (f" ({times} times)" if times > 1 else ""))
    for lines in total.failures:
        print("\n".join(lines))
    print(f"{total.passed} passed, {total.failed} failed, "
          f"{total.skipped} skipped")
    sys.exit(1 if total.failed else 0)


main()
