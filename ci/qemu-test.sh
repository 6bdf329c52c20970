#!/usr/bin/env bash
# The test command: builds and runs the whole suite, natively and under QEMU's user mode.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/qemu-test.sh [ARCH...]

Runs the tests, the documentation's examples and examples/ for each ARCH: x86_64, aarch64, riscv64
(all three when none is named). This machine's own architecture runs natively, the others under QEMU.
All features are on. Run by root, it runs the tests a second time without root's rights: some answers
of the kernel depend on them.
What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}.
Fails when a test failed or an architecture ran none.

  RAWMAP_TEST_SECONDS   how long one test program may run (default 300)
  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

arches=("$@")
((${#arches[@]})) || arches=(x86_64 aarch64 riscv64)
for arch in "${arches[@]}"; do
  case $arch in
    x86_64 | aarch64 | riscv64) ;;
    *)
      printf "%s: '%s' is not one of x86_64, aarch64, riscv64 (see --help)\n" "${0##*/}" "$arch" >&2
      exit 2
      ;;
  esac
done

need_cargo
mapfile -t tools < <(linkers "${arches[@]}" && emulators "${arches[@]}")
need_tools "${tools[@]}" 'strace?' # strace is for one test, which can be skipped

cd "$ROOT"
seconds=${RAWMAP_TEST_SECONDS:-300}
# Under QEMU 7.2 a mapping of a huge range takes memory in proportion and eats the machine.
bytes=$((3 << 30))
lists=${CARGO_TARGET_DIR:-target}/qemu-test.txt
results=$(mktemp -d)
mkdir "$results/rows"
trap 'rm -rf "$results"' EXIT
export CARGO_TERM_COLOR=never

# Each with its arguments.
examples=(tour allocator guest short 'search 16' fibers clone talc wasmtime_platform)

released=(--test owners --test owners_reservation --test owners_bytes --test pools --test unsound)

# step WHAT: says where in the work we are.
step() {
  printf '\n'
  say "$arch: $* (at ${SECONDS} s)"
}

# note KIND ...: adds a line to the result of this row of the table, as count.awk prints them.
note() {
  local IFS=$'\t'
  printf '%s\n' "$*" >>"$row"
}
fail() {
  note failed 1
  note failure "$@"
}

# The page size that a program of this architecture sees. That it runs at all shows that compiler,
# linker and emulator fit together, before anything more complicated is tried.
page_size() {
  local linker=CARGO_TARGET_${upper^^}_LINKER
  cat >"$results/probe.rs" <<'PROBE'
fn main() {
    let auxv = std::fs::read("/proc/self/auxv").unwrap();
    let words: Vec<usize> =
        auxv.chunks_exact(size_of::<usize>()).map(|w| usize::from_ne_bytes(w.try_into().unwrap())).collect();
    println!("{}", words.chunks_exact(2).find(|pair| pair[0] == 6).expect("no AT_PAGESZ")[1]);
}
PROBE
  # shellcheck disable=SC2086 # flags and runner are lists
  "${RUSTC:-rustc}" --edition 2024 ${CARGO_BUILD_TARGET:+--target "$TRIPLE"} ${RUSTFLAGS:-} \
    ${!linker:+-C "linker=${!linker}"} -o "$results/probe" "$results/probe.rs" &&
    $runner ${RAWMAP_RUNNER:+"$RAWMAP_RUNNER"} "$results/probe"
}

# tests ARGS...: runs and counts what `cargo test ARGS` runs.
tests() {
  local status=0 log=$results/log
  run cargo test --all-features --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
  awk -f ci/count.awk "$log" >"$results/counts"
  cat "$results/counts" >>"$row"
  if ! grep -qE $'^(passed|failed|skipped)\t[1-9]' "$results/counts"; then
    fail 'no test ran'
  elif ((status)) && grep -qx $'failed\t0' "$results/counts"; then
    fail "cargo test ended with status $status"
  fi
}

test_arch() {
  local upper page kernel runner example
  use_target "$arch"
  upper=${TRIPLE//-/_}
  # --foreground: otherwise it takes what it runs out of reach of Ctrl-C. SIGTERM and alarms don't get
  # through QEMU.
  runner="timeout --foreground -s KILL $seconds"
  kernel="Linux $(uname -r)"
  unset RAWMAP_EMULATOR RAWMAP_RUNNER
  if [[ $arch != "$HOST_ARCH" ]]; then
    use_qemu_user "$arch"
    kernel="qemu-user $QEMU_VERSION"
    # Natively there is no bound of memory: a test that reserves a terabyte would meet it.
    runner="prlimit --data=$bytes $runner"
    export RAWMAP_EMULATOR=qemu-user-$QEMU_VERSION RAWMAP_RUNNER=$QEMU
    # A test that forks while another one maps memory may do it while that one's thread holds a lock of
    # QEMU's, which then nobody gives back in the child.
    export RUST_TEST_THREADS=1
    say "emulator: $QEMU, version $QEMU_VERSION"
  fi
  say "compiler: $RUST_FROM"
  note kernel "$kernel"
  # The standard library may have to be built first: cargo does that, so the probe has to wait.
  if [[ -n ${CARGO_UNSTABLE_BUILD_STD:-} ]]; then
    page=$(getconf PAGESIZE)
  else
    step 'a first program'
    page=$(page_size) || { fail 'no program of this architecture could be built and run' && return; }
  fi
  note page "$page"

  # In two steps, so that a program that does not build and one that dies tell apart.
  step 'build'
  run cargo test --no-run --all-features || { fail 'the build failed' && return; }
  # ci/runner.sh adds the emulator, whose path may have spaces, at which cargo would split.
  export "CARGO_TARGET_${upper^^}_RUNNER=bash ci/runner.sh $runner --"
  step "tests, run by $(id -un)"
  tests
  if ! grep -q '^ *Doc-tests ' "$results/log"; then
    note skipped 1
    note skip "the documentation's examples" 'cargo before 1.89 does not run them for another target'
  fi
  step 'the examples'
  for example in "${examples[@]}"; do
    # shellcheck disable=SC2086 # a name and arguments
    if run cargo run --all-features --example ${example/ / -- }; then note passed 1; else fail "the example $example"; fi
  done

  # What the optimizer could break: code that rests on invariants, and several threads at it.
  step 'the owners, as a release builds them'
  tests --release "${released[@]}"

  ((EUID == 0)) || return 0
  step "tests, without root's rights"
  row=${row%:*}:user
  note kernel "$kernel"
  note page "$page"
  mkdir "$results/user"
  export RAWMAP_AS_USER=$results/user
  if RAWMAP_RUNNER='' bash ci/runner.sh -- "$(type -P true)"; then
    # What asks the kernel nothing, or in an emulator asks much, says the same to whoever runs it.
    without=(call constants decode flag_words rules)
    [[ -z ${RAWMAP_EMULATOR:-} ]] || without+=(check sequences miri owners_model)
    again=()
    for program in tests/*.rs; do
      program=$(basename "$program" .rs)
      [[ " ${without[*]} " == *" $program "* ]] || again+=(--test "$program")
    done
    say "not run again, since it says the same to whoever runs it: ${without[*]}"
    tests "${again[@]}"
  else
    note skipped 1
    note skip "what an ordinary user meets" 'root cannot become one here (above)'
  fi
  rm -rf "$results/user"
}

order=0
chmod 755 "$results"
for arch in "${arches[@]}"; do
  row=$results/rows/$((++order)):$arch:$(id -un)
  # Not `test_arch || ...`, which would switch off -e inside.
  set +e
  (
    set -e
    test_arch
  )
  status=$?
  set -e
  ((status == 0)) || fail "the run ended early, with status $status"
done

mkdir -p "${lists%/*}"
awk -f ci/table.awk -v lists="$lists" -v seconds="$SECONDS" "$results"/rows/*
