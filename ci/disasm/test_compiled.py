#!/usr/bin/env python3
"""How the crate is compiled: what no test that runs can see.

usage: test_compiled.py ARCH        (by ci/disasm.sh, which gets the tools)

Compiles calls.rs, sites.rs and loops.rs on the crate, and looks at the object files and at LLVM's machine code
(mir.py). A judge returns what is wrong. Each check is a test that finds nothing wrong; where a check could pass by
overlooking something, a control breaks the crate on purpose, and the same judge must find it.
"""
import re
import shutil
import sys
import tempfile
import unittest
from functools import lru_cache
from pathlib import Path

import pypcode
from elftools.elf.descriptions import describe_reloc_type
from elftools.elf.elffile import ELFFile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "prove"))
import mir  # noqa: E402
from targets import ROOT, TARGETS, rust  # noqa: E402

if len(sys.argv) != 2 or sys.argv[1] not in TARGETS:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
TARGET = TARGETS[sys.argv[1]]
STUB = re.compile(r"8syscall[0-6]")  # a mangled name
COMPARE = {
    "x86_64": r"implicit-def \$eflags", "aarch64": r"implicit-def \$nzcv",
    # It has no conditional move: where a pointer comes back it compares twice, for a value and for a branch.
    "riscv64": r"\b(SLT|BLT|BGE)I?U?\b",
}[TARGET.name]
MOST_COMPARES, MOST_BRANCHES = (2, 1) if TARGET.name == "riscv64" else (1, 0)
POINTERS = {"mmap", "mmap_anonymous", "mremap"}  # what returns one
NEGATIONS = 1 if TARGET.name == "x86_64" else 0  # those that set flags, as a compare does
WORK = tempfile.TemporaryDirectory()
LOOPS = {"fill", "xor", "scale", "select"}


# ---- What is built ----------------------------------------------------------------------------

def new_folder():
    return Path(tempfile.mkdtemp(dir=WORK.name))


@lru_cache(maxsize=None)
def crate(tree, *flags):
    """The crate, compiled once for each set of flags: the folder that it is in, and its functions."""
    folder = new_folder()
    return folder, mir.functions(rust(TARGET, tree / "src/lib.rs", folder, *flags, "--emit=link,obj", name="rawmap"))


class Built:
    """A source of this folder and the crate under it, as object files and as LLVM's machine code."""

    def __init__(self, source, *flags, tree=ROOT, probe_flags=(), env=None):
        flags = ["--crate-type=lib", "-Copt-level=3", "-Cforce-unwind-tables=no", mir.FLAG, *flags]
        under, self.crate = crate(tree, *flags)
        folder = new_folder()
        self.probes = mir.functions(rust(TARGET, HERE / f"{source}.rs", folder, *flags, "--emit=obj", *probe_flags,
                                         "--extern", f"rawmap={under}/librawmap.rlib", name=source, env=env))
        self.crate_object, self.object = under / "rawmap.o", folder / f"{source}.o"


def broken(test, *changes):
    """A copy of the sources in which every change, (what stands there, by what it is replaced), was made."""
    tree = new_folder()
    for part in "src", "arch", "ci/disasm":
        shutil.copytree(ROOT / part, tree / part)
    shutil.copy(ROOT / "README.md", tree)
    file = tree / f"arch/{TARGET.name}.rs"
    for old, new in changes:
        text = file.read_text()
        changed = re.sub(old, new, text)
        test.assertNotEqual(text, changed, f"nothing to replace: {old}")
        file.write_text(changed)
    return tree


def raw_functions():
    return set(re.findall(r"^pub unsafe fn (\w+)", (ROOT / "src/raw.rs").read_text(), re.M))


