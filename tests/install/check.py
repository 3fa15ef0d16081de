#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check.py SOURCE BUILD PREFIX: installs into a folder and builds a program
against what lies there, with nothing of the source tree in sight."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD, PREFIX = map(pathlib.Path, sys.argv[1:])
WANTED = "Hello, world\n\0" + "7" + "\nstopped, reason 3\n"
PROGRAMS = ("bhyve", "bhyveload", "bhyvectl")
PAGES = ("man8/bhyve.8", "man8/bhyveload.8", "man8/bhyvectl.8",
         "man5/bhyve_config.5", "man3/vmmapi.3")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


class Failed(Exception):
    pass


def run(*command, **options):
    done = subprocess.run([str(part) for part in command],
                          capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stdout}"
                     f"{done.stderr}")
    return done.stdout


class Tree:
    def __init__(self, folder):
        self.root = folder / "root"
        self.folder = folder
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet",
            "--destdir", self.root)
        self.prefix = self.root / PREFIX.relative_to("/")
        found = list(self.prefix.glob("lib/**/libvmmapi.pc"))
        if len(found) != 1:
            raise Failed(f"pkg-config files: {found}")
        self.config = found[0].parent
        self.library = self.config.parent
        self.env = dict(os.environ, PKG_CONFIG_LIBDIR=str(self.config),
                        PKG_CONFIG_SYSROOT_DIR=str(self.root),
                        LD_LIBRARY_PATH=str(self.library),
                        VMM_RUNDIR=str(folder / "run"))
        (folder / "run").mkdir(mode=0o700)

    def config_of(self, *options):
        return run("pkg-config", *options, "libvmmapi", env=self.env).split()

    def compile(self, compiler, source, *options):
        program = self.folder / "program"
        run(compiler, *WARNINGS, *self.config_of("--cflags"), "-o", program,
            source, *options, *self.config_of("--libs"), env=self.env)
        return program


def test_files(tree):
    """All products are there, and nothing else is among them."""
    for name in PROGRAMS:
        if not os.access(tree.prefix / "sbin" / name, os.X_OK):
            raise Failed(f"sbin/{name} is not there")
    for page in PAGES:
        if not (tree.prefix / "share/man" / page).is_file():
            raise Failed(f"share/man/{page} is not there")
    files = {path.name for path in tree.root.rglob("*") if not path.is_dir()}
    extra = {name for name in files if name.startswith("test_")}
    if extra:
        raise Failed(f"tests are installed: {extra}")
    soname = run("objdump", "-p", tree.library / "libvmmapi.so")
    if "libvmmapi.so.3" not in soname:
        raise Failed("soname is not libvmmapi.so.3")


def test_pkgconfig(tree):
    """The file says what is needed, with the version of the project."""
    version = tree.config_of("--modversion")
    if len(version) != 1 or not version[0][0].isdigit():
        raise Failed(f"version {version}")
    cflags = tree.config_of("--cflags")
    if not any(flag.startswith(f"-I{tree.root}") for flag in cflags):
        raise Failed(f"cflags {cflags}")


def test_example(tree):
    """docs/examples/tinyvmm.c as its own comment says to build it."""
    source = SOURCE / "docs/examples/tinyvmm.c"
    if len(source.read_text().splitlines()) > 110:
        raise Failed("the example has grown")
    program = tree.compile(os.environ.get("CC", "cc"), source, "-std=c99")
    out = run(program, env=tree.env)
    if out != WANTED:
        raise Failed(f"{out!r} instead of {WANTED!r}")
    if list((tree.folder / "run").glob("tinyvmm*")):
        raise Failed("the VM is still there")


def test_header_in_cxx(tree):
    """The header can be used from C++."""
    compiler = shutil.which("c++")
    if compiler is None:
        return "# SKIP no c++"
    source = tree.folder / "use.cc"
    source.write_text("#include <vmmapi.h>\n"
                      "int main() { return vm_error_text() == nullptr; }\n")
    run(tree.compile(compiler, source), env=tree.env)
    return ""


def test_programs(tree):
    """The installed programs run, without the build's libraries."""
    done = subprocess.run([tree.prefix / "sbin/bhyve", "-h"], env=tree.env,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0 or "Usage: bhyve" not in done.stderr:
        raise Failed(f"bhyve -h: {done.returncode} {done.stderr}")
    ctl = tree.prefix / "sbin/bhyvectl"
    run(ctl, "--vm=installed", "--create", env=tree.env)
    run(ctl, "--vm=installed", "--destroy", env=tree.env)


def main():
    tests = (test_files, test_pkgconfig, test_example, test_header_in_cxx,
             test_programs)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="anyhyve-install-"))
    bad = 0
    print(f"1..{len(tests)}")
    try:
        tree = Tree(folder)
        for number, test in enumerate(tests, 1):
            try:
                more = test(tree) or ""
                print(f"ok {number} - {test.__name__} {more}")
            except Failed as failed:
                bad = 1
                print(f"not ok {number} - {test.__name__}")
                for line in str(failed).splitlines():
                    print(f"# {line}")
    except Failed as failed:
        bad = 1
        print(f"Bail out! {failed}")
    finally:
        shutil.rmtree(folder)
    return bad


sys.exit(main())
