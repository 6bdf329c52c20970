"""What the psABIs and the kernel say of each architecture, and how Rust is compiled for it."""
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUSTC = os.environ.get("RUSTC", "rustc")


def numbered(prefix, first, last):
    return [f"{prefix}{n}" for n in range(first, last + 1)]


@dataclass(eq=False)
class Target:
    name: str
    triple: str
    # ---- The C calling convention; registers are named as Ghidra names them ----
    language: str  # Ghidra's name of the instruction set
    args: list
    results: list
    saved: list  # what a function gives back as it found it
    sp: str
    link: str | None  # the register that holds the return address; None where it is on the stack
    int_is_extended: bool  # whether the caller sign-extends an int to a register
    sp_alignment: int  # what the stack pointer is a multiple of, at every instruction
    red_zone: int  # bytes below the stack pointer that signal handlers leave alone
    # ---- The kernel's calling convention; sources: arch/*.rs ----
    instruction: str  # Ghidra's name of the system-call instruction
    number: str
    words: list
    answer: str
    destroyed: dict  # beside the answer: register, and from which of its bytes on
    # ---- The kernel's memory ----
    pages: list  # log2 of the page sizes that `check` is proved for
    address_space: int  # the largest TASK_SIZE
    # ---- What the compiler can be asked for ----
    vectors: list  # flags for a processor with other vectors than the default
    has_vector_loops: bool  # whether the kernel destroys vector registers
    told: set = field(default_factory=set)  # what the stubs must tell the compiler, as LLVM names it
    told_with_vectors: set = field(default_factory=set)


TARGETS = {target.name: target for target in (
    Target(
        "x86_64", "x86_64-unknown-linux-gnu", "x86:LE:64:default",
        args=["RDI", "RSI", "RDX", "RCX", "R8", "R9"], results=["RAX", "RDX"],
        saved=["RBX", "RBP", *numbered("R", 12, 15), "DF", "MXCSR", "FPUControlWord", "FS_OFFSET", "GS_OFFSET"],
        sp="RSP", link=None, int_is_extended=False, sp_alignment=8, red_zone=128,
        instruction="syscall", number="RAX", words=["RDI", "RSI", "RDX", "R10", "R8", "R9"], answer="RAX",
        destroyed={"RCX": 0, "R11": 0},
        pages=[12], address_space=(1 << 56) - 4096,
        vectors=["-Ctarget-cpu=x86-64-v3"], has_vector_loops=False,
        told={"ecx", "r11d"}, told_with_vectors={"ecx", "r11d"},
    ),
    Target(
        "aarch64", "aarch64-unknown-linux-gnu", "AARCH64:LE:64:v8A",
        args=numbered("x", 0, 7), results=["x0", "x1"],
        saved=[*numbered("x", 19, 29), *numbered("d", 8, 15), "fpcr", "tpidr_el0"],
        sp="sp", link="x30", int_is_extended=False, sp_alignment=16, red_zone=0,
        instruction="CallSupervisor", number="x8", words=numbered("x", 0, 5), answer="x0",
        destroyed=dict.fromkeys(numbered("p", 0, 15), 0) | dict.fromkeys(numbered("z", 0, 31), 16),
        pages=[12, 14, 16], address_space=1 << 52,
        vectors=["-Ctarget-feature=+lse,+sve"], has_vector_loops=True,
        told={*numbered("p", 0, 15)}, told_with_vectors={*numbered("p", 0, 15), *numbered("q", 0, 31)},
    ),
    Target(
        "riscv64", "riscv64gc-unknown-linux-gnu", "RISCV:LE:64:default",
        args=numbered("a", 0, 7), results=["a0", "a1"],
        saved=[*numbered("s", 0, 11), *numbered("fs", 0, 11), "gp", "tp", "frm", "fcsr"],
        sp="sp", link="ra", int_is_extended=True, sp_alignment=16, red_zone=0,
        instruction="ecall", number="a7", words=numbered("a", 0, 5), answer="a0",
        destroyed=dict.fromkeys([*numbered("v", 0, 31), "vl", "vtype"], 0),
        pages=[12], address_space=1 << 56,
        vectors=["-Ctarget-feature=+v"], has_vector_loops=True,
        told={"vl", "vtype"}, told_with_vectors={*numbered("v", 0, 31), "vl", "vtype"},
    ),
)}


def command(*words, env=None):
    """Runs a command, and returns what it printed: (stdout, stderr)."""
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, env=env and os.environ | env)
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)}:\n{done.stderr}")
    return done.stdout, done.stderr


def rust(target, source, folder, *flags, name, env=None):
    """Compiles one crate with the calling script's compiler; returns what LLVM was asked to print."""
    sysroot = ["--sysroot", os.environ["SYSROOT"]] if os.environ.get("SYSROOT") else []
    return command(RUSTC, "--edition=2024", "--target", target.triple, *sysroot, "-Cpanic=abort", "-Ccodegen-units=1",
                   "-Awarnings", "--crate-name", name, "--out-dir", folder, source, *flags, env=env)[1]


@lru_cache(maxsize=None)
def linker():
    """Rust's own, which links for every architecture; a distribution's Rust may have none, but then it has LLVM's."""
    host = re.search(r"^host: (.*)$", command(RUSTC, "-vV")[0], re.M)[1]
    own = Path(command(RUSTC, "--print", "sysroot")[0].strip(), "lib/rustlib", host, "bin/rust-lld")
    return [own, "-flavor", "gnu"] if own.exists() else ["ld.lld"]


def core_library(target):
    """The archive of Rust's core."""
    sysroot = os.environ.get("SYSROOT")
    folder = (Path(sysroot, "lib/rustlib", target.triple, "lib") if sysroot else
              Path(command(RUSTC, "--print", "target-libdir", "--target", target.triple)[0].strip()))
    return next(folder.glob("libcore-*.rlib"))


@lru_cache(maxsize=None)
def kernel_constants(target):
    """The kernel's own numbers, as the crate linux-raw-sys generates them from its headers."""
    metadata, _ = command("cargo", "metadata", "--locked", "--format-version=1", "--manifest-path", ROOT / "Cargo.toml")
    crate = next(Path(package["manifest_path"]).parent for package in json.loads(metadata)["packages"]
                 if package["name"] == "linux-raw-sys")
    text = (crate / "src" / target.name / "general.rs").read_text()
    return {name: int(value) for name, value in re.findall(r"pub const ((?:__NR|MAP)_\w+): u32 = (\d+);", text)}
