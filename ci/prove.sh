#!/usr/bin/env bash
# Proves on machine code, for all inputs, that the crate's functions make the system calls that they document.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/prove.sh [ARCH...]

For each ARCH (x86_64, aarch64, riscv64; all three when none is named) compiles a probe for each function
of the crate in nine ways (levels of optimization, vectors), executes its machine code symbolically, and has a solver
prove for all arguments, all contents of memory and all answers of the kernel what ci/prove/claims.py
claims; and at one level what check.py claims of Call::check and owners.py of the owners. Where builds have the
same machine code it is proved once, and counted. Then breaks a copy of the crate in each way of
ci/prove/faults.txt, which must be refused.
Nothing is run, so no emulator is needed. The tools come from the Python registry (150 MB).
What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}.

  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

cd "$ROOT"
# shellcheck disable=SC2317 # called by with_prover
prove() { "$PYTHON" ci/prove/prove.py "$1"; }
with_prover prove "$@"
