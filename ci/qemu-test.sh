#!/usr/bin/env bash
# Does the whole suite pass on each architecture, natively and under QEMU's user mode?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/qemu-test.sh [ARCH...]

Runs the tests, the documentation's examples and examples/ for each ARCH: x86_64, aarch64, riscv64
(all three when none is named). This machine's own architecture runs natively, the others under QEMU.
All features are on. Run by root, it runs the tests a second time without root's rights: some answers
of the kernel depend on them.
What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}.
It takes ten minutes on two cores. Writes what was skipped to target/qemu-test.txt.
Fails when a test failed or an architecture ran none.

  RAWMAP_TEST_SECONDS   how long one test program may run (default 300)
  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

choose_arches "$@"
need_cargo
mapfile -t tools < <(linkers "${arches[@]}" && emulators "${arches[@]}")
need_tools "${tools[@]}" 'strace?' # strace is for one test, which can be skipped

cd "$ROOT"
seconds=${RAWMAP_TEST_SECONDS:-300}
# Under QEMU 7.2 a mapping of a huge range takes memory in proportion and eats the machine.
bytes=$((3 << 30))
lists=${CARGO_TARGET_DIR:-target}/qemu-test.txt
# Each with its arguments.
examples=(tour allocator guest short 'search 16' fibers clone talc wasmtime_platform)

released=(--test owners --test owners_reservation --test owners_bytes --test pools --test unsound)

# step WHAT: says where in the work we are.
step() {
  printf '\n'
  say "$arch: $* (at ${SECONDS} s)"
}

# The page size that a program of this architecture sees. That it runs at all shows that compiler,
# linker and emulator fit together, before anything more complicated is tried.
page_size() {
  local linker=CARGO_TARGET_${upper^^}_LINKER
  cat >"$work/probe.rs" <<'PROBE'
fn main() {
    let auxv = std::fs::read("/proc/self/auxv").unwrap();
    let words: Vec<usize> =
        auxv.chunks_exact(size_of::<usize>()).map(|w| usize::from_ne_bytes(w.try_into().unwrap())).collect();
    println!("{}", words.chunks_exact(2).find(|pair| pair[0] == 6).expect("no AT_PAGESZ")[1]);
}
PROBE
  # shellcheck disable=SC2086 # flags and runner are lists
  "${RUSTC:-rustc}" --edition 2024 ${CARGO_BUILD_TARGET:+--target "$TRIPLE"} ${RUSTFLAGS:-} \
    ${!linker:+-C "linker=${!linker}"} -o "$work/probe" "$work/probe.rs" &&
    $runner ${RAWMAP_RUNNER:+"$RAWMAP_RUNNER"} "$work/probe"
}

tests() { run_tests cargo test --all-features --no-fail-fast "$@"; }

test_arch() {
  local upper page kernel runner example
  use_target "$arch"
  upper=${TRIPLE//-/_}
  # --foreground: without it timeout puts what it runs into a group of its own, which Ctrl-C doesn't reach. KILL: QEMU
  # may not pass SIGTERM on.
  runner="timeout --foreground -s KILL $seconds"
  kernel="Linux $(uname -r)"
  unset RAWMAP_EMULATOR RAWMAP_RUNNER
  if [[ $arch != "$HOST_ARCH" ]]; then
    use_qemu_user "$arch"
    kernel="qemu-user $QEMU_VERSION"
    # Natively memory is not bounded, because some tests reserve a terabyte.
    runner="prlimit --data=$bytes $runner"
    export RAWMAP_EMULATOR=qemu-user-$QEMU_VERSION RAWMAP_RUNNER=$QEMU
    # If one test forks while another test's thread holds a lock of QEMU's, nobody unlocks it in the child.
    export RUST_TEST_THREADS=1
    say "emulator: $QEMU, version $QEMU_VERSION"
  fi
  say "compiler: $RUST_FROM"
  note kernel "$kernel"
  # Where cargo has to build the standard library first, rustc alone can't compile the probe.
  if [[ -n ${CARGO_UNSTABLE_BUILD_STD:-} ]]; then
    page=$(getconf PAGESIZE)
  else
    step 'a first program'
    page=$(page_size) || { fail 'no program of this architecture could be built and run' && return; }
  fi
  note page "$page"

  # In two steps, so that a program that doesn't build is told from one that dies.
  step 'build'
  run cargo test --no-run --all-features || { fail 'the build failed' && return; }
  # ci/runner.sh adds the emulator, whose path may have spaces, at which cargo would split.
  export "CARGO_TARGET_${upper^^}_RUNNER=bash ci/runner.sh $runner --"
  step "tests, run by $(id -un)"
  tests
  if ! grep -q '^ *Doc-tests ' "$work/log"; then
    skip "the documentation's examples" 'cargo before 1.89 does not run them for another target'
  fi
  step 'the examples'
  for example in "${examples[@]}"; do
    # shellcheck disable=SC2086 # a name and arguments
    if run cargo run --all-features --example ${example/ / -- }; then pass; else fail "the example $example"; fi
  done

  # The optimizer could break code that relies on invariants, and code that several threads run.
  step 'the owners, as a release builds them'
  tests --release "${released[@]}"

  end_row
  ((EUID == 0)) || return 0
  step "tests, without root's rights"
  begin_row "$arch:user"
  note kernel "$kernel"
  note page "$page"
  mkdir "$work/user"
  export RAWMAP_AS_USER=$work/user
  if RAWMAP_RUNNER='' bash ci/runner.sh -- "$(type -P true)"; then
    # These ask the kernel nothing that depends on the user; in an emulator some of the others are slow.
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
    skip "what an ordinary user meets" 'root cannot become one here (above)'
  fi
  rm -rf "$work/user"
  end_row
}

make_work
for arch in "${arches[@]}"; do
  begin_row "$arch:$(id -un)"
  apart test_arch
  ((status == 0)) || fail "the run ended early, with status $status"
done

mkdir -p "${lists%/*}"
verdict
