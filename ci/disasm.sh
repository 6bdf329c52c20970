#!/usr/bin/env bash
# Proves on machine code what no test that runs can: how calls are compiled, and what lives across them.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/disasm.sh [ARCH...]

Compiles the sources in ci/disasm for each ARCH (x86_64, aarch64, riscv64; all three when none is
named) and looks at the disassembly. Nothing is run. It checks that
- results come back in registers, decoded by one compare;
- a call site is no longer than one written by hand;
- the raw functions refer to nothing but the system-call stub;
- no vector or predicate register lives across a call, on the architectures whose kernel destroys them;
- the compiler is told of all that a call destroys;
- everything compiles unoptimized, with frame pointers.
Where a check could pass by overlooking something, it is also made on a copy that is broken on purpose,
and must fail there.
What is missing is installed with apt or kept in ${CACHE/#$HOME/\~}.

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
probes=$ROOT/ci/disasm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/results"

# ---- Results ----------------------------------------------------------------------------------

ok() {
  printf 'ok: %s: %s\n' "$arch" "$*"
  echo ok >>"$work/results"
}

fail() {
  printf 'FAILED: %s: %s\n' "$arch" "$*"
  echo failed >>"$work/results"
}

# A judge looks at what was built, and answers by its status. It leaves the figures in $figures, and
# what is wrong in $wrong, which may be several lines.
judged() { [[ -z $wrong ]]; }

# check TEXT JUDGE ARGS...
check() {
  local text=$1
  shift
  if "$@"; then ok "$text: $figures"; else fail "$text"$'\n'"$wrong"; fi
}

# control TEXT JUDGE ARGS...: what JUDGE looks at is broken, so it must say so.
control() {
  local text=$1
  shift
  if "$@"; then
    fail "control: $text, and the check does not see it, so it proves nothing: $figures"
  else
    ok "control: $text, and the check fails, as it must ($(sed -n 1p <<<"$wrong"))"
  fi
}

# ---- Building and disassembling ---------------------------------------------------------------

# rust ARGS...: compiles a library the way a release build does.
rust() {
  "${RUSTC:-rustc}" --edition 2024 --crate-type lib --target "$TRIPLE" ${SYSROOT:+--sysroot "$SYSROOT"} \
    -O -C panic=abort -C codegen-units=1 -C force-unwind-tables=no -A warnings "$@" 2>"$work/rustc.log" || {
    cat "$work/rustc.log"
    die "rustc failed (above): $*"
  }
}

# crate FOLDER TREE ARGS...: builds the crate whose src and arch are in TREE.
crate() {
  local out=$1 tree=$2
  shift 2
  mkdir -p "$out"
  rust --crate-name rawmap --emit link,llvm-ir --out-dir "$out" "$tree/src/lib.rs" "$@"
}

# probe FOLDER NAME ARGS...: builds ci/disasm/NAME.rs on the crate that is in FOLDER.
probe() {
  local out=$1 name=$2
  shift 2
  rust --crate-name "$name" --extern rawmap="$out/librawmap.rlib" --emit obj,llvm-ir --out-dir "$out" \
    "$probes/$name.rs" "$@"
}

# broken TEXT FILE SED: a copy of the sources with SED done to FILE, in $tree.
broken() {
  tree=$work/$arch/$1
  mkdir -p "$tree"
  cp -r src arch README.md "$tree"
  sed -i "$3" "$tree/$2"
  ! cmp -s "$2" "$tree/$2" || {
    fail "control: $1: nothing in $2 to take away by $3"
    return 1
  }
}

# facts FILE: writes FILE.facts; see facts.awk.
facts() {
  "$objdump" -dr --no-show-raw-insn "$1" | awk -v arch="$arch" -f "$probes/facts.awk" >"$1.facts"
  [[ -s $1.facts ]] || die "no function in the disassembly of $1"
}

# fact FILE FUNCTION KEY
fact() { sed -n "s/^$2 .*\<$3=\([^ ]*\).*/\1/p" "$1.facts"; }

functions() { cut -d' ' -f1 "$1.facts"; }

# blame FILE FUNCTION TEXT: adds to $wrong, with the function's disassembly.
blame() {
  wrong+="$2: $3"$'\n'"$("$objdump" -dr --no-show-raw-insn --disassemble="$2" "$1" | sed -n '/>:$/,$p')"$'\n'
}

# ---- The judges -------------------------------------------------------------------------------

# Every raw function is there, stores nothing, and has one compare with the smallest error.
judge_results() { # OBJECT
  local object=$1 name stores bounds compares branches max_compares=1 max_branches=0
  figures='' wrong=''
  # riscv64 makes a value of a compare with sltu, and then branches on the same one, where a pointer
  # comes back: it has no conditional move.
  [[ $arch != riscv64 ]] || max_compares=2 max_branches=1
  facts "$object"
  diff <(functions "$object" | sort) <(sed -n 's/^pub unsafe fn \([a-z0-9_]*\).*/\1/p' src/raw.rs | sort) >"$work/diff" ||
    wrong+="calls.rs (<) has not the functions of raw.rs (>):"$'\n'"$(cat "$work/diff")"$'\n'
  for name in $(functions "$object"); do
    stores=$(fact "$object" "$name" stores) bounds=$(fact "$object" "$name" bounds)
    compares=$(fact "$object" "$name" compares) branches=$(fact "$object" "$name" branches)
    ((stores == 0)) || blame "$object" "$name" "writes memory: $stores stores"
    ((bounds == 1 && compares <= max_compares && branches <= max_branches)) ||
      blame "$object" "$name" "decoded by $compares compares and $branches branches, $bounds of them with the bound"
    figures+="$name $(fact "$object" "$name" insns)/$compares/$branches, "
  done
  figures="instructions/compares/branches: ${figures%, }"
  judged
}

# The raw functions refer to the stub where it is a function, and to nothing else.
judge_references() { # OBJECT LIBRARY
  local object=$1 lib=$2 name relocs
  figures='' wrong=''
  facts "$object"
  facts "$lib"
  for name in $(functions "$object") $(functions "$lib" | grep '8syscall[0-6]'); do
    relocs=$(fact "$object" "$name" relocs)
    : "${relocs:=$(fact "$lib" "$name" relocs)}"
    ((relocs == 0)) || blame "$object" "$name" "$relocs references to something else than a stub"
  done
  "$nm" "$object" >"$work/symbols"
  # T: a function; U: one from elsewhere; anything else is a static.
  if grep -v -e ' T ' -e ' U ' "$work/symbols" >"$work/statics"; then
    wrong+="statics: $(cat "$work/statics")"$'\n'
  fi
  if grep ' U ' "$work/symbols" | grep -v 'aarch648syscall[0-6]' >"$work/others"; then
    wrong+="references: $(cat "$work/others")"$'\n'
  fi
  figures="$(grep -c ' T ' "$work/symbols") functions, $(grep -c ' U ' "$work/symbols" || :) symbols from elsewhere, all stubs"
  judged
}

# Each ours_* has no more instructions than its hand_*.
judge_length() { # OBJECT
  local object=$1 name ours hand
  figures='' wrong=''
  facts "$object"
  for name in $(functions "$object" | sed -n 's/^ours_//p'); do
    ours=$(fact "$object" "ours_$name" insns) hand=$(fact "$object" "hand_$name" insns)
    figures+="$name $ours/$hand, "
    ((ours > 0 && ours <= hand)) && continue
    blame "$object" "ours_$name" "$ours instructions, and $hand by hand"
    blame "$object" "hand_$name" "by hand"
  done
  [[ -n $figures ]] || wrong="there is nothing to compare"
  figures="instructions/by hand: ${figures%, }"
  judged
}

# Where the stub is a function: number, call, return.
judge_stubs() { # LIBRARY
  local lib=$1 name insns
  figures='' wrong=''
  facts "$lib"
  for name in $(functions "$lib" | grep '8syscall[0-6]'); do
    insns=$(fact "$lib" "$name" insns)
    figures+="$insns "
    ((insns <= 3)) || blame "$lib" "$name" "$insns instructions, expected 3"
  done
  [[ $(wc -w <<<"$figures") == 7 ]] || wrong+="expected the 7 stubs, found: $figures"
  figures="instructions: $figures"
  judged
}

# The loops are made of vector instructions, call in the loop, and keep nothing across the call.
judge_loops() { # OBJECT...
  local object name live vector looped loops=0
  figures='' wrong=''
  for object; do
    facts "$object"
    for name in $(functions "$object"); do
      live=$(fact "$object" "$name" live) vector=$(fact "$object" "$name" vector) looped=$(fact "$object" "$name" looped)
      case $name in
        fill | xor | scale | select)
          loops=$((loops + 1))
          figures+="$name $vector, "
          ((vector > 0)) || blame "$object" "$name" "no vector instruction, so this check is void"
          ((looped > 0)) || blame "$object" "$name" "no call in a loop, so this check is void"
          ;;
        *8syscall[0-6]*) ;; # a stub: nothing may live across its own call either
        *) continue ;;
      esac
      [[ $live == none ]] || blame "$object" "$name" "lives across a call: $live"
    done
  done
  ((loops == 4)) || wrong+="expected 4 loops, found $loops"
  figures="vector instructions: ${figures%, }"
  judged
}