def statics(object):
    """The names of an object file's statics."""
    with open(object, "rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return [it.name for it in table.iter_symbols() if it["st_info"]["type"] == "STT_OBJECT"]


def references(object):
    """Which symbols the code of an object file refers to, by section: {section: {name}}."""
    # Those only serve a linker that shortens code, and jumps within a function.
    local = re.compile(r"RELAX|ALIGN|BRANCH|JAL|RVC_BRANCH|RVC_JUMP|PCREL_LO12")
    found = {}
    with open(object, "rb") as file:
        elf = ELFFile(file)
        for section in elf.iter_sections("SHT_RELA"):
            if section.name.startswith(".rela.text"):
                table = elf.get_section(section["sh_link"])
                found[section.name] = {
                    table.get_symbol(it["r_info_sym"]).name or "a section" for it in section.iter_relocations()
                    if not local.search(describe_reloc_type(it["r_info_type"], elf))}
    return found


def instructions(object):
    """How many instructions each function of an object file has."""
    context, counts = pypcode.Context(TARGET.language), {}
    with open(object, "rb") as file:
        elf = ELFFile(file)
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]:
                code = elf.get_section(symbol["st_shndx"]).data()[symbol["st_value"]:][:symbol["st_size"]]
                listing = context.disassemble(code).instructions
                if sum(it.length for it in listing) != len(code):
                    raise SystemExit(f"can't disassemble {symbol.name}")
                counts[symbol.name] = sum(not it.mnem.startswith(("NOP", "nop")) for it in listing)
    return counts


# ---- The judges -------------------------------------------------------------------------------

def judge_results(built):
    """Each raw function touches no memory. Where a pointer comes back there is one compare, and else none: 0 is Ok."""
    wrong = [f"calls.rs has not the functions of raw.rs: {built.probes.keys() ^ raw_functions()}"] * (
        built.probes.keys() != raw_functions())
    for name, function in built.probes.items():
        compares = sum(bool(re.search(COMPARE, it.text.partition(" = ")[2] or it.text)) for it in function.instructions
                       if "implicit-def dead" not in it.text and not it.is_call)
        wrong += [f"{name} accesses memory: {it.text}" for it in function.instructions if it.accesses_memory]
        most = (MOST_COMPARES, MOST_BRANCHES) if name in POINTERS else (NEGATIONS, 0)
        if name in POINTERS and not compares or compares > most[0] or function.branches() > most[1]:
            wrong.append(f"{name} is decoded by {compares} compares and {function.branches()} branches")
    return wrong


def judge_references(built):
    """The raw functions and the stubs refer to stubs, and to nothing else."""
    stubs = {name: names for name, names in references(built.crate_object).items() if STUB.search(name)}
    wrong = [f"{section} refers to {name}" for section, names in (references(built.object) | stubs).items()
             for name in names if not STUB.search(name)]
    return wrong + [f"a static, {name}" for name in statics(built.object)]


def judge_length(built):
    """Each ours_* has no more instructions than its hand_*."""
    counts = instructions(built.object)
    pairs = {name: (count, counts[name.replace("ours_", "hand_")]) for name, count in counts.items()
             if name.startswith("ours_")}
    figures = ", ".join(f"{name[5:]} {ours}/{hand}" for name, (ours, hand) in pairs.items())
    print(f"{TARGET.name}: instructions, ours/by hand: {figures}")
    wrong = [f"{name} has {ours} instructions, and {hand} by hand"
             for name, (ours, hand) in pairs.items() if ours > hand]
    return wrong or ["there is nothing to compare"] * (not pairs)


def judge_stubs(built):
    """Where a stub is a function it is number, call, return."""
    counts = {name: count for name, count in instructions(built.crate_object).items() if STUB.search(name)}
    wrong = [f"{name} has {count} instructions" for name, count in counts.items() if count > 3]
    return wrong + [f"there are {len(counts)} stubs"] * (len(counts) != 7)


def judge_loops(functions):
    """The loops are made of vector instructions, call in the loop, and keep nothing across the call."""
    wrong = [f"no {name}" for name in LOOPS - functions.keys()]
    for name, function in functions.items():
        if name in LOOPS:
            vector = sum(bool(it.vectors_read | it.vectors_written) for it in function.instructions if not it.is_call)
            wrong += [f"{name} has no vector instruction, so this is void"] * (not vector)
            wrong += [f"{name} has no call in a loop, so this is void"] * (not function.calls_in_a_loop())
        if name in LOOPS or STUB.search(name):
            wrong += [f"{name}: {register} lives across {call}" for register, call in function.lives_across_calls()]
    return wrong


def judge_told(built, told):
    """The compiler is told which registers a call destroys. Not all of this can be seen in its code: LLVM takes care of
    vl and vtype at any inline assembly, for now. (That it is told of memory is ci/prove.sh's.)
    """
    functions = *built.crate.values(), *built.probes.values()
    calls = [it for function in functions for it in function.system_calls()]
    wrong = [f"not told of {', '.join(sorted(told - it.writes))}: {it.text[:80]}" for it in calls if told - it.writes]
    return wrong or ["no system call in the compiler's output"] * (not calls)


