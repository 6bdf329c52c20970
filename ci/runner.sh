#!/usr/bin/env bash
# How does cargo start a test program? In the emulator, if there is one, and without root's rights if asked to.
set -euo pipefail
usage="usage: ci/runner.sh [COMMAND...] -- PROGRAM [ARG...]

Runs PROGRAM by COMMAND, which may bound its time or memory.

  RAWMAP_RUNNER    the emulator in which it runs
  RAWMAP_AS_USER   a folder: root runs it as a user without any right, who may lock 8 MiB (as usual from
                   Linux 5.16 on), from a copy in that folder"
case ${1:-} in -h | --help) printf '%s\n' "$usage" && exit 0 ;; esac

command=()
while (($#)) && [[ $1 != -- ]]; do
  command+=("$1")
  shift
done
(($# >= 2)) || {
  printf '%s\n\nrunner.sh: there is no -- with a PROGRAM behind it\n' "$usage" >&2
  exit 2
}
program=$2
shift 2

if [[ -n ${RAWMAP_AS_USER:-} ]]; then
  # The folders in which the program and the emulator lie may be closed to other users.
  folder=$(mktemp -d "$RAWMAP_AS_USER/XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  cp "$program" ${RAWMAP_RUNNER:+"$RAWMAP_RUNNER"} "$folder"
  program=$folder/${program##*/}
  [[ -z ${RAWMAP_RUNNER:-} ]] || export RAWMAP_RUNNER=$folder/${RAWMAP_RUNNER##*/}
  export HOME=$folder TMPDIR=$folder
  nobody=65534
  chown -R "$nobody:$nobody" "$folder"
  ulimit -l 8192
  command+=(setpriv --reuid "$nobody" --regid "$nobody" --clear-groups)
fi
# Not by exec: this shell has to remove the folder.
"${command[@]}" ${RAWMAP_RUNNER:+"$RAWMAP_RUNNER"} "$program" "$@"
