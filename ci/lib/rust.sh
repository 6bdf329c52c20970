# shellcheck shell=bash
# A Rust compiler and a standard library for each architecture. Sourced by ci/lib.sh.
#
# What it sets is for the scripts that source it:
# shellcheck disable=SC2034

triple_of() {
  case $1 in
    x86_64) echo x86_64-unknown-linux-gnu ;;
    aarch64) echo aarch64-unknown-linux-gnu ;;
    riscv64) echo riscv64gc-unknown-linux-gnu ;;
    bare) echo x86_64-unknown-none ;;    # without an operating system there is no std: for ci/lint.sh
    i686) echo i686-unknown-linux-gnu ;; # which the crate doesn't support: for ci/lint.sh
    *) die "no target is known for the architecture '$1'" ;;
  esac
}

need_cargo() {
  command -v cargo >/dev/null || die "there is no cargo; install Rust (https://rustup.rs), then run this again"
}

# use_nightly: sets NIGHTLY to the argument by which cargo and rustc are of a nightly Rust; to none where their default
# is one. Fails where there is no nightly Rust: NO_NIGHTLY says what to do then.
use_nightly() {
  NIGHTLY=()
  [[ $(rustc -V) != *-nightly* ]] || return 0
  NIGHTLY=(+nightly)
  cargo +nightly -V >/dev/null 2>&1
}
NO_NIGHTLY='there is no nightly Rust; with rustup: rustup toolchain install nightly --profile minimal'

# This machine's own target.
host_triple() { rustc -vV | sed -n 's/^host: //p'; }

# use_target ARCH: from here on, plain `cargo` commands build for ARCH. It sets
#   TRIPLE       the target
#   RUST_FROM    the compiler, and where the target's standard library came from
# and, for another architecture than this machine's, exports what cargo and rustc read:
# CARGO_BUILD_TARGET, the linker, RUSTFLAGS and RUSTDOCFLAGS for static linking, and with Debian's
# compiler RUSTC, RUSTDOC, PATH and LD_LIBRARY_PATH. Call it in a subshell.
use_target() {
  local arch=$1 source upper
  need_cargo
  TRIPLE=$(triple_of "$arch")
  if [[ $arch == "$HOST_ARCH" ]]; then
    TRIPLE=$(host_triple)
    RUST_FROM="$(rustc -V), native"
    return
  fi
  export CARGO_BUILD_TARGET=$TRIPLE
  upper=${TRIPLE//-/_}
  export "CARGO_TARGET_${upper^^}_LINKER=$arch-linux-gnu-gcc" # see linkers
  # A static program runs under the emulator without a second machine's libraries.
  export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-C target-feature=+crt-static"
  export RUSTDOCFLAGS="${RUSTDOCFLAGS:+$RUSTDOCFLAGS }-C target-feature=+crt-static"
  for source in ${RAWMAP_RUST:-installed rustup debian build-std}; do
    case $source in
      installed) target_installed && return ;;
      rustup) target_from_rustup && return ;;
      debian) target_from_debian "$arch" && return ;;
      build-std) target_from_source && return ;;
      *) die "RAWMAP_RUST: '$source' is none of installed, rustup, debian, build-std" ;;
    esac
  done
  die "found no Rust standard library for $TRIPLE; if you use rustup, try: rustup target add $TRIPLE"
}

# has_std RUSTC: whether this compiler has a standard library (core, for a bare target) for TRIPLE that it can use.
# Another version's can't be used. The compiler's errors are the answer "no", so they are not shown.
has_std() {
  local probe='pub fn probe() -> std::time::Instant { std::time::Instant::now() }'
  [[ $TRIPLE != *-none ]] || probe='#![no_std]'
  "$1" --target "$TRIPLE" --crate-name probe --crate-type lib --emit metadata --out-dir "$CACHE" - \
    <<<"$probe" 2>/dev/null
}

target_installed() {
  has_std rustc || return 1
  RUST_FROM="$(rustc -V), target installed"
}

target_from_rustup() {
  local refused
  command -v rustup >/dev/null || return 1
  refused=$CACHE/no-rustup-$TRIPLE
  # Behind some proxies the download hangs instead of failing. It is enough to find that out once a day.
  if [[ -e $refused && -n $(find "$refused" -mtime -1) ]]; then
    say "rustup could not add $TRIPLE less than a day ago; not trying again (to try: rm $refused)"
    return 1
  fi
  if run timeout -k 5 "${RAWMAP_RUSTUP_SECONDS:-20}" rustup target add "$TRIPLE" </dev/null && has_std rustc; then
    RUST_FROM="$(rustc -V), target added by rustup"
    rm -f "$refused"
  else
    touch "$refused"
    say "rustup could not add $TRIPLE within ${RAWMAP_RUSTUP_SECONDS:-20} s; looking elsewhere"
    return 1
  fi
}

