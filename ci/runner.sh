#!/usr/bin/env bash
# How cargo starts a test program: in the emulator, if there is one, and without root's rights if asked to.
set -euo pipefail
case ${1:-} in
  '' | -h | --help)
    printf '%s\n' "usage: ci/runner.sh [COMMAND...] -- PROGRAM [ARG...]

Runs PROGRAM by COMMAND, which may bound its time or memory.

  RAWMAP_RUNNER    the emulator in which it runs
  RAWMAP_AS_USER   a folder: root runs it as a user without any right, who may lock 8 MiB (as usual from
                   Linux 5.16 on), from a copy in that folder"
    exit 0
    ;;
esac

command=()
while [[ $1 != -- ]]; do
  command+=("$1")
  shift
done
program=$2
shift 2

if [[ -n ${RAWMAP_AS_USER:-} ]]; then
  # Where it was built, and where the emulator is, may be closed to others.
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
# Not exec, which would leave the folder behind.
${command[@]+"${command[@]}"} ${RAWMAP_RUNNER:+"$RAWMAP_RUNNER"} "$program" "$@"
