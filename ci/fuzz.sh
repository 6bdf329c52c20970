#!/usr/bin/env bash
# Do the fuzz targets find anything, each in a while?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/fuzz.sh [SECONDS] [TARGET...]

Runs each TARGET in fuzz/ (all of them when none is named) for SECONDS (default 60) on this machine's
kernel, and prints executions, coverage and how the corpus grew. fuzz/README.md says what they assert.
It begins with fuzz/seeds and with what earlier runs kept in fuzz/target/corpus, where it also keeps
what it finds; it writes nowhere else. Needs a nightly compiler, and installs cargo-fuzz when missing.
Fails when a target found something, and says how to see it again.
It takes SECONDS for each target, and half a minute or more to build." "$@"

cd "$ROOT"
seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
known=()
for file in fuzz/seeds/*; do known+=("${file##*/}"); done
targets=("$@")
((${#targets[@]})) || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [[ " ${known[*]} " == *" $target "* ]] || {
    refuse "'$target' is not one of ${known[*]}"
  }
done

need_cargo
use_nightly || die "$NO_NIGHTLY" # libFuzzer needs it
need_tools c++ # libFuzzer is compiled here
cargo fuzz --version >/dev/null 2>&1 || with_lock cargo-fuzz run cargo install cargo-fuzz --locked ||
  die "cargo could not install cargo-fuzz (above); install it by hand, then run this again"
make_work

# The crate calls the kernel by itself, which a sanitizer doesn't see: -s none. libFuzzer's own limits
# don't hold where its timer is blocked (tests/dispatch).
fuzz() { local command=$1 && shift && run timeout --foreground -k 10 $((seconds + 900)) cargo "${NIGHTLY[@]}" fuzz "$command" -s none "$@"; }

say "building: ${targets[*]}"
only=()
((${#targets[@]} > 1)) || only=("${targets[@]}")
fuzz build "${only[@]}" || die "fuzz/ does not build"

table=() again=()
line() { printf '%-10s  %11s  %8s  %9s  %9s  %7s\n' "$@"; }
for target in "${targets[@]}"; do
  printf '\n'
  say "$target for $seconds s"
  corpus=fuzz/target/corpus/$target log=fuzz/target/$target.log status=0
  mkdir -p "$corpus"
  before=$(find "$corpus" -type f | wc -l)
  fuzz run "$target" "$corpus" "fuzz/seeds/$target" -- -max_total_time="$seconds" -dict=fuzz/edges.dict \
    -timeout=60 -print_final_stats=1 -verbosity=1 >"$log" 2>&1 </dev/null || status=$?
  after=$(find "$corpus" -type f | wc -l)
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  edges=$(sed -n 's/^#[0-9]*.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  # What the target itself counted comes after libFuzzer's numbers.
  sed -n 's/^tally: //p' "$log"
  if ((status == 0)) && ((${runs:-0} > 0)); then
    pass
    ended=clean
  elif grep -q 'syscall user dispatch' "$log"; then
    skip "$target" 'this kernel has no syscall user dispatch'
    ended=skipped
  else
    fail "$target" "all that it said is in $log"
    ended=FAILED
    sed -E '/^(#[0-9]|INFO:|stat::|".*# Uses)/d' "$log" | tail -n 60
    input=$(sed -n 's/.*Test unit written to \(.*\)$/\1/p' "$log" | tail -n 1)
    [[ -z $input ]] || again+=("to see it again: cargo ${NIGHTLY[*]} fuzz run -s none $target $input"$'\n')
  fi
  table+=("$(line "$target" "${runs:--}" "${rate:--}" "${edges:--}" "$before+$((after - before))" "$ended")")
done

printf '\n'
line target executions 'per s' 'coverage' 'corpus' verdict
printf '%s\n' "${table[@]}"
printf '%s' "${again[@]}"
verdict
