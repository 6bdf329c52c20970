#!/usr/bin/env bash
# Do the tests that Miri can run pass under it, and does it report misuse of memory?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/miri.sh

Runs under Miri (strict provenance, Tree Borrows), whose system calls arch/miri.rs answers: the tests that
need no file, no /proc and no fork (three programs, these also as of aarch64 with pages of 16 KiB; and those
of other programs that ci/miri.txt names); the example allocator; and each misuse of tests/misuse.rs, which
Miri must report with the words that stand there.
Needs a nightly Rust from 2026 on; installs its components miri and rust-src by rustup." "$@"

cd "$ROOT"
export CARGO_TERM_COLOR=never CARGO_TARGET_DIR=target/nightly
export MIRIFLAGS="-Zmiri-strict-provenance -Zmiri-tree-borrows"
tests=(miri owners_miri owners_bytes)
passed=0 failed=0

need_cargo
cargo +nightly -V >/dev/null 2>&1 ||
  die 'there is no nightly compiler; with rustup: rustup toolchain install nightly --profile minimal'
# The library's source is what Miri builds first; both are components of the toolchain.
sysroot=$(rustc +nightly --print sysroot)
if ! cargo +nightly miri --version >/dev/null 2>&1 || [[ ! -d $sysroot/lib/rustlib/src/rust/library ]]; then
  run timeout -k 5 300 rustup component add --toolchain nightly miri rust-src ||
    die 'rustup could not add miri and rust-src; by hand: rustup +nightly component add miri rust-src'
fi
date=$(rustc +nightly -Vv | sed -n 's/^commit-date: //p')
# miri_thread_spawn, which arch/miri.rs calls, came in January 2026.
[[ ! $date < 2026-02-01 ]] || die "this nightly is of $date, before Miri had threads of its own: rustup update nightly"

miri() { nice cargo +nightly miri "$@"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# suite ARGS...: runs tests, and counts them.
suite() {
  local status=0 here
  run miri "$@" >"$log" 2>&1 || status=$?
  cat "$log"
  passed=$((passed + $(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")))
  here=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")
  # What Miri reports ends the run before the tests are counted.
  failed=$((failed + (status && here == 0 ? 1 : here)))
}

say 'tests'
suite test "${tests[@]/#/--test=}"

say 'tests, with pages of 16 KiB'
suite test "${tests[@]/#/--test=}" --target aarch64-unknown-linux-gnu

say 'tests of ci/miri.txt'
while read -r program; do
  mapfile -t names < <(sed -n "s/^$program //p" ci/miri.txt)
  before=$passed wrong=$failed
  suite test --test "$program" -- --exact "${names[@]}" </dev/null
  ((failed > wrong || passed - before == ${#names[@]})) || die "ci/miri.txt names a test that $program has not"
done < <(sed -E 's/ .*//' ci/miri.txt | sort -u)

# dlmalloc reaches beyond a block that it is given back, and points into itself: that the experimental rules of borrows
# forbid. All else is looked at.
say 'the example allocator'
if MIRIFLAGS='-Zmiri-disable-stacked-borrows' run miri run --example allocator; then
  passed=$((passed + 1))
else
  failed=$((failed + 1))
fi

say 'misuse, which Miri must report'
miri test --test misuse >"$log" 2>&1 || die "tests/misuse.rs does not build: $(tail -n 20 "$log")"
list=$(sed -n 's/^test \([^ ]*\) \.\.\. ignored, \(.*\)$/\1|\2/p' "$log")
[[ -n $list ]] || die 'tests/misuse.rs has no test'
while IFS='|' read -r name message; do
  if miri test --test misuse -- --ignored --exact "$name" >"$log" 2>&1 </dev/null; then
    failed=$((failed + 1)) && say "NOT REPORTED: $name"
  elif report=$(grep -m 1 -F "$message" "$log"); then
    passed=$((passed + 1)) && say "$name: $report"
  else
    failed=$((failed + 1)) && say "OTHERWISE: $name: $(grep -m 1 -o 'error: .*' "$log"), not '$message'"
  fi
done <<<"$list"

printf '\n%s s\n' "$SECONDS"
printf '%s passed, %s failed, 0 skipped\n' "$passed" "$failed"
((failed == 0))