# The compiler is told what a call destroys. Not all of this can be seen in its code: LLVM takes care
# of vl and vtype at any inline assembly, for now.
judge_told() { # FOLDER with_vectors|without_vectors
  local folder=$1 file group want=(memory) item missing line count=0
  figures='' wrong=''
  case $arch in
    x86_64) want+=(rcx r11) ;;
    aarch64) want+=(p{0..15}) ;;
    riscv64) want+=(vl vtype) ;;
  esac
  if [[ $arch == riscv64 || $2 == with_vectors ]]; then want+=(v{0..31}); fi
  # The stubs are in one of these, or in the other where they are inline.
  for file in "$folder"/{rawmap,calls}.ll; do
    while read -r line; do
      count=$((count + 1)) missing=''
      for item in "${want[@]}"; do
        # LLVM has rcx as cx, v0 of aarch64 as q0; ~ is a clobber, = an output.
        grep -q -e "[~=]&\?{\(r\?${item#r}\|${item/#v/q}\|$item\)}" <<<"$line" || missing+=" $item"
      done
      [[ $line == *' asm sideeffect '* ]] || missing+=' effects'
      # An attribute memory(...) says that some memory is not read or not written.
      group=$(sed -n 's/.*) \(#[0-9]*\).*/\1/p' <<<"$line")
      [[ -n $group ]] || missing+=' attributes'
      ! grep -q "^attributes $group = .*memory(" "$file" || missing+=' changes of any memory'
      [[ -z $missing ]] || wrong+="the compiler is not told of$missing"$'\n'"  $line"$'\n'
    done < <(grep -E ' asm .*"(syscall|svc 0|ecall)"' "$file" || :)
  done
  ((count)) || wrong+="no system call in the compiler's output"
  figures="${want[*]} at $count calls"
  judged
}