# ---- The reader ------------------------------------------------------------------------------

def one_loop(before, after):
    """A loop with a call, in LLVM's words."""
    return mir.functions(f"""# Machine code for function f: NoPHIs
Function Live Ins: $x0

bb.0 (%ir-block.1):
  successors: %bb.1(0x80000000); %bb.1(100.00%)
  liveins: $x0
  {before}

bb.1 (%ir-block.2, align 32):
; predecessors: %bb.0, %bb.1
  successors: %bb.2(0x04000000), %bb.1(0x7c000000); %bb.2(3.12%), %bb.1(96.88%)
  INLINEASM &"svc 0" [sideeffect] [mayload] [maystore] [attdialect], $0:[regdef], implicit-def $x0, $1:[clobber], \
implicit-def dead early-clobber $p0
  {after}
  CBZX killed $x0, %bb.1

bb.2:
; predecessors: %bb.1
  RET undef $lr

# End machine code for function f.
""")["f"]


class Reader(unittest.TestCase):
    def lives(self, before, after):
        return {register for register, _ in one_loop(before, after).lives_across_calls()}

    def test_a_register_that_is_read_after_the_call_lives_across_it(self):
        self.assertEqual(self.lives("$z0 = DUP_ZR_D $x1", "STR_ZXI renamable $z0, $sp, 0 :: (store (s128))"), {"z0"})
        self.assertEqual(self.lives("NOP", "VS2R_V killed renamable $v8m2, $x10"), {"v8", "v9"})
        self.assertEqual(self.lives("NOP", "ST2B renamable $z0_z1, killed $p3, $x0"), {"z0", "z1", "p3"})
        self.assertEqual(self.lives("NOP", "STRQui killed $q3, $sp, 0"), {"z3"})
        store = "PseudoVSE64_V_M2 $v1, $x1, $noreg, 6, implicit $vl, implicit $vtype"
        self.assertEqual(self.lives("NOP", store), {"v1", "vl", "vtype"})

    def test_one_that_is_written_first_does_not(self):
        self.assertEqual(self.lives("NOP", "renamable $z0 = LDR_ZXI $sp, 0\n  STR_ZXI $z0, $sp, 1"), set())
        vsetvl = "dead $x0 = PseudoVSETVLIX0 $x0, 217, implicit-def $vl, implicit-def $vtype"
        move = "$v1 = PseudoVMV undef $v1(tied-def 0), $x1, implicit $vl, implicit $vtype"
        self.assertEqual(self.lives("NOP", f"{vsetvl}\n  {move}"), set())

    def test_one_that_is_written_in_part_does(self):
        self.assertEqual(self.lives("NOP", "$z0 = MLA_ZPmZZ_B killed $p1, killed $z0(tied-def 0), $z2, $z3"),
                         {"z0", "z2", "z3", "p1"})

    def test_loops_branches_and_memory(self):
        stores = "STRXui $x1, $sp, 0 :: (store (s64))\n  frame-setup STRXui $lr, $sp, 1 :: (store (s64))"
        function = one_loop("NOP", stores)
        self.assertTrue(function.calls_in_a_loop())
        self.assertEqual(function.branches(), 1)
        self.assertEqual(sum(it.accesses_memory for it in function.instructions), 1)


# ---- The checks and the controls --------------------------------------------------------------

class Test(unittest.TestCase):
    def check(self, wrong):
        self.assertEqual(wrong, [])

    def control(self, wrong):
        self.assertNotEqual(wrong, [], "the check does not see it, so it proves nothing")
        print(f"{TARGET.name}: found, as it must: {wrong[0]}")


