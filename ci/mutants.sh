#!/usr/bin/env bash
# Shows that each mistake in check's list of rules is told by a recorded verdict.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/mutants.sh

Makes every mutant of the list of rules (RULES in src/check/rules.rs): each rule dropped, each error
changed, each version moved, each question without one of its errors. A verdict in tests/verdicts.txt
must differ under each. Then makes calls on this kernel, and says how many mutants its own answers
tell. The list is data, so nothing is compiled again: it takes seconds.
Then makes every mistake in a condition (ci/conditions.py), all of them in one copy of the crate, which
takes a minute to compile. A verdict in tests/verdicts.txt or tests/boundaries.txt must differ under
each, or ci/conditions.rs say why none can.
Fails when a mutant survives; then record verdicts again, when the list is right:
  RAWMAP_RECORD=1 ci/mutants.sh" "$@"

cd "$ROOT"
need_cargo
export CARGO_TERM_COLOR=never
log=$(mktemp) copy=$ROOT/target/conditions
trap 'rm -f "$log"' EXIT

# The tests of the list itself; the first of them is the one that records.
list() { run cargo test --release --test rules ${RAWMAP_RECORD:+recorded} -- --nocapture --test-threads=1; }

# The test of the conditions, beside a copy of the crate without the other tests and what they depend on.
conditions() {
  rm -rf "$copy/src" "$copy/tests"
  mkdir -p "$copy/tests/differential"
  cp -r src arch README.md "$copy"
  cp -r tests/verdicts tests/verdicts.txt tests/boundaries.txt ci/conditions.rs "$copy/tests"
  cp tests/differential/source.rs "$copy/tests/differential"
  cat >"$copy/Cargo.toml" <<'TOML'
[package]
name = "rawmap"
edition = "2024"
[features]
std = []
[profile.dev]
debug = false
debug-assertions = false
incremental = false # twice as fast
overflow-checks = false
[workspace]
TOML
  python3 ci/conditions.py "$copy"
  RUSTFLAGS='--cap-lints allow' run cargo test --offline --manifest-path "$copy/Cargo.toml" --test conditions -- --nocapture
  [[ -z ${RAWMAP_RECORD:-} ]] || cp "$copy/tests/boundaries.txt" tests
}

{
  list || echo failed
  conditions || echo failed
} 2>&1 | tee "$log"
sed -n 's/.*test result: .* \([0-9]*\) passed; \([0-9]*\) failed; .*/\1 \2/p' "$log" | awk -v failed="$(grep -cx failed "$log")" '
  { passed += $1; bad += $2 }
  END { if (bad < failed) bad = failed; printf "%d passed, %d failed, 0 skipped\n", passed, bad; exit bad > 0 }'
