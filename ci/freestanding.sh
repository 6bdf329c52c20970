#!/usr/bin/env bash
# Does examples/freestanding, which has no libc and no standard library, need nothing, and work?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/freestanding.sh [ARCH...]

Builds the program for each ARCH: x86_64, aarch64, riscv64 (all three when none is named), checks that
it is static and needs nothing, and that it counts lines as wc does: natively or under QEMU's user mode.
For this machine's own architecture, checks formatting and lints too. Prints the program's size.
It takes half a minute. What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}." "$@"

choose_arches "$@"
need_cargo
mapfile -t tools < <(linkers "${arches[@]}" && emulators "${arches[@]}")
need_tools "${tools[@]}" readelf
cd "$ROOT/examples/freestanding"
export CARGO_TARGET_DIR=$ROOT/target/freestanding
make_work

# What a static program at fixed addresses doesn't have.
needs_nothing() {
  local shown
  shown=$(readelf -W --program-headers --dynamic --relocs --dyn-syms "$program")
  ! grep -E 'INTERP|DYNAMIC|NEEDED|R_[A-Z0-9]+_|^ +[0-9]+: ' <<<"$shown"
}

# The linker refuses undefined symbols of a static program, unless they are weak.
no_undefined_symbol() {
  local symbols
  symbols=$(readelf -W --syms "$unstripped")
  grep -q ' _start$' <<<"$symbols" || return 1 # it was stripped, and there is nothing to look at
  ! awk '$7 == "UND" && $8 != ""' <<<"$symbols" | grep .
}

# Without unwind tables, LLVM 20 to 22 miscompile what they outline: see arch/riscv64.rs.
nothing_outlined() {
  local symbols
  symbols=$(readelf -W --syms "$unstripped")
  ! grep OUTLINED_FUNCTION <<<"$symbols"
}

# counts FILE...: the program says of each what wc says.
counts() {
  local status=0 file
  $runner "$program" "$@" >"$work/out" || status=$?
  cat "$work/out"
  for file; do
    grep -qxF "$(wc -l <"$file") $(wc -c <"$file") $file" "$work/out" || { say "wrong or missing: $file" && status=1; }
  done
  grep -qx 'freestanding: passed' "$work/out" || status=1
  return "$status"
}

# The program that the guide shows.
says_hello() { [[ $($runner "$CARGO_TARGET_DIR/$TRIPLE/$1/bare") == hello ]]; }

refuses_a_missing_file() {
  local status=0
  $runner "$program" "$work/none" >"$work/out" || status=$?
  # Only the line about the file is shown: the program's last line says that it failed, as it should here.
  if ((status != 1)) || ! grep -xF "$work/none: ENOENT: no such file or directory" "$work/out"; then
    say "status $status, and it printed:"
    cat "$work/out"
    return 1
  fi
}

one_arch() {
  local program unstripped runner='timeout --foreground -s KILL 60' args
  use_target "$arch"
  # The folder's .cargo/config.toml has the flags; these would replace them.
  unset RUSTFLAGS
  [[ -z ${CARGO_UNSTABLE_BUILD_STD:-} ]] || export CARGO_UNSTABLE_BUILD_STD=core,alloc
  say "$arch: $RUST_FROM"
  if [[ $arch != "$HOST_ARCH" ]]; then
    use_qemu_user "$arch"
    runner="prlimit --data=$((3 << 30)) $runner $QEMU"
    say "emulator: $QEMU, version $QEMU_VERSION"
  fi
  args=(--locked --release --target "$TRIPLE")
  if [[ $arch == "$HOST_ARCH" ]]; then
    check "$arch: formatting" run cargo fmt --check -- --color never
    # By its own name, as in lint.sh.
    check "$arch: clippy" run cargo-clippy clippy "${args[@]}" -- -D warnings
  fi
  unstripped=$work/$arch
  run env CARGO_PROFILE_RELEASE_STRIP=none cargo build "${args[@]}"
  cp "$CARGO_TARGET_DIR/$TRIPLE/release/freestanding" "$unstripped"
  run cargo build "${args[@]}"
  program=$CARGO_TARGET_DIR/$TRIPLE/release/freestanding
  check "$arch: static, needs nothing" needs_nothing
  check "$arch: no undefined symbol" no_undefined_symbol
  [[ $arch != riscv64 ]] || check "$arch: nothing is outlined" nothing_outlined
  check "$arch: counts lines" counts "$ROOT/Cargo.lock" "$ROOT/src/raw.rs" "$work/empty" "$work/open" "$work/page" "$work/large"
  check "$arch: counts its own lines" counts "$program"
  check "$arch: refuses a missing file" refuses_a_missing_file
  check "$arch: the guide's program says hello" says_hello release
  run cargo build --locked --target "$TRIPLE" --bin bare
  check "$arch: the guide's program says hello, built for debugging" says_hello debug
  printf '%s %s bytes\n' "$arch" "$(stat -c %s "$program")" >>"$work/sizes"
}

: >"$work/sizes"
: >"$work/empty"
printf 'two\nlines, and no end' >"$work/open"
head -c 65536 /dev/zero | tr '\0' '\n' >"$work/page" # whole pages, of any size
seq 500000 >"$work/large"

for arch in "${arches[@]}"; do
  apart one_arch
  ((status == 0)) || fail "$arch: the run ended early, with status $status"
done

printf '\nsize of the program, stripped:\n'
cat "$work/sizes"
verdict
