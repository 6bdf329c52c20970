#!/usr/bin/env bash
# Breaks rules of check, one at a time, and shows that the fuzzer finds each.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/mutants.sh [SECONDS] [PATTERN]

For each line of fuzz/mutants.txt (those that match PATTERN, when given), makes the change in a copy of the
working tree, and runs the fuzz target kernel there, from the committed seeds on, for SECONDS (default
60) at most: it must find a call about which check and the kernel don't agree. Runs it unchanged first,
when it must find nothing. Takes some ten seconds for each.
Fails when the target missed one, or a line of the list does not fit the source." "$@"

cd "$ROOT"
seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
pattern=${1:-}
need_tools python3 c++
need_cargo_fuzz

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$work/tree"
export CARGO_TARGET_DIR=$ROOT/target/mutants CARGO_TERM_COLOR=never

# fuzz_kernel: sets `found` to the disagreement and `took` to the seconds; fails when there is one.
fuzz_kernel() {
  local status=0 start=$SECONDS
  rm -rf "$work/corpus" && mkdir "$work/corpus"
  (cd "$work/tree" && timeout --foreground -k 10 $((seconds + 300)) cargo "${NIGHTLY[@]}" fuzz run -s none kernel "$work/corpus" fuzz/seeds/kernel -- \
    -max_total_time="$seconds" -dict=fuzz/edges.dict -timeout=60) >"$work/log" 2>&1 </dev/null || status=$?
  took=$((SECONDS - start))
  found=$(grep -m 1 -oE '^(unsound|incomplete): .*' "$work/log" || :)
  return "$status"
}

passed=0 failed=0
say "unchanged, for $seconds s"
if fuzz_kernel; then
  passed=$((passed + 1)) && say 'nothing is found'
else
  tail -n 30 "$work/log"
  die 'the target kernel fails as it is'
fi

while IFS= read -r line; do
  [[ -n $line && $line != '#'* && $line =~ $pattern ]] || continue
  status=0
  what=$(python3 ci/mutant.py "$work/tree/src/check" "$line") || status=$?
  if ((status)); then
    failed=$((failed + 1)) && say "does not fit: $line"
    continue
  fi
  if fuzz_kernel; then
    failed=$((failed + 1)) && say "MISSED: $what ($took s)"
  elif [[ -z $found ]]; then
    failed=$((failed + 1)) && say "BROKEN: $what"
    tail -n 30 "$work/log"
  else
    passed=$((passed + 1)) && say "found in $took s: $what"
    printf '   %s\n' "$found"
  fi
  cp src/check/*.rs "$work/tree/src/check"
done <fuzz/mutants.txt

((passed + failed > 1)) || die "no line of fuzz/mutants.txt matches '$pattern'"
printf '\n%s s\n' "$SECONDS"
printf '%s passed, %s failed, 0 skipped\n' "$passed" "$failed"
((failed == 0))
