#!/usr/bin/env bash
# Breaks the owners, one change at a time, and shows that the test named beside it fails.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/mutants-owners.sh [PATTERN]

For each line of ci/mutants-owners.txt (those that match PATTERN, when given), makes the change in a copy
of the working tree, and runs the test that the line names there: it must fail. Runs the tests unchanged
first, when they must pass. A line that names no test but a reason is printed, and must fit the source.
Takes some five seconds for each. Fails when a change went unseen, or a line does not fit." "$@"

cd "$ROOT"
pattern=${1:-}
list=ci/mutants-owners.txt
command -v python3 >/dev/null || need_packages python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xmf - -C "$work/tree"
export CARGO_TARGET_DIR=$ROOT/target/mutants-owners CARGO_TERM_COLOR=never

# run_test TEST: `--test FILE NAME`, or `--lib NAME`. Fails when the test does, or when none is so named.
run_test() {
  local words
  read -ra words <<<"$1"
  (cd "$work/tree" && timeout -k 10 300 cargo test "${words[@]}") >"$work/log" 2>&1 </dev/null &&
    grep -qE '^test result: ok\. [1-9]' "$work/log"
}

passed=0 failed=0 reasons=0
fail() {
  failed=$((failed + 1)) && say "$@"
}

lines=()
while IFS= read -r line; do
  [[ -n $line && $line != '#'* && $line =~ $pattern ]] && lines+=("$line")
done <"$list"
((${#lines[@]})) || die "no line of $list matches '$pattern'"

say 'unchanged'
while IFS= read -r test; do
  run_test "$test" || { tail -n 30 "$work/log" && die "the test fails as it is: $test"; }
done < <(printf '%s\n' "${lines[@]}" | sed -n 's/^\(--[^|]*[^| ]\) *|.*/\1/p' | sort -u)

for line in "${lines[@]}"; do
  test=${line%% | *} change=${line#* | } file=
  file=${change%% | *}
  cp "$work/tree/$file" "$work/kept"
  if ! what=$(python3 ci/mutant.py "$work/tree" "$change"); then
    fail "does not fit: $line"
  elif [[ $test != --* ]]; then
    reasons=$((reasons + 1)) && say "no test: $what: $test"
  elif run_test "$test"; then
    fail "MISSED: $what ($test)"
  elif ! grep -qE '^test result: FAILED' "$work/log"; then
    fail "BROKEN: $what" && tail -n 30 "$work/log"
  else
    passed=$((passed + 1)) && say "seen: $what ($test)"
  fi
  cp "$work/kept" "$work/tree/$file"
done

printf '%s passed, %s failed, 0 skipped; %s without a test, for the reasons above\n' "$passed" "$failed" "$reasons"
((failed == 0))