# debian_rustc: fetches Debian's newest compiler for this machine, with clippy, and sets DEBIAN_RUST
# to its folder. It is unpacked and not installed, because the package conflicts with Debian's own rustc.
debian_rustc() {
  DEBIAN_RUST=$CACHE/debian-rust
  [[ -d $DEBIAN_RUST ]] && return
  local codename suite version llvm deb_arch
  codename=$(debian_codename) || return 1
  deb_arch=$(deb_arch_of "$HOST_ARCH") || return 1
  for suite in "$codename-security" "$codename"; do
    version=$(deb_version "$deb_arch" "$suite" rustc-web) || continue
    version=${version%%+*} # 1.96.0+dfsg1-1~deb12u2 -> 1.96.0
    version=${version%.*}
    llvm=$(papt "$deb_arch" "$suite" apt-cache show --no-all-versions "libstd-rust-web-$version" |
      sed -n 's/^Depends:.*\(libllvm[0-9]*\).*/\1/p')
    fetch_debs "$deb_arch" "$suite" "$DEBIAN_RUST" rustc-web libstd-rust-web-dev \
      "libstd-rust-web-$version" rust-web-clippy ${llvm:+"$llvm"} && return
  done
  return 1
}

# use_debian_rustc: makes cargo and clippy use the compiler that debian_rustc fetched.
use_debian_rustc() {
  local libs
  debian_rustc || return 1
  for libs in "$DEBIAN_RUST"/usr/lib/*-linux-gnu; do
    export LD_LIBRARY_PATH=$libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  done
  export PATH=$DEBIAN_RUST/usr/bin:$PATH RUSTC=$DEBIAN_RUST/usr/bin/rustc RUSTDOC=$DEBIAN_RUST/usr/bin/rustdoc
}

# Debian has the standard library prebuilt for the architectures that it supports. Only the compiler of the same
# version can use it, so that one is fetched as well.
target_from_debian() {
  local arch=$1 codename deb_arch have suite std
  [[ $TRIPLE != *-none ]] || return 1 # no package has it
  codename=$(debian_codename) || return 1
  deb_arch=$(deb_arch_of "$arch") || return 1
  use_debian_rustc || return 1
  std=$CACHE/debian-rust-std-$deb_arch
  have=$("$RUSTC" -V | cut -d' ' -f2)
  # Not every suite has every architecture: the first with riscv64 is trixie.
  for suite in "$codename-security" "$codename" trixie sid; do
    [[ -d $std ]] && break
    [[ $(deb_version "$deb_arch" "$suite" libstd-rust-web-dev) == "$have"+* ]] || continue
    fetch_debs "$deb_arch" "$suite" "$std" libstd-rust-web-dev || return 1
  done
  [[ -d $std ]] || return 1
  ln -sfn "$std/usr/lib/rustlib/$TRIPLE" "$DEBIAN_RUST/usr/lib/rustlib/$TRIPLE"
  if ! has_std "$RUSTC"; then
    say "$std does not fit the compiler in $DEBIAN_RUST; delete both to get them anew"
    return 1
  fi
  RUST_FROM="$("$RUSTC" -V | cut -d' ' -f1,2), Debian's prebuilt standard library"
}

# The slow way: cargo builds the standard library, which takes a minute or two, once. RUSTC_BOOTSTRAP lets a stable
# compiler do it.
target_from_source() {
  local src=lib/rustlib/src/rust codename suite host_deb
  host_deb=$(deb_arch_of "$HOST_ARCH") || return 1
  if [[ ! -d $(rustc --print sysroot)/$src/library ]]; then
    codename=$(debian_codename) || return 1
    use_debian_rustc || return 1
    if [[ ! -d $DEBIAN_RUST/usr/$src/library ]]; then
      for suite in "$codename-security" "$codename"; do
        [[ $(deb_version "$host_deb" "$suite" rust-web-src) == "$("$RUSTC" -V | cut -d' ' -f2)"+* ]] || continue
        fetch_debs "$host_deb" "$suite" "$CACHE/debian-rust-src" rust-web-src || return 1
        break
      done
      [[ -d $CACHE/debian-rust-src ]] || return 1
      mkdir -p "$DEBIAN_RUST/usr/lib/rustlib/src"
      ln -sfn "$CACHE"/debian-rust-src/usr/src/rustc-* "$DEBIAN_RUST/usr/$src"
    fi
  fi
  export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind,test
  [[ $TRIPLE != *-none ]] || CARGO_UNSTABLE_BUILD_STD=core
  RUST_FROM="$("${RUSTC:-rustc}" -V | cut -d' ' -f1,2), standard library built here"
}

