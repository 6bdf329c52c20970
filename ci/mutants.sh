#!/usr/bin/env bash
# Shows that each mistake in check's list of rules is told by a recorded verdict.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/mutants.sh

Makes every mutant of the list of rules (RULES in src/check/rules.rs): each rule dropped, each error
changed, each version moved, each question without one of its errors. A verdict in tests/verdicts.txt
must differ under each. Then makes calls on this kernel, and says how many mutants its own answers
tell. The list is data, so nothing is compiled again: it takes seconds.
Fails when a mutant survives; then record verdicts again, when the list is right:
  RAWMAP_RECORD=1 cargo test --release --test rules" "$@"

cd "$ROOT"
need_cargo
export CARGO_TERM_COLOR=never
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
run cargo test --release --test rules -- --nocapture --test-threads=1 2>&1 | tee "$log" || status=$?
counts=$(sed -n 's/.*test result: .* \([0-9]*\) passed; \([0-9]*\) failed; .*/\1 passed, \2 failed, 0 skipped/p' "$log")
printf '%s\n' "${counts:-0 passed, 1 failed, 0 skipped}"
exit "$status"
