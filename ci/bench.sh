#!/usr/bin/env bash
# Counts what is exact about the crate and its peers: instructions, system calls and bytes of code of one job each.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/bench.sh [--check | ROW]

Builds benches/peers, with and without LTO, runs it, and writes the tables to benches/README.md; or of one ROW prints
them. With --check writes nothing, and fails where the crate's own instructions, calls or bytes are more than the
tables there say. Instructions and bytes are a compiler's: where the tables were made by another one, or on another
architecture, only calls are compared, and the rest counts as skipped." "$@"

cd "$ROOT"
check='' row='' passed=0 failed=0 skipped=0
case ${1:-} in
  --check) check=1 ;;
  *) row=${1:-} ;;
esac
report=benches/README.md
target=$(rustc -vV | sed -n 's/^host: //p')
machine="$(rustc --version), $target"
made=$(mktemp) && trap 'rm -f "$made" "$made.old" "$made.new"' EXIT

{
  printf '# What the crate costs beside its peers\n\n'
  printf 'Written by ci/bench.sh: %s.\n' "$machine"
  sed -n 's,^//! - ,- ,p; s,^//!   ,  ,p' benches/peers/src/main.rs
  cat <<'END'

Where a peer has fewer instructions: libc's `mmap` makes no `Result`, and leaves the error to `errno`. Where it has fewer
bytes, it has them in a library that it calls, as `libc` and `memmap2`, or in a function that is not part of the row.
END
  for profile in release no-lto; do
    printf '\n## %s\n\n' "$([[ $profile == release ]] && printf 'With fat LTO' || printf 'Without LTO')"
    cargo build --quiet --locked --manifest-path benches/peers/Cargo.toml --profile "$profile" >&2
    "benches/peers/target/$profile/peers" ${row:+"$row"}
  done
} >"$made"

if [[ -n $row ]]; then
  cat "$made"
elif [[ -z $check ]]; then
  cp "$made" "$report"
  printf 'written: %s\n' "$report"
else
  same=1
  grep -qF "$machine." "$report" || same=0
  # Lines "PROFILE ROW WHAT NUMBER", of the crate only.
  numbers() {
    awk -F' *[|] *' '/^## / { profile = $0 } $3 == "rawmap" {
      print profile "|" $2 "|instructions|" $4; print profile "|" $2 "|calls|" $5; print profile "|" $2 "|bytes|" $6 }' "$1" | sort
  }
  numbers "$report" >"$made.old"
  numbers "$made" >"$made.new"
  while IFS='|' read -r profile name what new; do
    old=$(awk -F'|' -v p="$profile" -v n="$name" -v w="$what" '$1 == p && $2 == n && $3 == w { print $4 }' "$made.old")
    if [[ $what != calls && $same == 0 ]]; then
      skipped=$((skipped + 1))
    elif [[ -n $old ]] && ((new <= old)); then
      passed=$((passed + 1))
    else
      printf 'FAILED: %s, %s: %s %s, and %s says %s; run ci/bench.sh and commit what it writes, with the reason\n' \
        "${profile#\#\# }" "$name" "$new" "$what" "$report" "${old:-nothing}"
      failed=$((failed + 1))
    fi
  done <"$made.new"
  ((passed + failed)) || { printf 'FAILED: no row\n' && failed=1; }
  ((skipped == 0)) || printf 'skipped: instructions and bytes, since %s was not made by %s\n' "$report" "$machine"
fi
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
