#!/usr/bin/env python3
"""Proves on machine code, for all inputs, that rawmap's functions make the system calls that they document.

usage: prove.py ARCH        (by ci/prove.sh, which gets the tools)

Compiles probes.rs on the crate with each set of flags, executes each probe symbolically (pcode.py), and has z3 prove
what claims.py says of it. Then breaks a copy of the crate in each way of faults.txt, and each must be refused.
"""
import os
import re
import shutil
import sys
import tempfile
import time
import unittest
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import check  # noqa: E402
import claims  # noqa: E402
import mutant  # noqa: E402
import owners  # noqa: E402
import pcode  # noqa: E402
import test_prover  # noqa: E402
from same import Code  # noqa: E402
from targets import ROOT, TARGETS, command, core_library, kernel_constants, linker, rust  # noqa: E402

FAULTS = HERE / "faults.txt"
# Functions of other crates that are not executed, and where the linker is told that they are.
REPLACED = {"memcpy": pcode.memcpy, "memset": pcode.memset, "panicked": pcode.panicked}
CHECK, OWNERS = "Call::check", "owners"  # the builds for them
# Public functions that are no raw function: the owners', and mmap with whatever lends a descriptor.
NOT_RAW = {"page_size", "prepare", "set_auxv", "mmap_file"}


def builds(target):
    """The flags of each build, by its name in the table."""
    levels = {f"-O{level}": [f"-Copt-level={level}"] for level in "023sz"}
    vectors = target.vectors[0].rpartition("=")[2]
    # The longest first. An overflow is a panic there.
    return {CHECK: ["-Copt-level=3", "-Coverflow-checks=yes", "--cfg=checks", *check.NO_TABLES],
            OWNERS: ["-Copt-level=3", "--cfg=owners"]} | levels | {
        "LTO": ["-Copt-level=3", "-Clto=fat"],
        f"-O3 {vectors}": ["-Copt-level=3", *target.vectors],
        # As static programs are built; with LLVM's outliner riscv64 would be miscompiled (see arch/riscv64.rs).
        "-Oz, no unwind tables": ["-Copt-level=z", "-Cforce-unwind-tables=no",
                                  "-Cllvm-args=-enable-machine-outliner=never"],
        "-O3, frame pointers": ["-Copt-level=3", "-Cforce-frame-pointers=yes"],
    }


# A fault is looked for where such faults show: where values live in registers, where the compiler sees through the
# functions of another crate, and where nothing is optimized away.
FAULTY_BUILDS = "-O3", "LTO", "-O0"


def goals(target, name):
    """What is to be proved of a build: {goal, which begins with a probe's symbol: what proves it on a machine}."""
    kernel = kernel_constants(target)
    if name == CHECK:
        return {f"check.{function.name} with pages of {1 << page - 10} KiB": partial(check.prove, function, page)
                for page in target.pages for function in check.functions()}
    if name == OWNERS:
        return {f"{goal.symbol} with pages of {1 << page - 10} KiB": partial(claims.prove, kernel, goal)
                for page in target.pages for goal in owners.goals(page)}
    return {goal.symbol: partial(claims.prove, kernel, goal) for goal in claims.goals()}


def build(tree, target, name, folder):
    """Compiles the crate and the probes, and links them to an image; returns {goal: digest of its machine code}."""
    # Checks of the standard library's own preconditions would be calls of a panic.
    flags = ["-Cdebug-assertions=off", "--emit=link,obj", *builds(target)[name]]
    rust(target, tree / "src/lib.rs", folder, "--crate-type=lib", *flags, name="rawmap")
    rust(target, HERE / "probes.rs", folder, "--crate-type=staticlib", *flags,
         "--extern", f"rawmap={folder}/librawmap.rlib", name="probes")
    # What else the standard library has from elsewhere is at address 0, and refused.
    command(*linker(), "-static", "-e", "0", "--unresolved-symbols=ignore-all",
            *(f"--defsym={name}={16 * i}" for i, name in enumerate(REPLACED, 1)), "-o", folder / "image",
            folder / "probes.o", folder / "librawmap.rlib", core_library(target))
    code = Code(folder / "probes.o", folder / "rawmap.o")
    return {goal: code.digest(goal.partition(" ")[0]) for goal in goals(target, name)}


def prove(target, name, folder, wanted, stop_at_first=False):
    """What is wrong of each wanted goal of a build, {goal: [text]}, and how many seconds it took to know."""
    start, results, machine = time.process_time(), {}, pcode.Machine(target, folder / "image", REPLACED)
    for goal, proof in goals(target, name).items():
        if goal in wanted:
            results[goal] = proof(machine)
            if stop_at_first and results[goal]:
                break
    return results, time.process_time() - start


# ---- The list of functions --------------------------------------------------------------------

def public_functions(tree, target, folder):
    """Every public function of the crate, as its documentation lists them: (name, its page); and every function of
    Call that returns one.
    """
    command(os.environ.get("RUSTDOC", "rustdoc"), "--edition=2024", "--target", target.triple, "--crate-name=rawmap",
            '--cfg=feature="std"', "-Awarnings", "-Arustdoc::all", "-o", folder, tree / "src/lib.rs")
    listed = (folder / "rawmap/all.html").read_text()
    page = lambda path: " ".join((folder / "rawmap" / path).read_text().split())
    functions = [(name, page(path)) for path, name in re.findall(r'href="((?:\w+/)*fn\.(\w+)\.html)"', listed)]
    return functions, re.findall(r'#method\.(\w+)" class="fn">\w+</a>\((?:(?!</h4>).)*-&gt; Self</h4>',
                                 page("struct.Call.html"))


