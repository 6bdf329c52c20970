# shellcheck shell=bash
# What the scripts in ci/ share: messages, packages, and how each gets a Rust target and an emulator.
#
# Sourced, never run. Everything fetched lives in one folder that can be deleted at any time:
#   RAWMAP_CACHE   that folder (default: rawmap in XDG_CACHE_HOME or ~/.cache)
#   RAWMAP_RUST    where a cross target may come from, tried in order
#                  (default: "installed rustup debian build-std"; see use_target)
#
# What it sets is for the scripts that source it:
# shellcheck disable=SC2034
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${RAWMAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rawmap}
mkdir -p "$CACHE"
PATH=$PATH:/usr/sbin:/sbin # which an ordinary user of Debian hasn't

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

# usage_if_asked "TEXT" "$@": prints TEXT and leaves when the arguments ask for help.
usage_if_asked() {
  local text=$1 arg
  shift
  for arg; do
    case $arg in -h | --help) printf '%s\n' "$text" && exit 0 ;; esac
  done
}

# with_lock NAME CMD...: one at a time, however many scripts run. CMD must not change the shell's
# variables: it runs in a subshell.
with_lock() {
  local lock=$CACHE/$1.lock
  shift
  (
    flock 9
    "$@"
  ) 9>"$lock"
}

# ---- Packages of this machine -----------------------------------------------------------------

# need_tools TOOL...: looks for all these commands first, then installs at once, or names in one command,
# the packages of those that are missing. A TOOL? that ends in a question mark comes along with others
# or where this is root; its absence alone is no reason to stop.
need_tools() {
  local tool missing=() wished=()
  for tool; do
    ! command -v "${tool%\?}" >/dev/null || continue
    if [[ $tool == *\? ]]; then wished+=("${tool%\?}"); else missing+=("$tool"); fi
  done
  if ((${#missing[@]})); then
    need_packages "${missing[@]}" ${wished[@]+"${wished[@]}"}
  elif ((${#wished[@]} && EUID == 0)) && command -v apt-get >/dev/null; then
    (need_packages "${wished[@]}") || say "going on without ${wished[*]}"
  fi
}

# linkers ARCH...: the tools by which programs of ARCH are linked: the C cross compiler; and this
# machine's own compiler always, since build scripts and procedural macros run here.
linkers() {
  local arch
  echo cc
  for arch; do [[ $arch == "$HOST_ARCH" ]] || echo "$arch-linux-gnu-gcc"; done
}

# packages_of TOOL: Debian's packages with that command, and with what it doesn't work without.
packages_of() {
  local arch=${1%%-linux-gnu-*}
  case $1 in
    cc | gcc) echo gcc libc6-dev ;;
    c++) echo g++ ;;
    *-linux-gnu-gcc) echo "gcc-${arch//_/-}-linux-gnu" "libc6-dev-$(deb_arch_of "$arch")-cross" ;;
    *-linux-gnu-*) echo "binutils-${arch//_/-}-linux-gnu" ;;
    nm | objcopy | objdump | readelf | strip) echo binutils ;;
    mkfs.ext4) echo e2fsprogs ;;
    qemu-*) echo qemu-user ;;
    xz) echo xz-utils ;;
    *) echo "$1" ;;
  esac
}

# need_packages TOOL...: installs the packages of these tools.
need_packages() {
  local packages
  mapfile -t packages < <(for tool; do packages_of "$tool" | tr ' ' '\n'; done | sort -u)
  command -v apt-get >/dev/null || die "this machine has no apt; install what Debian calls: ${packages[*]}"
  ((EUID == 0)) || command -v sudo >/dev/null ||
    die "not root, and no sudo here; as root run: apt-get update && apt-get install ${packages[*]}"
  say "installing ${packages[*]}"
  with_lock apt apt_install "${packages[@]}" ||
    die "apt could not install ${packages[*]}; install them by hand, then run this again"
}

