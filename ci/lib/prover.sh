# shellcheck shell=bash
# How ci/prove.sh and ci/disasm.sh get the Python tools that they share, and run for each architecture. Sourced by both.

# with_prover SCRIPT ARCH...: runs the Python script for each ARCH (for all when none is named), with the compiler for
# it, and ends with the sum of their counts.
with_prover() {
  local script=$1 arch
  choose_arches "${@:2}"
  need_cargo
  need_prover
  export PYTHONDONTWRITEBYTECODE=1
  make_work
  # shellcheck disable=SC2154 # choose_arches sets it
  for arch in "${arches[@]}"; do run_script "$arch" prove_one "$script" "$arch"; done
  verdict
}

prove_one() { # SCRIPT ARCH
  use_target "$2"
  unset RUSTFLAGS CARGO_BUILD_TARGET
  [[ -z ${CARGO_UNSTABLE_BUILD_STD:-} ]] || core_only "$2"
  say "$2: $RUST_FROM"
  "$PYTHON" "$1" "$2"
}

# need_prover: sets PYTHON to one that has what ci/prove/requirements.txt names (150 MB).
need_prover() {
  local wanted=$ROOT/ci/prove/requirements.txt folder packages=()
  # Debian's Python comes without what makes a virtual environment.
  python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
  # rustup's Rust has a linker for all architectures; a distribution's may have none.
  [[ -x $(rustc --print sysroot)/lib/rustlib/$(host_triple)/bin/rust-lld ]] || command -v ld.lld >/dev/null || packages+=(lld)
  ((${#packages[@]} == 0)) || need_packages "${packages[@]}"
  folder=$CACHE/prover-$(python3 -V | tr ' ' -)-$(sha256sum "$wanted" | cut -c1-12)
  PYTHON=$folder/bin/python
  with_lock prover install_prover "$folder" "$wanted" || die "pip could not install what $wanted names (above)"
}

install_prover() { # FOLDER REQUIREMENTS
  [[ ! -f $1/complete ]] || return 0
  say "installing the prover's tools in $1"
  rm -rf "$1"
  python3 -m venv "$1" &&
    run "$1/bin/pip" install -q --no-input --require-hashes --only-binary :all: -r "$2" &&
    touch "$1/complete"
}

# core_only ARCH: where ARCH has no prebuilt core, builds one, and sets SYSROOT to a compiler's folder that has it.
core_only() {
  local built=$CACHE/core-$1
  export SYSROOT=$built/sysroot
  CARGO_UNSTABLE_BUILD_STD=core run cargo build --lib --release --target "$TRIPLE" --target-dir "$built"
  mkdir -p "$SYSROOT/lib/rustlib/$TRIPLE/lib"
  cp "$built/$TRIPLE"/release/deps/lib{core,compiler_builtins}-*.r* "$SYSROOT/lib/rustlib/$TRIPLE/lib"
}
