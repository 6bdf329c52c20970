# shellcheck shell=bash
# What every script in ci/ begins with: arguments, messages, checks that stand apart, and the closing counts.
#
# Sourced, never run. It sources the rest, which is sorted by subject:
#   ci/lib/packages.sh   Debian's packages, installed or unpacked in the cache folder
#   ci/lib/rust.sh       a compiler and a standard library for each architecture
#   ci/lib/qemu.sh       emulators, of one program and of a machine
#
# Everything fetched lives in one folder that can be deleted at any time:
#   RAWMAP_CACHE   that folder (default: rawmap in XDG_CACHE_HOME or ~/.cache)
#   RAWMAP_RUST    where a cross target may come from, tried in order
#                  (default: "installed rustup debian build-std"; see use_target in ci/lib/rust.sh)
#
# What it sets is for the scripts that source it:
# shellcheck disable=SC2034
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${RAWMAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rawmap}
HOST_ARCH=$(uname -m)
PATH=$PATH:/usr/sbin:/sbin     # which an ordinary user of Debian doesn't have
export CARGO_TERM_COLOR=never # the scripts read what cargo prints
mkdir -p "$CACHE"

# shellcheck source=ci/lib/packages.sh
. "$ROOT/ci/lib/packages.sh"
# shellcheck source=ci/lib/rust.sh
. "$ROOT/ci/lib/rust.sh"
# shellcheck source=ci/lib/qemu.sh
. "$ROOT/ci/lib/qemu.sh"

# Ctrl-C ends the script whatever the program does that was running. By itself bash goes on when that program ends as if
# nothing had happened, as QEMU does. The signal is raised again, so that whoever started the script sees it, too.
end_when_interrupted() { trap 'trap - INT && kill -INT "$BASHPID"' INT; }
end_when_interrupted

# ---- Arguments and messages -------------------------------------------------------------------

say() { printf '== %s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Prints the command, then runs it.
run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

# usage_if_asked "TEXT" "$@": prints TEXT and leaves when the arguments ask for help. `refuse` prints it, too.
usage_if_asked() {
  local arg
  USAGE=$1
  shift
  for arg; do
    case $arg in -h | --help) printf '%s\n' "$USAGE" && exit 0 ;; esac
  done
}

# refuse REASON: prints the usage and why the arguments don't fit it, and leaves with status 2.
refuse() {
  printf '%s\n\n%s: %s\n' "$USAGE" "${0##*/}" "$*" >&2
  exit 2
}

# no_arguments "$@": for a script that takes none.
no_arguments() { (($# == 0)) || refuse "it takes no argument, and '$1' is one"; }

# choose_arches ARCH...: sets `arches` to these, and to all that the crate supports when none is named.
choose_arches() {
  local arch
  arches=("$@")
  (($#)) || arches=(x86_64 aarch64 riscv64)
  for arch in "${arches[@]}"; do
    case $arch in
      x86_64 | aarch64 | riscv64) ;;
      *) refuse "'$arch' is not one of x86_64, aarch64, riscv64" ;;
    esac
  done
}

# with_lock NAME CMD...: runs CMD while no other script of this machine holds the lock NAME. CMD must not change
# the shell's variables, because it runs in a subshell.
with_lock() {
  local lock=$CACHE/$1.lock
  shift
  (
    flock 9
    "$@"
  ) 9>"$lock"
}

# ---- Results ----------------------------------------------------------------------------------
#
# What a script finds out is kept in files, since most of it is found out in subshells. A file is a row of results,
# in the lines that ci/count.awk prints; ci/table.awk prints them all at the end.

# make_work: sets `work` to a folder that is removed when the script ends, and begins a row without a name.
make_work() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work" # programs that run as another user have folders in it
  mkdir "$work/rows"
  row=$work/rows/00
  : >"$row"
}

# begin_row NAME: what is noted from here on goes into a row of this name.
begin_row() {
  local there=("$work"/rows/*)
  row=$work/rows/$(printf '%02d:%s' "${#there[@]}" "$1")
  row_start=$SECONDS
  : >"$row"
}

end_row() { note seconds $((SECONDS - row_start)); }

# note KIND ...: adds a line to this row.
note() {
  local IFS=$'\t'
  printf '%s\n' "$*" >>"$row"
}

pass() { note passed 1; }

# fail WHAT [WHY]
fail() {
  note failed 1
  note failure "$@"
}

# skip WHAT WHY
skip() {
  note skipped 1
  note skip "$@"
}

# apart COMMAND...: runs it in a subshell, so that it may change its environment; it stops at the first error
# there. Sets `status`, and has none of its own: in `apart ... || ...` bash would not stop at an error inside.
apart() {
  set +e
  (
    set -e
    end_when_interrupted # a subshell begins without its shell's traps
    "$@"
  )
  status=$?
  set -e
}

# logged COMMAND...: runs it, and keeps all that it prints in $work/log, too.
logged() { "$@" 2>&1 | tee "$work/log"; }

# check NAME COMMAND...: runs it apart; says and notes how it ended.
check() {
  local name=$1 start=$SECONDS
  shift
  printf '\n'
  say "$name"
  apart "$@"
  case $status in
    0) pass && say "$name: passed ($((SECONDS - start)) s)" ;;
    "$CANNOT") say "$name: skipped" ;;
    *) fail "$name" && say "$name: FAILED ($((SECONDS - start)) s)" ;;
  esac
}

# cannot REASON: ends the check that calls it, which this machine can't make.
cannot() {
  say "$*"
  skip "$name" "$*"
  exit "$CANNOT"
}
CANNOT=77

# run_tests COMMAND...: runs a command like `cargo test`, and notes the tests that it ran. What they are is in
# $work/counts.
run_tests() {
  apart logged run "$@"
  awk -f "$ROOT/ci/count.awk" "$work/log" >"$work/counts"
  cat "$work/counts" >>"$row"
  if ! grep -qE $'^(passed|failed|skipped)\t[1-9]' "$work/counts"; then
    fail "no test ran, and the status was $status" "$*"
  elif ((status)) && grep -qx $'failed\t0' "$work/counts"; then
    fail "no test failed, and the status was $status" "$*"
  fi
}

# run_script NAME COMMAND...: runs a command whose last line are counts as `verdict` prints them, and adds them to
# this row. Sets `counts` to that line, and `status`. A command without such a line has failed.
run_script() {
  local name=$1
  shift
  apart logged "$@"
  counts=$(tail -n 1 "$work/log")
  if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    note passed "${BASH_REMATCH[1]}"
    note failed "${BASH_REMATCH[2]}"
    note skipped "${BASH_REMATCH[3]}"
    ((status == 0 || BASH_REMATCH[2] > 0)) || fail "$name" "nothing failed, and the status was $status"
  else
    counts="ended early, with status $status"
    fail "$name" "$counts"
    status=$((status ? status : 1))
  fi
}

# verdict: prints what failed, what was skipped and why (or writes it to the file `lists`, where that is set), the table
# of the rows that have names, the seconds, and as the last line the counts. Fails when something failed.
verdict() { awk -f "$ROOT/ci/table.awk" -v seconds="$SECONDS" -v lists="${lists:-}" "$work"/rows/*; }
