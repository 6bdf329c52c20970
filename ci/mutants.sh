#!/usr/bin/env bash
# Is each mistake in check's list of rules, and in their conditions, told by a recorded verdict?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/mutants.sh

Makes every mutant of the list of rules (RULES in src/check/rules.rs): each rule dropped, each error
changed, each version moved, each question without one of its errors. A verdict in tests/verdicts.txt
must differ under each. Then makes calls on this kernel, and says how many mutants its own answers
tell. The list is data, so nothing is compiled again: it takes seconds.
Then makes every mistake in a condition (ci/conditions.py), all of them in one copy of the crate, which
takes a minute to compile. A verdict in tests/verdicts.txt or tests/boundaries.txt must differ under
each, or ci/conditions.rs must say why none can.
It takes two minutes. Fails when a mutant survives; where the list is right, record the verdicts again:
  RAWMAP_RECORD=1 ci/mutants.sh" "$@"

no_arguments "$@"
need_cargo
need_tools cc python3
cd "$ROOT"
copy=$ROOT/target/conditions
make_work

# The test of the conditions, beside a copy of the crate without the other tests and what they depend on.
copy_with_mistakes() {
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
}

say 'mistakes in the list of rules' # of these tests, the one whose name has `recorded` records
run_tests cargo test --release --test rules ${RAWMAP_RECORD:+recorded} -- --nocapture --test-threads=1
say 'mistakes in conditions'
copy_with_mistakes
RUSTFLAGS='--cap-lints allow' run_tests cargo test --offline --manifest-path "$copy/Cargo.toml" --test conditions -- --nocapture
[[ -z ${RAWMAP_RECORD:-} ]] || cp "$copy/tests/boundaries.txt" tests
verdict