apt_install() {
  local as_root=(env DEBIAN_FRONTEND=noninteractive)
  ((EUID == 0)) || as_root=(sudo "${as_root[@]}")
  local install=("${as_root[@]}" apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@")
  # A fresh machine has no package lists, an old one has lists that name vanished versions.
  run "${install[@]}" </dev/null && return
  run "${as_root[@]}" apt-get update -q </dev/null && run "${install[@]}" </dev/null
}

# ---- Packages of other architectures and suites, unpacked privately ---------------------------

# debian_codename: bookworm, trixie, ...; fails where this is not Debian.
debian_codename() {
  local ID='' VERSION_CODENAME=''
  # shellcheck source=/dev/null
  [[ -r /etc/os-release ]] && . /etc/os-release
  [[ $ID == debian && -n $VERSION_CODENAME ]] && printf '%s\n' "$VERSION_CODENAME"
}

# mirror_of SUITE: the address from which this machine gets Debian. apt itself reads its sources
# (both forms of them) and, asked for addresses only, does not touch the network.
mirror_of() {
  local suite=$1 codename uri have
  codename=$(debian_codename) || return 1
  while read -r uri have; do
    case $suite/$have in
      *-security/*-security) printf '%s\n' "$uri" && return ;;
      *-security/*) ;;
      */"$codename" | */"$codename"-updates | */stable | */oldstable | */testing | */unstable | */sid)
        printf '%s\n' "$uri" && return ;;
    esac
  done < <(apt-get update --print-uris 2>/dev/null | sed -n "s|^'\(.*\)/dists/\([^/']*\)/InRelease'.*|\1 \2|p")
  return 1
}

# papt ARCH SUITE TOOL ARGS...: an apt tool (apt-get, apt-cache) that sees only SUITE for ARCH and
# keeps its state in the cache folder. It needs no root and leaves the machine's apt untouched;
# it verifies signatures and checksums as ever.
papt() {
  local arch=$1 suite=$2 tool=$3 root=$CACHE/apt/$2-$1 mirror
  shift 3
  if [[ ! -s $root/sources.list ]]; then
    mirror=$(mirror_of "$suite") || {
      say "apt's sources on this machine name no Debian mirror for $suite" >&2
      return 1
    }
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/empty"
    : >"$root/status"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=%s] %s %s main\n' \
      "$arch" "$mirror" "$suite" >"$root/sources.list"
  fi
  "$tool" -o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts="$root/empty" \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$root/empty" \
    -o Dir::State::lists="$root/lists" -o Dir::State::status="$root/status" -o Dir::Cache="$root/cache" \
    -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

# papt_update ARCH SUITE: the suite's package lists, not older than an hour. 1-15 MB.
papt_update() {
  local stamp=$CACHE/apt/$2-$1/updated
  [[ -n $(find "$stamp" -mmin -60 2>/dev/null) ]] && return
  say "reading the package lists of $2 for $1" >&2
  # A mirror that lacks the architecture is an answer, not an accident: the caller tries another.
  papt "$1" "$2" apt-get update -q >&2 </dev/null && touch "$stamp"
}

# deb_version ARCH SUITE PKG: the version that the suite offers; fails when it offers none.
deb_version() {
  local version
  with_lock "apt-$2-$1" papt_update "$1" "$2" || return 1
  version=$(papt "$1" "$2" apt-cache show --no-all-versions "$3" 2>/dev/null | sed -n 's/^Version: //p')
  [[ -n $version ]] && printf '%s\n' "$version"
}

# fetch_debs ARCH SUITE FOLDER PKG...: downloads exactly these packages (not what they depend on)
# and unpacks them into FOLDER. Does nothing when that was done before; an interrupted download is
# taken up where it stopped.
fetch_debs() {
  with_lock "fetch-${3##*/}" fetch_debs_locked "$@"
}

