#!/usr/bin/env bash
# Is everything in order that tests can't see: form, lints, documentation, no dependency, no standard library?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/lint.sh

Checks the formatting, clippy and the documentation for each target, also of the fuzz targets and of
what runs in the virtual machines, the scripts with shellcheck, and that the crate has no dependency,
needs no standard library, builds with the oldest Rust that it names, and refuses what it does not
support; that what must not compile fails for the reason named, and that examples compile as shown.
Runs every check, lists those that failed, and fails if there are any. Without rustup or a nightly Rust it
skips what needs them. It takes two to three minutes on two cores.
What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}." "$@"

no_arguments "$@"
cd "$ROOT"
arches=(x86_64 aarch64 riscv64)

lint() { # ARCH FEATURE
  use_target "$1"
  say "compiler: $RUST_FROM"
  # By its own name: Debian's clippy comes without Debian's cargo, and is first in PATH.
  run cargo-clippy clippy --keep-going --all-targets ${2:+--features "$2"} -- -D warnings
}

document() { # ARCH FEATURE
  use_target "$1"
  RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" run cargo doc --no-deps ${2:+--features "$2"}
}

# Crates of their own, with their own lock files, for this machine.
formatting() {
  local folder
  for folder in . fuzz ci/kernel benches; do run cargo fmt --all --manifest-path "$folder/Cargo.toml" --check -- --color never; done
}
lint_others() {
  local target=$ROOT/target/others
  use_target "$HOST_ARCH"
  run cargo-clippy clippy --locked --manifest-path fuzz/Cargo.toml --target-dir "$target" -- -D warnings
  run cargo-clippy clippy --locked --manifest-path ci/kernel/Cargo.toml --target-dir "$target" --release -- -D warnings
  run cargo-clippy clippy --locked --manifest-path examples/tour/Cargo.toml --target-dir "$target" -- -D warnings
  # Without the allocators that a C compiler builds for minutes.
  run cargo-clippy clippy --locked --manifest-path benches/Cargo.toml --target-dir "$target" --all-targets -- -D warnings
  run cargo-clippy clippy --locked --manifest-path benches/Cargo.toml --target-dir "$target" -p sites --release -- -D warnings
}

# With the feature and without; the tests need a newer one, since what they depend on does.
oldest_rust() {
  local version feature
  version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml).0
  command -v rustup >/dev/null || cannot "there is no rustup to get Rust $version"
  timeout 300 cargo "+$version" -V >/dev/null 2>&1 ||
    run timeout -s KILL 300 rustup toolchain install "$version" --profile minimal --no-self-update ||
    cannot "rustup could not get Rust $version (above)"
  for feature in '' std; do
    run cargo "+$version" check --lib --target-dir target/oldest ${feature:+--features "$feature"}
  done
}

# Stable ignores with which error an example must not compile, so that any mistake in it would do.
must_not_compile() {
  use_nightly || cannot "$NO_NIGHTLY"
  CARGO_TARGET_DIR=target/nightly logged run cargo "${NIGHTLY[@]}" test --doc --features std
  grep -q 'compile fail \.\.\. ok$' "$work/log" || {
    say 'no such example was found'
    return 1
  }
}

# Whoever reads the README or the documentation from a registry has the package, and not the repository. What
# isn't in the package is named under "In the repository", or in a paragraph that says so.
named_paths() {
  local file path named=0 absent=0
  cargo package --list --allow-dirty >"$work/packaged"
  while read -r file; do
    while read -r path; do
      named=$((named + 1))
      grep -qE "^$path(/|$)" "$work/packaged" && continue
      say "$file: $path is not in the package, and it isn't said that it is in the repository"
      absent=1
    done < <(sed -E '\,^ *//($| ),d; s,^ *//[/!] ?,,' "$file" |
      awk -v RS= '/(^|\n)## In the repository/ { exit } !/repository/' |
      grep -oE '`(\.ci|benches|ci|examples|fuzz|src|tests)/[[:alnum:]_./-]*' | sed 's,^`,,; s,/$,,' | sort -u)
  done < <(find README.md src arch -type f)
  say "$named paths are named"
  ((named > 0 && absent == 0))
}

