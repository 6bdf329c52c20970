#!/usr/bin/env bash
# The test command: builds and runs the whole suite, natively and under QEMU's user mode.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/qemu-test.sh [ARCH...]

Runs the tests, the documentation's examples and examples/ for each ARCH: x86_64, aarch64, riscv64
(all three when none is named). This machine's own architecture runs natively, the others under QEMU.
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

cd "$ROOT"
seconds=${RAWMAP_TEST_SECONDS:-300}
# Under QEMU 7.2 a mapping of a huge range takes memory in proportion and eats the machine.
bytes=$((3 << 30))
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export CARGO_TERM_COLOR=never

features=('')
grep -q '^std *=' Cargo.toml && features+=(std)
# Each with its arguments.
examples=(tour allocator guest 'search 16')
steps=$((2 + 2 * ${#features[@]}))

# step WHAT: says where in the work we are.
step() {
  printf '\n'
  say "$arch, step $((++at)) of $steps: $* (at ${SECONDS} s)"
}

# note KIND ...: adds a line to the result of this architecture, as count.awk prints them.
note() {
  local IFS=$'\t'
  printf '%s\n' "$*" >>"$results/$arch"
}

# Prints the command, runs it, and keeps what it prints in $log too.
logged() { run "$@" 2>&1 | tee "$log"; }

# The page size that a program of this architecture sees. That it runs at all shows that compiler,
# linker and emulator fit together, before anything more complicated is tried.
page_size() {
  local upper=${TRIPLE//-/_} linker
  linker=CARGO_TARGET_${upper^^}_LINKER
  cat >"$results/probe.rs" <<'EOF'
fn main() {
    let auxv = std::fs::read("/proc/self/auxv").unwrap();
    let words: Vec<usize> =
        auxv.chunks_exact(size_of::<usize>()).map(|w| usize::from_ne_bytes(w.try_into().unwrap())).collect();
    println!("{}", words.chunks_exact(2).find(|pair| pair[0] == 6).expect("no AT_PAGESZ")[1]);
}
EOF
  # shellcheck disable=SC2086 # flags and runner are lists
  "${RUSTC:-rustc}" --edition 2024 ${CARGO_BUILD_TARGET:+--target "$TRIPLE"} ${RUSTFLAGS:-} \
    ${!linker:+-C "linker=${!linker}"} -o "$results/probe" "$results/probe.rs" &&
    $runner "$results/probe"
}

test_arch() {
  local feature upper page runner="timeout -s KILL $seconds" at=0 log=$results/log status
  step 'compiler and emulator'
  use_target "$arch"
  upper=${TRIPLE//-/_}
  unset RAWMAP_EMULATOR RAWMAP_RUNNER
  if [[ $arch == "$HOST_ARCH" ]]; then
    note kernel "Linux $(uname -r)"
    command -v strace >/dev/null || ! command -v apt-get >/dev/null || need_packages strace # for tests/call.rs
  else
    need_linker "$arch"
    use_qemu_user "$arch"
    note kernel "qemu-user $QEMU_VERSION"
    # By name, since cargo splits the runner at spaces and a path may have some.
    [[ $(command -v "${QEMU##*/}") == "$QEMU" ]] || PATH=${QEMU%/*}:$PATH
    # SIGTERM and alarms don't get through QEMU.
    runner="prlimit --data=$bytes $runner ${QEMU##*/}"
    export RAWMAP_EMULATOR=qemu-user-$QEMU_VERSION RAWMAP_RUNNER=$QEMU
    say "emulator: $QEMU, version $QEMU_VERSION"
  fi
  say "compiler: $RUST_FROM"
  # Natively there is no bound of memory: a test that reserves a terabyte would meet it.
  export "CARGO_TARGET_${upper^^}_RUNNER=$runner"
  # The standard library may have to be built first: cargo does that, so the probe has to wait.
  if [[ -n ${CARGO_UNSTABLE_BUILD_STD:-} ]]; then
    page=$(getconf PAGESIZE)
  else
    page=$(page_size) || { note failure 'no program of this architecture could be built and run'; return 1; }
  fi
  note page "$page"

  for feature in "${features[@]}"; do
    # In two steps, so that a program that does not build and one that dies tell apart.
    step "build ${feature:+with the feature $feature}"
    if ! run cargo test --no-run ${feature:+--features "$feature"}; then
      note failed 1
      note failure "the build ${feature:+with the feature $feature }failed"
      at=$((at + 1))
      continue
    fi
    step "tests ${feature:+with the feature $feature}"
    status=0
    logged cargo test --no-fail-fast ${feature:+--features "$feature"} || status=$?
    awk -f ci/count.awk "$log" >"$results/counts"
    cat "$results/counts" >>"$results/$arch"
    if ((status == 0)) && ! grep -q '^ *Doc-tests ' "$log"; then
      note skipped 1
      note skip "the documentation's examples" 'cargo before 1.89 does not run them for another target'
    fi
    if ! grep -qE $'^(passed|failed|skipped)\t[1-9]' "$results/counts"; then
      note failed 1
      note failure "no test ran ${feature:+with the feature $feature}"
    elif ((status)) && grep -qx $'failed\t0' "$results/counts"; then
      note failed 1
      note failure "cargo test ${feature:+--features $feature }ended with status $status"
    fi
  done

  step 'the examples'
  local example
  for example in "${examples[@]}"; do
    # shellcheck disable=SC2086 # a name and arguments
    if run cargo run --example ${example/ / -- }; then
      note passed 1
    else
      note failed 1
      note failure "cargo run --example ${example/ / -- }"
    fi
  done
}

for arch in "${arches[@]}"; do
  : >"$results/$arch"
  status=0
  # Not `test_arch || ...`, which would switch off -e inside.
  set +e
  (
    set -e
    test_arch
  )
  status=$?
  set -e
  if ((status)); then
    note failed 1
    note failure "the run ended early, with status $status"
  fi
done

# sum KIND ARCH...: the sum of the lines `KIND N`.
sum() {
  local kind=$1
  shift
  (cd "$results" && cat "$@") | awk -F '\t' -v kind="$kind" '$1 == kind { n += $2 } END { print n + 0 }'
}

row() { printf '%-9s  %-28s  %9s  %7s  %7s  %7s  %19s\n' "$@"; }
value() { awk -F '\t' -v kind="$1" '$1 == kind { v = $2 } END { print v == "" ? "-" : v }' "$results/$arch"; }
# lines KIND: the distinct lines `KIND TEST REASON` of an architecture.
lines() { awk -F '\t' -v kind="$1" '$1 == kind && !seen[$0]++' "$results/$arch"; }

printf '\n'
row arch 'kernel or emulator' 'page size' passed failed skipped 'emulator departures'
for arch in "${arches[@]}"; do
  row "$arch" "$(value kernel)" "$(value page)" "$(sum passed "$arch")" "$(sum failed "$arch")" \
    "$(sum skipped "$arch")" "$(lines departure | wc -l)"
done
for kind in failure skip departure; do
  case $kind in
    failure) title='failed' ;;
    skip) title='skipped, and why' ;;
    departure) title='where the emulator departs from Linux, as the tests expect' ;;
  esac
  for arch in "${arches[@]}"; do
    lines "$kind" | while IFS=$'\t' read -r _ what why; do
      printf '  %-8s %s%s\n' "$arch" "$what" "${why:+: $why}"
    done
  done >"$results/list"
  if [[ -s $results/list ]]; then
    printf '\n%s:\n' "$title"
    cat "$results/list"
  fi
done

passed=$(sum passed "${arches[@]}") failed=$(sum failed "${arches[@]}") skipped=$(sum skipped "${arches[@]}")
printf '\n%s s\n' "$SECONDS"
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