fetch_debs_locked() {
  local arch=$1 suite=$2 folder=$3 deb bytes
  shift 3
  # FOLDER appears by a rename as the last act, so one that is there is whole.
  [[ -d $folder ]] && return
  local debs=$folder.debs unpacked=$folder.unpacking
  with_lock "apt-$suite-$arch" papt_update "$arch" "$suite" || return 1
  bytes=$(papt "$arch" "$suite" apt-get download --print-uris "$@" | awk '{ n += $3 } END { print n + 0 }') || return 1
  say "downloading $(((bytes + 999999) / 1000000)) MB from $suite for $arch: $*"
  mkdir -p "$debs"
  (cd "$debs" && papt "$arch" "$suite" apt-get download -q "$@" </dev/null) || return 1
  rm -rf "$unpacked"
  for deb in "$debs"/*.deb; do
    dpkg-deb -x "$deb" "$unpacked" || return 1
  done
  mv "$unpacked" "$folder" && rm -rf "$debs"
}

# ---- Rust for another architecture ------------------------------------------------------------

HOST_ARCH=$(uname -m)

triple_of() {
  case $1 in
    x86_64) echo x86_64-unknown-linux-gnu ;;
    aarch64) echo aarch64-unknown-linux-gnu ;;
    riscv64) echo riscv64gc-unknown-linux-gnu ;;
    bare) echo x86_64-unknown-none ;;    # has no std: for lint.sh
    i686) echo i686-unknown-linux-gnu ;; # the crate refuses it: for lint.sh
    *) die "no target is known for the architecture '$1'" ;;
  esac
}

deb_arch_of() {
  case $1 in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    riscv64) echo riscv64 ;;
    i686) echo i386 ;;
    *) die "Debian's name of the architecture '$1' is not known" ;;
  esac
}

need_cargo() {
  command -v cargo >/dev/null || die "there is no cargo here; install Rust (https://rustup.rs), then run this again"
}

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
    TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
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

# need_cargo_fuzz: cargo-fuzz and what it builds with. Sets NIGHTLY, the argument by which cargo takes a
# nightly compiler, which libFuzzer needs; none where it is the default.
need_cargo_fuzz() {
  need_cargo
  NIGHTLY=()
  if ! rustc -vV | grep -q '^release: .*nightly'; then
    cargo +nightly -V >/dev/null 2>&1 || die "libFuzzer needs a nightly compiler; with rustup: rustup toolchain install nightly --profile minimal"
    NIGHTLY=(+nightly)
  fi
  need_tools c++ # libFuzzer is compiled here
  cargo fuzz --version >/dev/null 2>&1 || with_lock cargo-fuzz run cargo install cargo-fuzz --locked ||
    die "could not install cargo-fuzz; install it by hand, then run this again"
}

# need_prover: sets PYTHON to one that has what ci/prove/requirements.txt names (150 MB).
need_prover() {
  local wanted=$ROOT/ci/prove/requirements.txt folder
  python3 -c 'import ensurepip' 2>/dev/null || need_packages python3 python3-venv
  folder=$CACHE/prover-$(python3 -V | tr ' ' -)-$(sha256sum "$wanted" | cut -c1-12)
  PYTHON=$folder/bin/python
  with_lock prover prover_locked "$folder" "$wanted" || die "pip could not install what $wanted names (see above)"
  # A distribution's Rust may come without a linker for other architectures.
  [[ -x $(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld ]] ||
    command -v ld.lld >/dev/null || need_packages lld
}

prover_locked() {
  [[ -f $1/complete ]] && return
  say "installing the prover's tools in $1"
  rm -rf "$1"
  python3 -m venv "$1" && run "$1/bin/pip" install -q --no-input --require-hashes --only-binary :all: -r "$2" && touch "$1/complete"
}

# with_prover COMMAND ARCH...: runs COMMAND for each ARCH, with its compiler (SYSROOT where that has no core). Sums
# the lines "N passed, N failed, N skipped" that these runs end with, and fails when anything failed.
with_prover() {
  local command=$1 arch log passed=0 failed=0 skipped=0
  shift
  for arch; do [[ $arch =~ ^(x86_64|aarch64|riscv64)$ ]] || die "'$arch' is not one of x86_64, aarch64, riscv64 (see --help)"; done
  (($#)) || set -- x86_64 aarch64 riscv64
  need_cargo
  need_prover
  export PYTHONDONTWRITEBYTECODE=1
  log=$(mktemp)
  for arch; do
    (
      use_target "$arch"
      unset RUSTFLAGS CARGO_BUILD_TARGET
      [[ -z ${CARGO_UNSTABLE_BUILD_STD:-} ]] || core_only "$arch"
      say "$arch: $RUST_FROM"
      "$command" "$arch"
    ) 2>&1 | tee "$log" || :
    if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
      passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
    else
      failed=$((failed + 1)) && say "$arch: FAILED: ended early"
    fi
  done
  rm -f "$log"
  printf '\n%s s\n%s passed, %s failed, %s skipped\n' "$SECONDS" "$passed" "$failed" "$skipped"
  ((failed == 0))
}

# core_only ARCH: sets SYSROOT to one with a core built here, where there is no prebuilt one.
core_only() {
  local built=$CACHE/core-$1
  export SYSROOT=$built/sysroot
  CARGO_UNSTABLE_BUILD_STD=core run cargo build --lib --release --target "$TRIPLE" --target-dir "$built"
  mkdir -p "$SYSROOT/lib/rustlib/$TRIPLE/lib"
  cp "$built/$TRIPLE"/release/deps/lib{core,compiler_builtins}-*.r* "$SYSROOT/lib/rustlib/$TRIPLE/lib"
}

# has_std RUSTC: has this compiler a standard library (core, for a bare target) for TRIPLE? It has
# none when it is missing, and when another version of the compiler made it.
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
  # Behind some proxies the download hangs rather than fails. Once a day is enough to find out.
  if [[ -n $(find "$refused" -mtime -1 2>/dev/null) ]]; then
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
# to its folder. It is unpacked, not installed: installed it would conflict with Debian's own rustc.
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

# Debian has the standard library prebuilt for the architectures that it supports. It fits only the
# compiler of its own version, which is why that one comes along.
target_from_debian() {
  local arch=$1 codename deb_arch have suite std
  [[ $TRIPLE != *-none ]] || return 1 # no package has it
  codename=$(debian_codename) || return 1
  deb_arch=$(deb_arch_of "$arch") || return 1
  use_debian_rustc || return 1
  std=$CACHE/debian-rust-std-$deb_arch
  have=$("$RUSTC" -V | cut -d' ' -f2)
  # A suite does not have every architecture: riscv64 begins with trixie.
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

# The slow way out: cargo builds the standard library (a minute or two, once). RUSTC_BOOTSTRAP lets a
# stable compiler do it.
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

# ---- QEMU user mode ---------------------------------------------------------------------------

# qemu_version QEMU: 10.0.2
qemu_version() { "$1" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p'; }

# use_qemu_user ARCH: sets QEMU to the emulator of one program of ARCH and QEMU_VERSION to its version.
# From 10 on QEMU gets the mapping calls mostly right, so an older one is the last resort.
use_qemu_user() {
  local arch=$1 codename suite found
  found=$(command -v "qemu-$arch" || command -v "qemu-$arch-static" || true)
  if [[ -z $found ]] || ! qemu_is_new "$found"; then
    QEMU=$CACHE/qemu-user/usr/bin/qemu-$arch
    if [[ ! -x $QEMU ]] && codename=$(debian_codename); then
      for suite in "$codename-backports" "$codename"; do
        [[ $(deb_version "$(deb_arch_of "$HOST_ARCH")" "$suite" qemu-user) =~ ^[0-9]+:([0-9]+)\. ]] || continue
        ((BASH_REMATCH[1] >= 10)) || continue
        fetch_debs "$(deb_arch_of "$HOST_ARCH")" "$suite" "$CACHE/qemu-user" qemu-user && break
      done
    fi
    if [[ -x $QEMU ]]; then
      found=$QEMU
    elif [[ -z $found ]]; then
      need_tools "qemu-$arch"
      found=$(command -v "qemu-$arch") || die "there is no qemu-$arch; install QEMU's user mode, 10 or later"
    fi
  fi
  QEMU=$found
  QEMU_VERSION=$(qemu_version "$QEMU")
}

# emulators ARCH...: those that use_qemu_user could not fetch.
emulators() {
  local arch
  ! debian_codename >/dev/null || return 0
  for arch; do
    [[ $arch == "$HOST_ARCH" ]] || command -v "qemu-$arch-static" >/dev/null || echo "qemu-$arch"
  done
}

qemu_is_new() {
  local version
  version=$(qemu_version "$1") && ((${version%%.*} >= 10))
}

# ---- QEMU's virtual machines ------------------------------------------------------------------

# use_qemu_system ARCH: sets QEMU_SYSTEM to the command that emulates a machine of ARCH, and
# QEMU_VERSION to its version. Version 7.2 panics at random with newer kernels, so 10 is the least.
# It is unpacked, not installed: an installation would remove other versions of QEMU's packages.
use_qemu_system() {
  local arch=$1 folder=$CACHE/qemu-system found codename suite host_deb libs path=''
  found=$(command -v "qemu-system-$arch" || true)
  if [[ -n $found ]] && qemu_is_new "$found"; then
    QEMU_SYSTEM=("$found")
    QEMU_VERSION=$(qemu_version "$found")
    return
  fi
  host_deb=$(deb_arch_of "$HOST_ARCH")
  if [[ ! -d $folder ]]; then
    codename=$(debian_codename) || die "there is no qemu-system-$arch; install QEMU, 10 or later"
    for suite in "$codename-backports" "$codename"; do
      [[ $(deb_version "$host_deb" "$suite" qemu-system-x86) =~ ^[0-9]+:([0-9]+)\. ]] || continue
      ((BASH_REMATCH[1] >= 10)) || continue
      fetch_debs "$host_deb" "$suite" "$folder" qemu-system-x86 qemu-system-arm qemu-system-riscv \
        qemu-system-common qemu-system-data opensbi seabios && break
    done
    [[ -d $folder ]] || die "found no QEMU from version 10 on; install qemu-system-$arch"
  fi
  fetch_libraries "$CACHE/qemu-system-libraries" qemu-system-x86 qemu-system-arm qemu-system-riscv
  for libs in "$CACHE"/qemu-system-libraries{,/usr}/lib/*-linux-gnu; do path+=${path:+:}$libs; done
  QEMU_SYSTEM=(env "LD_LIBRARY_PATH=$path"
    "$folder/usr/bin/qemu-system-$arch" -L "$folder/usr/share/qemu" -L "$folder/usr/share/seabios")
  QEMU_VERSION=$("${QEMU_SYSTEM[@]}" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
  [[ -n $QEMU_VERSION ]] || die "QEMU in $folder does not start (above); delete it and its libraries to get them anew"
}

# fetch_libraries FOLDER PKG...: downloads and unpacks into FOLDER those libraries which the packages
# depend on and which are not installed on this machine.
fetch_libraries() {
  local folder=$1 codename host_deb libraries
  shift
  [[ -d $folder ]] && return
  host_deb=$(deb_arch_of "$HOST_ARCH")
  codename=$(debian_codename) || return 1
  with_lock "apt-$codename-$host_deb" papt_update "$host_deb" "$codename" || return 1
  libraries=$(papt "$host_deb" "$codename" apt-cache depends -i "$@" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u)
  # Of these, and of what they depend on in turn: what apt would install here, but for newer versions
  # of what is installed (which have the old version in brackets).
  # shellcheck disable=SC2086 # a list
  libraries=$(papt "$host_deb" "$codename" apt-get -o Dir::State::status=/var/lib/dpkg/status install -s -q \
    --no-install-recommends $libraries </dev/null | sed -n 's/^Inst \([^ ]*\) (.*/\1/p') || return 1
  if [[ -z $libraries ]]; then
    mkdir -p "$folder"
  else
    # shellcheck disable=SC2086 # a list
    fetch_debs "$host_deb" "$codename" "$folder" $libraries
  fi
}