shell_scripts() {
  # -x: with what they source.
  run shellcheck -x ci/*.sh ci/lib/*.sh ci/kernel/*.sh .ci/run
}

no_dependency() {
  local tree metadata
  tree=$(run cargo tree --edges normal,build --target all --all-features --prefix none)
  printf '%s\n' "$tree"
  # The command itself, then one line: the crate.
  [[ $(tail -n +2 <<<"$tree") =~ ^rawmap\ [^$'\n']*$ ]] || {
    say 'the crate must have no dependency: see [dependencies] and [build-dependencies] in Cargo.toml'
    return 1
  }
  metadata=$(run cargo metadata --no-deps --format-version 1)
  ! grep -E '"(custom-build|proc-macro)"' <<<"$metadata" || {
    say 'the crate must have no build.rs and no proc macro'
    return 1
  }
}

# The compiler sees a sysroot that holds core and nothing else, for a target that otherwise has std.
no_std() { # ARCH
  local sysroot lib crate
  use_target "$1"
  say "compiler: $RUST_FROM"
  [[ -z ${CARGO_UNSTABLE_BUILD_STD:-} ]] || cannot "there is no prebuilt core for $TRIPLE, of which to make a sysroot"
  sysroot=$work/sysroot-$1
  lib=$sysroot/lib/rustlib/$TRIPLE/lib
  mkdir -p "$lib"
  for crate in core compiler_builtins rustc_std_workspace_core; do
    cp "$("${RUSTC:-rustc}" --print target-libdir --target "$TRIPLE")/lib$crate"-* "$lib"
  done
  if "${RUSTC:-rustc}" --sysroot "$sysroot" --target "$TRIPLE" --crate-type lib --crate-name control \
    --emit metadata --out-dir "$sysroot" - <<<'#![no_std] extern crate std;' 2>"$sysroot/control"; then
    say 'this check is broken: a crate that uses std passes it'
    return 1
  fi
  grep "can't find crate for .std." "$sysroot/control"
  say 'so a crate that uses std is refused; now ours'
  # In a target folder of its own, because cargo takes what was built with another sysroot for the same.
  RUSTFLAGS="${RUSTFLAGS:-} --sysroot $sysroot" run cargo check --lib --target "$TRIPLE" --target-dir "$sysroot/target"
}

# A target without an operating system has no std at all.
bare_target() {
  use_target bare
  say "compiler: $RUST_FROM"
  run cargo build --lib
}

# For another architecture the crate must say that it doesn't support it, without the errors that follow from that.
refuses() {
  local out errors
  use_target i686
  say "compiler: $RUST_FROM"
  out=$(run cargo check --lib 2>&1) && {
    say "the crate builds for $TRIPLE, which it does not support"
    return 1
  }
  printf '%s\n' "$out"
  errors=$(awk '/^error/ && !/^error: could not compile/' <<<"$out")
  [[ $errors =~ ^error:\ rawmap\ supports[^$'\n']*$ ]] || {
    say "expected one error, 'rawmap supports ...', and nothing else"
    return 1
  }
}

need_cargo
# Build scripts of dependencies are linked here; libFuzzer, on which fuzz/ depends, is compiled.
need_tools cc c++ shellcheck
make_work
check 'formatting' formatting
for arch in "${arches[@]}"; do
  for feature in '' std; do
    with=${feature:+ with the feature $feature}
    check "clippy for $arch$with" lint "$arch" "$feature"
    check "documentation for $arch$with" document "$arch" "$feature"
  done
done
check 'clippy for fuzz, ci/kernel, benches and the tour alone' lint_others
check 'the oldest Rust' oldest_rust
check 'what must not compile' must_not_compile
check 'examples compile as they are shown' ci/shown.sh
check 'paths that the documentation names' named_paths
check 'shellcheck' shell_scripts
check 'no dependency' no_dependency
for arch in "${arches[@]}"; do
  check "no standard library on $arch" no_std "$arch"
done
check 'builds for a bare target' bare_target
check 'refuses an unsupported target' refuses
verdict