# ---- What is checked --------------------------------------------------------------------------

# core_only: a sysroot with a core built here, where there is no prebuilt one.
core_only() {
  local deps
  SYSROOT=$work/$arch/sysroot
  deps=$work/$arch/core/$TRIPLE/release/deps
  CARGO_UNSTABLE_BUILD_STD=core run cargo build --lib --release --target "$TRIPLE" --target-dir "$work/$arch/core"
  mkdir -p "$SYSROOT/lib/rustlib/$TRIPLE/lib"
  cp "$deps"/lib{core,compiler_builtins}-*.r* "$SYSROOT/lib/rustlib/$TRIPLE/lib"
}

# loops KIND TREE: builds loops.rs, for judge_loops, in $objects:
#   built     the crate and the loops are built with vectors
#   caller    neither is; the functions with the loops have vectors by an attribute
#   module    as built, but the compiler sees all of it as one, and passes on to callers which
#             registers a function destroys
loops() {
  local kind=$1 tree=$2 out=$2/$1-$arch
  [[ $tree != "$ROOT" ]] || out=$work/$arch/$kind
  objects=("$out/loops.o" "$out/librawmap.rlib")
  case $kind in
    built)
      crate "$out" "$tree" "${vectors[@]}"
      probe "$out" loops "${vectors[@]}"
      ;;
    caller)
      crate "$out" "$tree"
      # riscv64: the attribute is not stable yet.
      RUSTC_BOOTSTRAP=1 probe "$out" loops --cfg caller
      ;;
    module)
      mkdir -p "$out"
      cp -r "$tree/src" "$tree/arch" "$tree/README.md" "$out"
      printf 'extern crate self as rawmap;\n#[path = "%s"]\nmod loops;\n' "$probes/loops.rs" >>"$out/src/lib.rs"
      rust --crate-name rawmap "${vectors[@]}" -C llvm-args=-enable-ipra --emit obj -o "$out/loops.o" "$out/src/lib.rs"
      objects=("$out/loops.o")
      ;;
  esac
  # objdump knows an instruction of V only where the file says that it is for V.
  if [[ $arch == riscv64 && $kind == built ]]; then
    "$objcopy" -O binary --dump-section .riscv.attributes="$work/attributes" "$out/loops.o" /dev/null
  elif [[ $arch == riscv64 && $kind == caller ]]; then
    "$objcopy" --update-section .riscv.attributes="$work/attributes" "$out/loops.o"
  fi
}

without() { printf 's/#\\[inline(never)\\]/#[inline]/; s/out("%s[0-9]*") _,//g' "$1"; }