def check_list(tree, target):
    """What is wrong with the list in probes.rs: it must have every public function, with the documented call."""
    with tempfile.TemporaryDirectory() as folder:
        public, calls = public_functions(tree, target, Path(folder))
    listed = claims.Function.all()
    proved = {function.name for function in listed}
    wrong = [f"{name} is public, and nothing proves it" for name, _ in public if name not in proved | NOT_RAW]
    wrong += [f"Call::{name} is public, and nothing proves it" for name in calls if name not in proved]
    wrong += [f"there are two functions {name}" for name, of in Counter(name for name, _ in public).items() if of > 1]
    # What is not in the documentation would not be in the list.
    wrong += [f"{file} hides something from the documentation" for part in ("src", "arch")
              for file in (tree / part).rglob("*.rs") if re.search(r"\bdoc\(.*(hidden|no_inline)", file.read_text())]
    public = dict(public)
    for function in listed:
        documented = f"makes one call: <code>{function.text}</code>"
        if documented not in public.get(function.name, "") and function.returns != "word":
            wrong.append(f"{function.name} does not say in its documentation: {documented}")
    return wrong


# ---- Faults -----------------------------------------------------------------------------------

def faults(target):
    """The lines of faults.txt for this architecture, and for all."""
    for line in FAULTS.read_text().splitlines():
        file = Path(line.partition(" | ")[0])
        if line and not line.startswith("#") and file.stem not in TARGETS.keys() - {target.name}:
            yield line


def refusal(target, line, proved):
    """What is broken, and by which build and why that was refused; None when it was not. `proved`: the goals and the
    machine code for which they are proved of the crate as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in "src", "arch":
            shutil.copytree(ROOT / part, tree / part)
        shutil.copy(ROOT / "README.md", tree)
        what = mutant.make(tree, line)
        where = line.split("/")[1]
        # The layers above what is broken would take most of the compiler's time.
        above, library = {"owners": "none", "check": "owners"}.get(where, "owners|check"), tree / "src/lib.rs"
        library.write_text(re.sub(rf"^(mod|pub use) ({above})\b[^;]*;", "", library.read_text(), flags=re.M))
        for name in {"check": [CHECK], "owners": [OWNERS]}.get(where, FAULTY_BUILDS):
            code = build(tree, target, name, tree)
            other = {goal for goal, digest in code.items() if (goal, digest) not in proved}
            results, _ = prove(target, name, tree, other, stop_at_first=True)
            for goal, wrong in results.items():
                if wrong:
                    return what, f"{name} {goal}: {wrong[0]}"
    return what, None


# ---- The whole of it --------------------------------------------------------------------------

def main(name):
    target, table = TARGETS[name], []

    def row(what, right, of, wrong=(), note=""):
        """A line when something is done; all of them are the table at the end."""
        table.append((what, right, of, note))
        failures = (f"FAILED: {name}: {what}: {line}" for line in wrong)
        print(f"{name}: {what}: {right} of {of}{note and ', '}{note}", *failures, sep="\n", flush=True)

    tests = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromModule(test_prover))
    row("tests of the prover", tests.testsRun - len(tests.failures + tests.errors), tests.testsRun)
    wrong = check_list(ROOT, target)
    row("every public function is proved, as documented", 0 if wrong else 1, 1, wrong)
    with ProcessPoolExecutor() as pool, tempfile.TemporaryDirectory() as folder:
        folders = {it: Path(folder, it) for it in builds(target)}
        built = {it: pool.submit(build, ROOT, target, it, folders[it]) for it in folders}
        proofs, owned = {}, {}
        for it, done in built.items():
            new = {goal for goal in done.result().items() if goal not in proofs}
            # Those of `check` take so long that each is for itself.
            parts = [[goal] for goal in new] if it == CHECK else [new]
            owned[it] = len(new), [pool.submit(prove, target, it, folders[it], dict(part)) for part in parts]
            proofs |= {goal: job for part, job in zip(parts, owned[it][1]) for goal in part}
        proved = set()
        for it, done in built.items():
            wrong = {goal: proofs[goal].result()[0][goal[0]] for goal in done.result().items()}
            proved |= {goal for goal, lines in wrong.items() if not lines}
            new, jobs = owned[it]
            seconds = sum(job.result()[1] for job in jobs)
            row(it, sum(not lines for lines in wrong.values()), len(wrong),
                [f"{symbol}: {line}" for (symbol, _), lines in wrong.items() for line in lines],
                f"{len(wrong) - new} of these have the same code in a build above, {seconds:.0f} s")
        refused = 0
        refusals = [pool.submit(refusal, target, line, proved) for line in faults(target)]
        for done in refusals:
            what, why = done.result()
            refused += why is not None
            said = f"{name}: refused: {what} ({why[:120]})" if why else f"FAILED: {name}: not refused: {what}"
            print(said, flush=True)
        row("planted faults refused", refused, len(refusals))
    print(*(f"{name:8} {what:48} {right:3} of {of:3}  {note}" for what, right, of, note in table), sep="\n")
    passed, failed = (sum(it) for it in zip(*((right, of - right) for _, right, of, _ in table)))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TARGETS:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]) > 0)
