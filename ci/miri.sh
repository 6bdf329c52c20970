#!/usr/bin/env bash
# Do the tests that Miri can run pass under it, and does it report misuse of memory?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/miri.sh

Runs under Miri (strict provenance, Tree Borrows), whose system calls arch/miri.rs answers: the tests that
need no file, no /proc and no fork (three programs, these also as of aarch64 with pages of 16 KiB; and those
of other programs that ci/miri.txt names); the example allocator; and each misuse of tests/misuse.rs, which
Miri must report with the words that stand there.
Needs a nightly Rust from February 2026 on; installs its components miri and rust-src by rustup.
It takes about three minutes on two cores." "$@"

no_arguments "$@"
cd "$ROOT"
export CARGO_TARGET_DIR=target/nightly
export MIRIFLAGS="-Zmiri-strict-provenance -Zmiri-tree-borrows"
tests=(miri owners_miri owners_bytes)

need_cargo
use_nightly || die "$NO_NIGHTLY"
# The library's source is what Miri builds first; both are components of the toolchain.
sysroot=$(rustc "${NIGHTLY[@]}" --print sysroot)
if ! cargo "${NIGHTLY[@]}" miri --version >/dev/null 2>&1 || [[ ! -d $sysroot/lib/rustlib/src/rust/library ]]; then
  run timeout -k 5 300 rustup component add --toolchain nightly miri rust-src ||
    die 'rustup could not add miri and rust-src (above); by hand: rustup component add --toolchain nightly miri rust-src'
fi
date=$(rustc "${NIGHTLY[@]}" -Vv | sed -n 's/^commit-date: //p')
# miri_thread_spawn, which arch/miri.rs calls, came in January 2026.
[[ ! $date < 2026-02-01 ]] || die "this nightly Rust is of $date, and Miri's miri_thread_spawn is newer; with rustup: rustup update nightly"

miri() { nice cargo "${NIGHTLY[@]}" miri "$@"; }

make_work

say 'tests'
run_tests miri test "${tests[@]/#/--test=}"

say 'tests, with pages of 16 KiB'
run_tests miri test "${tests[@]/#/--test=}" --target aarch64-unknown-linux-gnu

say 'tests of ci/miri.txt'
while read -r program; do
  mapfile -t names < <(sed -n "s/^$program //p" ci/miri.txt)
  run_tests miri test --test "$program" -- --exact "${names[@]}" </dev/null
  grep -q $'^failed\t[1-9]' "$work/counts" ||
    [[ $(awk '$1 ~ /^(passed|skipped)$/ { n += $2 } END { print n }' "$work/counts") == "${#names[@]}" ]] ||
    fail "ci/miri.txt names a test that $program doesn't have"
done < <(sed -E 's/ .*//' ci/miri.txt | sort -u)

# Without the experimental rules of borrows: dlmalloc reaches beyond a block that it is given back, and points into
# itself, and they allow neither.
MIRIFLAGS='-Zmiri-disable-stacked-borrows' check 'the example allocator' run miri run --example allocator

say 'misuse, which Miri must report'
logged miri test --test misuse || die 'tests/misuse.rs does not build (above)'
list=$(sed -n 's/^test \([^ ]*\) \.\.\. ignored, \(.*\)$/\1|\2/p' "$work/log")
[[ -n $list ]] || die 'tests/misuse.rs has no test'
while IFS='|' read -r name message; do
  if miri test --test misuse -- --ignored --exact "$name" >"$work/log" 2>&1 </dev/null; then
    fail "misuse: $name" 'Miri does not report it'
  elif report=$(grep -m 1 -F "$message" "$work/log"); then
    pass
    say "$name: $report"
  else
    fail "misuse: $name" "Miri should say '$message', and says: $(grep -m 1 -o 'error: .*' "$work/log" || tail -n 1 "$work/log")"
  fi
done <<<"$list"

verdict
