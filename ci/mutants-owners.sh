#!/usr/bin/env bash
# Does a test see each change that breaks the owners?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/mutants-owners.sh [PATTERN]

For each line of ci/mutants-owners.txt (those that match PATTERN, when given), makes the change in a copy
of the working tree, and runs the test that the line names there: it must fail. Runs the tests unchanged
first, when they must pass. A line that names no test but a reason is printed, and must fit the source.
It takes some five seconds for each. Fails when a change went unseen, or a line does not fit." "$@"

(($# <= 1)) || refuse "it takes one pattern, and '$2' is another"
need_cargo
need_tools cc git python3
cd "$ROOT"
pattern=${1:-}
list=ci/mutants-owners.txt

make_work
mkdir "$work/tree"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xmf - -C "$work/tree"
export CARGO_TARGET_DIR=$ROOT/target/mutants-owners

# run_test TEST: `--test FILE NAME`, or `--lib NAME`. Fails when the test does, or when none is so named.
run_test() {
  local words
  read -ra words <<<"$1"
  (cd "$work/tree" && timeout -k 10 300 cargo test "${words[@]}") >"$work/log" 2>&1 </dev/null &&
    grep -qE '^test result: ok\. [1-9]' "$work/log"
}

reasons=0
lines=()
while IFS= read -r line; do
  [[ -z $line || $line == '#'* || ! $line =~ $pattern ]] || lines+=("$line")
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
    fail 'a line that does not fit' "$line"
  elif [[ $test != --* ]]; then
    reasons=$((reasons + 1)) && say "no test: $what: $test"
  elif run_test "$test"; then
    fail "$what" "not seen by $test"
  elif ! grep -qE '^test result: FAILED' "$work/log"; then
    fail "$what" "$test did not come to an end: most likely the change doesn't compile (above)"
    tail -n 30 "$work/log"
  else
    pass
    say "seen: $what ($test)"
  fi
  cp "$work/kept" "$work/tree/$file"
done

say "without a test, for the reasons above: $reasons"
verdict
