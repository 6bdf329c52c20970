#!/usr/bin/env bash
# Do the crate's functions make the system calls that they document, for all inputs? Proves it on machine code.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/lib/prover.sh
. "$ROOT/ci/lib/prover.sh"

usage_if_asked "usage: ci/prove.sh [ARCH...]

For each ARCH (x86_64, aarch64, riscv64; all three when none is named):

1. checks that each public function that makes a call is in the list of ci/prove/probes.rs;
2. compiles that file's probes, small functions that call those of the crate, in nine ways (levels of
   optimization, LTO, vectors and so on), executes their machine code with symbols for arguments, memory and the
   kernel's answers, and has a solver prove for all values of these what ci/prove/claims.py claims; and at
   opt-level 3 what check.py claims of Call::check, and owners.py of owners;
3. breaks a copy of the crate in each way of ci/prove/faults.txt, which must be refused.

A line says of each build how many probes are proved; code that another build has as well is proved once. Whatever
is not proved is a line with FAILED, the claim, and inputs for which it doesn't hold; then the script fails.

Nothing is run, so no emulator is needed. The tools come from the Python registry (150 MB). It takes about seven
minutes on two cores. What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}.

  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

cd "$ROOT"
with_prover ci/prove/prove.py "$@"