class Calls(Test):
    def setUp(self):
        self.calls = Built("calls")

    def test_results_come_back_in_registers_decoded_by_one_compare(self):
        self.check(judge_results(self.calls))

    def test_the_raw_functions_refer_to_nothing_but_stubs(self):
        self.check(judge_references(self.calls))

    def test_the_compiler_is_told_what_a_call_destroys(self):
        self.check(judge_told(self.calls, TARGET.told))
        self.check(judge_told(Built("calls", *TARGET.vectors), TARGET.told_with_vectors))

    def test_call_sites_are_no_longer_than_by_hand(self):
        self.check(judge_length(Built("sites")))

    def test_everything_compiles_unoptimized_with_frame_pointers(self):
        for vectors in [], TARGET.vectors:
            for source in "calls", "sites", "loops":
                Built(source, "-Copt-level=0", "-Cforce-frame-pointers=yes", "-Cdebug-assertions=yes", *vectors)

    def test_control_with_a_smaller_error_results_go_through_memory(self):
        self.control(judge_results(Built("calls", probe_flags=["--cfg", 'control="memory"'])))

    def test_control_with_a_panic_there_are_other_references(self):
        self.control(judge_references(Built("calls", probe_flags=["--cfg", 'control="panic"'])))


class Loops(Test):
    """In three ways: the crate and the loops are built with vectors; neither is, but the functions with the loops have
    vectors by an attribute; or the compiler sees all of it as one, and tells callers what a function destroys.
    """

    def built(self, tree=ROOT):
        built = Built("loops", *TARGET.vectors, tree=tree)
        return built.crate | built.probes

    def caller(self, tree=ROOT):
        # riscv64: the attribute is not stable yet.
        built = Built("loops", tree=tree, probe_flags=["--cfg", "caller"], env={"RUSTC_BOOTSTRAP": "1"})
        return built.crate | built.probes

    def module(self, tree=ROOT):
        tree = broken(self) if tree == ROOT else tree
        with open(tree / "src/lib.rs", "a") as file:
            file.write('\nextern crate self as rawmap;\n#[path = "../ci/disasm/loops.rs"]\nmod loops;\n')
        return mir.functions(rust(TARGET, tree / "src/lib.rs", tree, "--crate-type=lib", "-O", "--emit=obj", mir.FLAG,
                                  *TARGET.vectors, "-Cllvm-args=-enable-ipra", name="rawmap"))

    def test_nothing_lives_across_a_call(self):
        for way in self.built, self.caller, self.module:
            with self.subTest(way.__name__):
                self.check(judge_loops(way()))


class Aarch64(Loops):
    INLINE = r"#\[inline\(never\)\]", "#[inline]"
    VECTORS, PREDICATES = (r'out\("v\d+"\) _,', ""), (r'out\("p\d+"\) _,', "")

    def test_the_stubs_are_number_call_return(self):
        self.check(judge_stubs(Built("calls")))

    def test_control_nothing_is_clobbered_and_the_stub_is_inline(self):
        self.control(judge_loops(self.built(broken(self, self.INLINE, self.VECTORS, self.PREDICATES))))

    def test_control_the_stub_is_inline(self):
        self.control(judge_loops(self.caller(broken(self, self.INLINE))))

    def test_control_predicates_are_not_clobbered(self):
        self.control(judge_loops(self.module(broken(self, self.PREDICATES))))

    def test_control_vectors_are_not_clobbered(self):
        self.control(judge_loops(self.module(broken(self, self.VECTORS))))


class Riscv64(Loops):
    VECTORS = r'out\("v\d+"\) _,', ""

    def test_control_vectors_are_not_clobbered(self):
        for way in self.built, self.caller:
            with self.subTest(way.__name__):
                self.control(judge_loops(way(broken(self, self.VECTORS))))

    def test_control_vl_and_vtype_are_said_to_be_kept(self):
        tree = broken(self, (r"options\(nostack\)", "options(nostack, preserves_flags)"))
        self.control(judge_told(Built("calls", tree=tree), TARGET.told))


class X86_64(Test):
    def test_control_rcx_is_not_clobbered(self):
        tree = broken(self, (r'lateout\("rcx"\) _,', ""))
        self.control(judge_told(Built("calls", tree=tree), TARGET.told))

    def test_control_r11_is_not_clobbered(self):
        tree = broken(self, (r'lateout\("r11"\) _,', ""))
        self.control(judge_told(Built("calls", tree=tree), TARGET.told))


if __name__ == "__main__":
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    ours = {"x86_64": X86_64, "aarch64": Aarch64, "riscv64": Riscv64}[TARGET.name]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite([load(Reader), load(Calls), load(ours)]))
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(failed > 0)