checks() {
  local out=$work/$arch/plain kind name opt0 tree='' objects=() file=arch/$arch.rs
  local vectors=()
  case $arch in
    aarch64) vectors=(-C target-cpu=neoverse-v1) ;;
    riscv64) vectors=(-C target-feature=+v) ;;
  esac

  crate "$out" "$ROOT"
  probe "$out" calls
  check 'results come back in registers, decoded by one compare' judge_results "$out/calls.o"
  check 'the raw functions refer to nothing but the stub' judge_references "$out/calls.o" "$out/librawmap.rlib"
  check 'the compiler is told what a call destroys' judge_told "$out" without_vectors
  probe "$out" sites
  check 'call sites are no longer than by hand' judge_length "$out/sites.o"
  [[ $arch != aarch64 ]] || check 'the stubs are number, call, return' judge_stubs "$out/librawmap.rlib"

  probe "$out" calls --cfg 'control="memory"'
  control 'with a smaller error, results go through memory' judge_results "$out/calls.o"
  probe "$out" calls --cfg 'control="panic"'
  control 'with a panic, there are other references' judge_references "$out/calls.o" "$out/librawmap.rlib"

  if ((${#vectors[@]})); then
    loops built "$ROOT"
    check "with ${vectors[1]}, nothing lives across a call" judge_loops "${objects[@]}"
    crate "$work/$arch/told" "$ROOT" "${vectors[@]}"
    probe "$work/$arch/told" calls "${vectors[@]}"
    check "with ${vectors[1]}, the compiler is told what a call destroys" judge_told "$work/$arch/told" with_vectors
    loops caller "$ROOT"
    check 'with vectors in the caller only, nothing lives across a call' judge_loops "${objects[@]}"
    loops module "$ROOT"
    check "with ${vectors[1]} in one module, nothing lives across a call" judge_loops "${objects[@]}"
  fi

  case $arch in
    x86_64)
      control_told 'rcx is not clobbered' 's/lateout("rcx") _,//'
      control_told 'r11 is not clobbered' 's/lateout("r11") _,//'
      control_told 'memory is said to be only read' 's/preserves_flags/&, readonly/'
      ;;
    aarch64)
      control_loops 'nothing is clobbered and the stub is inline' built "$(without '[vp]')"
      control_loops 'the stub is inline' caller 's/#\[inline(never)\]/#[inline]/'
      control_loops 'p0-p15 are not clobbered' module 's/out("p[0-9]*") _,//g'
      control_loops 'v0-v31 are not clobbered' module 's/out("v[0-9]*") _,//g'
      ;;
    riscv64)
      control_loops 'v0-v31 are not clobbered' built 's/out("v[0-9]*") _,//g'
      control_loops 'v0-v31 are not clobbered' caller 's/out("v[0-9]*") _,//g'
      control_told 'vl and vtype are said to be kept' 's/options(nostack)/options(nostack, preserves_flags)/'
      ;;
  esac

  opt0=(-C opt-level=0 -C force-frame-pointers=yes -C debug-assertions)
  for kind in plain vectors; do
    [[ $kind == plain ]] || ((${#vectors[@]})) || continue
    [[ $kind == plain ]] || opt0+=("${vectors[@]}")
    crate "$work/$arch/opt0" "$ROOT" "${opt0[@]}"
    for name in calls sites loops; do
      probe "$work/$arch/opt0" "$name" "${opt0[@]}"
    done
    ok "compiles unoptimized, with frame pointers$([[ $kind == plain ]] || printf %s ", ${vectors[1]}")"
  done
}

control_loops() { # TEXT KIND SED
  broken "$1" "$file" "$3" || return 0
  loops "$2" "$tree"
  control "$1 ($2)" judge_loops "${objects[@]}"
}

control_told() { # TEXT SED
  broken "$1" "$file" "$2" || return 0
  crate "$tree/out" "$tree"
  probe "$tree/out" calls
  control "$1" judge_told "$tree/out" without_vectors
}

one_arch() {
  local prefix=$arch-linux-gnu-
  SYSROOT=''
  if [[ $arch == "$HOST_ARCH" ]]; then
    prefix=''
  fi
  objdump=${prefix}objdump nm=${prefix}nm objcopy=${prefix}objcopy
  use_target "$arch"
  [[ -z ${CARGO_UNSTABLE_BUILD_STD:-} ]] || core_only
  say "$arch: $RUST_FROM; $("$objdump" --version | sed -n 1p)"
  checks
}

tools=(cc)
for arch in "${arches[@]}"; do
  if [[ $arch == "$HOST_ARCH" ]]; then tools+=(objdump); else tools+=("$arch-linux-gnu-objdump"); fi
done
need_tools "${tools[@]}"

for arch in "${arches[@]}"; do
  status=0
  set +e
  (
    set -e
    one_arch
  )
  status=$?
  set -e
  ((status == 0)) || fail "ended early (see above)"
done

passed=$(grep -c ok "$work/results" || :)
failed=$(grep -c failed "$work/results" || :)
printf '%s passed, %s failed, 0 skipped\n' "$passed" "$failed"
((failed == 0))
