#!/usr/bin/env bash
# How are calls compiled, and what lives in vector registers across them?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/lib/prover.sh
. "$ROOT/ci/lib/prover.sh"

usage_if_asked "usage: ci/disasm.sh [ARCH...]

Compiles the sources in ci/disasm for each ARCH (x86_64, aarch64, riscv64; all three when none is
named) and looks at the object files and at LLVM's machine code. Nothing is run, so no emulator is
needed. It checks that
- results come back in registers: a pointer decoded by one compare, all else by none;
- a call site is no longer than one written by hand;
- the raw functions refer to nothing but the system-call stub;
- no vector or predicate register lives across a call, on the architectures whose kernel destroys them;
- the compiler is told of all that a call destroys;
- everything compiles unoptimized, with frame pointers.
Where a check could pass by overlooking something, it is also made on a copy that is broken on purpose,
and must fail there. What each call does is for ci/prove.sh.
It takes about three minutes on two cores.
What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}.

  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

cd "$ROOT"
with_prover ci/disasm/test_compiled.py "$@"
