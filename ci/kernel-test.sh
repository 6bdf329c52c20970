#!/usr/bin/env bash
# Do the tests pass on real kernels, in virtual machines: each architecture, page size, old and new?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

default=(x86_64:6.12:4k aarch64:6.12:4k aarch64:6.12:16k riscv64:6.12:4k)
all=(
  x86_64:6.1:4k x86_64:6.12:4k x86_64:6.18:4k x86_64:newest:4k x86_64:newest:4k:no5lvl
  aarch64:6.1:4k aarch64:6.12:4k aarch64:6.18:4k aarch64:newest:4k
  aarch64:6.12:16k aarch64:newest:16k aarch64:6.12:64k
  riscv64:6.12:4k riscv64:newest:4k riscv64:6.12:4k:no5lvl riscv64:6.12:4k:no4lvl
)

usage_if_asked "usage: ci/kernel-test.sh [ARCH[:KERNEL[:PAGES[:OPTION]]] | all]... [--tests=NAME,...]

Boots each kernel named in a virtual machine and runs there the tests, the examples, and on aarch64 and
riscv64 the proof that no vector is kept across a system call: loops that are wrong with a careless
stub (which is shown each time), and right with ours.
  ARCH     x86_64, aarch64, riscv64
  KERNEL   6.1, 6.12 (the default), 6.18 (not riscv64), or newest
  PAGES    4k (the default); on aarch64 also 16k, and with 6.12 64k, which is built here in minutes
  OPTION   any of the kernel's command line, such as no4lvl or no5lvl, which make addresses narrower
  --tests  builds and runs these programs of tests only, such as files,owners*: no example, no vectors
With no argument:
  ${default[*]}
With all:
  ${all[*]}
Kernels come from Debian's packages (one of riscv64 that can't be had from there is built here, too), QEMU
as well; both are kept in ${CACHE/#$HOME/\~}.
Fails when a test failed, a machine did not come to its end, or a test met an emulator's answer.
A machine takes three to ten minutes on two cores.

  RAWMAP_TEST_SECONDS   how long one machine may run (default 900); no program has a limit of its own
  RAWMAP_CASES, RAWMAP_SEQUENCES, RAWMAP_STEPS, RAWMAP_ERRNOS   how many calls, sequences of calls, and
                        steps of a sequence are tried, and with how many errors a call of the owners
                        is refused (default 30000, 300, 2500 and 4: emulation is slow)
  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

machines=() names=()
for arg; do
  case $arg in
    --tests=?*) IFS=, read -ra names <<<"${arg#*=}" && continue ;;
    -*) refuse "there is no option '$arg'" ;;
    all) machines+=("${all[@]}") && continue ;;
  esac
  IFS=: read -r arch series pages option rest <<<"$arg"
  : "${series:=6.12}" "${pages:=4k}"
  [[ -z $rest ]] || refuse "'$arg' has too many parts"
  case $arch:$series:$pages in
    x86_64:6.1:4k | x86_64:6.1[28]:4k | x86_64:newest:4k) ;;
    aarch64:6.1:4k | aarch64:6.1[28]:4k | aarch64:newest:4k) ;;
    aarch64:6.1[28]:16k | aarch64:newest:16k | aarch64:6.12:64k) ;;
    riscv64:6.12:4k | riscv64:newest:4k) ;;
    *) refuse "'$arg' is no kernel that can be had" ;;
  esac
  machines+=("$arch:$series:$pages${option:+:$option}")
done
((${#machines[@]})) || machines=("${default[@]}")

need_cargo
mapfile -t tools < <(for name in "${machines[@]}"; do linkers "${name%%:*}"; done)
need_tools "${tools[@]}" python3 strip mkfs.ext4
cd "$ROOT"
seconds=${RAWMAP_TEST_SECONDS:-900}
numbers=("RAWMAP_CASES=${RAWMAP_CASES:-30000}" "RAWMAP_SEQUENCES=${RAWMAP_SEQUENCES:-300}"
  "RAWMAP_STEPS=${RAWMAP_STEPS:-2500}" "RAWMAP_ERRNOS=${RAWMAP_ERRNOS:-4}")
make_work

# ---- Programs ---------------------------------------------------------------------------------

# build_arch: makes $work/ARCH, with the programs in t and the lists of tests and examples, one program a line.
build_arch() {
  local out=$work/$arch strip=$arch-linux-gnu-strip no_libc='' name path tests=() vectors=() build=()
  mkdir -p "$out/t"
  touch "$out/examples"
  for name in "${names[@]}"; do
    if [[ $name == unit ]]; then tests+=(--lib); else tests+=(--test "$name"); fi
  done
  use_target "$arch"
  say "compiler: $RUST_FROM"
  if [[ $arch == "$HOST_ARCH" ]]; then
    strip='strip'
    export CARGO_BUILD_TARGET=$TRIPLE RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-C target-feature=+crt-static"
  fi
  # Optimized, since in emulated processors unoptimized programs would take minutes; and so the crate is tested
  # optimized, too. In a folder of their own: in the common one, these flags would make other scripts build
  # everything again.
  export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$ROOT/target/kernel
  logged run cargo test --no-run --features std "${tests[@]}"
  # Executable tests/files.rs (target/.../files-0123456789abcdef)
  sed -n 's/^ *Executable \(unittests \)\?\([^ ]*\) (\(.*\))$/\2 \3/p' "$work/log" >"$work/executables"
  while read -r name path; do
    name=${name##*/} name=${name%.rs}
    [[ $name != lib ]] || name=unit
    "$strip" -o "$out/t/$name" "$path"
    printf '%s\n' "$name" >>"$out/tests"
  done <"$work/executables"
  build=(--manifest-path ci/kernel/Cargo.toml --release --target "$TRIPLE")
  # Without this flag, an atomic operation calls a function that needs getauxval of a libc.
  [[ $arch != aarch64 ]] || no_libc=' -C target-feature=-outline-atomics'
  RUSTFLAGS="${RUSTFLAGS:-}$no_libc" run cargo rustc "${build[@]}" --bin init -- -C relocation-model=static -C 'link-args=-nostartfiles -nostdlib -static'
  "$strip" -o "$out/init" "target/kernel/$TRIPLE/release/init"
  ((${#names[@]} == 0)) || return 0
  run cargo build --examples --features std
  for path in examples/*.rs examples/*/main.rs; do
    [[ -f $path ]] || continue
    path=${path%/main.rs}
    name=${path##*/} name=${name%.rs}
    "$strip" -o "$out/t/$name" "target/kernel/$TRIPLE/debug/examples/$name"
    printf '%s\n' "$name" >>"$out/examples"
  done
  # Its flags are in its own .cargo/config.toml, and RUSTFLAGS would replace them.
  [[ ! -d examples/freestanding ]] ||
    (cd examples/freestanding && unset RUSTFLAGS && run cargo build --release --target "$TRIPLE" && cp "$CARGO_TARGET_DIR/$TRIPLE/release/freestanding" "$out")
  case $arch in
    aarch64) vectors=(-C target-cpu=neoverse-v1) ;;
    riscv64) vectors=(-C target-feature=+v) ;;
    *) return 0 ;;
  esac
  for name in vectors-built vectors-caller control-built control-caller; do
    case $name in
      vectors-built) build_vectors "$name" "${vectors[*]}" ;;
      vectors-caller) build_vectors "$name" '' caller ;;
      control-built) build_vectors "$name" "${vectors[*]}" control ;;
      control-caller) build_vectors "$name" '' control,caller ;;
    esac
  done
}

# build_vectors NAME FLAGS [FEATURES]
build_vectors() {
  # riscv64: the attribute is not stable yet.
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="${RUSTFLAGS:-}${2:+ $2}" run cargo build "${build[@]}" --bin vectors ${3:+--features "$3"}
  "$strip" -o "$out/t/$1" "target/kernel/$TRIPLE/release/vectors"
}

# ---- A machine --------------------------------------------------------------------------------

# plan LINE: what the machine does next; see ci/kernel/init.rs.
plan() { printf '%s\n' "$*" >>"$machine/plan"; }

# take NAME FILE: a file for the machine.
take() { files+=("$1=$2"); }

# expect_run STATUS WHAT PROGRAM [ARG]...: runs it, and it must end so.
expect_run() {
  local status=$1 what=$2 name=$3
  shift 2
  take "t/$name" "$work/$arch/t/$name"
  plan run "/t/$*"
  printf '%s\t%s\t%s\n' "$*" "$status" "$what" >>"$machine/runs"
}

expect_tests() { # NAME PROGRAM [VARIABLE]
  take "t/$1" "$work/$arch/t/$2"
  plan tests "${numbers[@]}" ${3:+"$3"} "/t/$1"
  printf '%s\n' "$1" >>"$machine/tests"
}

# new_machine NAME: an empty one.
new_machine() {
  machine=$work/machine-$1
  rm -rf "$machine"
  mkdir -p "$machine"
  files=("init=$work/$arch/init" "plan=$machine/plan")
  : >"$machine/tests"
  : >"$machine/runs"
}

# The proof of the stubs: first that the loops are wrong with a careless stub, then that they are right with ours.
vector_runs() { # LENGTH_IN_BYTES...
  local bytes how
  for bytes; do
    for how in built caller; do
      expect_run 1 "the careless stub must fail with vectors of $((bytes * 8)) bits" "control-$how" "$bytes"
    done
  done
  for bytes; do
    for how in built caller; do
      expect_run 0 "vectors of $((bytes * 8)) bits" "vectors-$how" "$bytes"
    done
  done
}

# Tests and examples.
test_runs() {
  local name module
  while read -r name; do expect_tests "$name" "$name"; done <"$work/$arch/tests"
  # The tests that make files run a second time, with a disk for their files.
  truncate -s 64M "$machine/disk"
  mkfs.ext4 -q "$machine/disk"
  for module in "$kernel"/modules/*.ko; do
    [[ -f $module ]] || continue
    take "modules/${module##*/}" "$module"
    plan load "/modules/${module##*/}"
  done
  plan mount /dev/vda /disk ext4
  while read -r name; do
    if [[ -e tests/$name.rs ]] && grep -q 'temp_file()' "tests/$name.rs"; then
      expect_tests "$name-on-ext4" "$name" TMPDIR=/disk
    fi
  done <"$work/$arch/tests"
  while read -r name; do
    expect_run 0 "the example $name" "$name"
  done <"$work/$arch/examples"
}

# boot CPU: runs the machine, and judges.
boot() {
  local status=0
  power_on "$1" 'rawmap-init: Linux' || status=$?
  judge "$status"
}

# power_on CPU PATTERN: runs the machine. What it says comes at once, beginning with the first line
# that has PATTERN, and is kept in $machine/log.
power_on() {
  local type=virt console=ttyS0 disk=() status=0
  case $arch in
    x86_64) type=q35 ;;
    aarch64) console=ttyAMA0 ;;
  esac
  ci/kernel/cpio.py "${files[@]}" >"$machine/initramfs"
  [[ ! -f $machine/disk ]] || disk=(-drive "if=none,id=disk,format=raw,file=$machine/disk" -device 'virtio-blk-pci,drive=disk')
  say "$name: booting $(du -h -L "$kernel/vmlinuz" | cut -f1) of kernel, $(du -h "$machine/initramfs" | cut -f1) of programs, CPU $1"
  # oops=panic: without it a kernel that meets a bug hangs. rootfstype=ramfs: on tmpfs, the code of a program would count
  # as shared memory of its process. Whatever happens in the machine, QEMU's status is 0; timeout's is 137.
  timeout --foreground -s KILL "$seconds" "${QEMU_SYSTEM[@]}" -M "$type" -cpu "$1" -m 1G -smp 1 -nodefaults -display none \
    -serial stdio -no-reboot "${disk[@]}" -kernel "$kernel/vmlinuz" -initrd "$machine/initramfs" \
    -append "console=$console oops=panic panic=-1 rootfstype=ramfs quiet loglevel=4 $option" </dev/null 2>&1 |
    sed -u 's/\r//g; s/\x1b\[[0-9;?=]*[a-zA-Z]//g; s/\x1bc//g' | tee "$machine/log" |
    sed -un "/$2/,\$p" || status=$?
  rm -f "$machine/initramfs" "$machine/disk"
  return "$status"
}

# console_tail STATUS: says that the machine did not come to its end, and shows the end of the log.
console_tail() {
  if (($1 == 137)); then fail "the machine was stopped after $seconds s"; else fail 'the machine stopped before it was done'; fi
  say "$name: the end of what the console said:"
  tail -n 40 "$machine/log"
}

# The example without a libc, as the first and only program of a machine.
boot_freestanding() { # CPU
  local status=0
  [[ -f $work/$arch/freestanding ]] || return 0
  new_machine freestanding
  files=("init=$work/$arch/freestanding")
  # The kernel passes an option that it doesn't know on to init, and this example reads its arguments as files.
  [[ -z $option ]] || files+=("$option=ci/kernel-test.sh")
  power_on "$1" '^pages of' || status=$?
  if grep -qx 'freestanding: passed' "$machine/log" && grep -qx "pages of $((${pages%k} * 1024)) bytes" "$machine/log"; then
    pass
  else
    fail 'the example freestanding as the first program'
    console_tail "$status"
  fi
}

# ended TITLE: how the program ended, in init's words: exit 0, signal 11, or nothing.
ended() {
  awk -v title="rawmap-init: $1: " -v also=" after " '
    (at = index($0, title)) && (cut = index(rest = substr($0, at + length(title)), also)) { print substr(rest, 1, cut - 1); exit }
  ' "$machine/log"
}

# judge STATUS: reads the machine's log.
judge() {
  local log=$machine/log title status what ended greeting
  greeting=$(sed -n 's/.*rawmap-init: Linux \(.*\) on .*, pages of \([0-9]*\) bytes.*/\1 \2/p' "$log")
  if [[ -z $greeting ]]; then
    fail 'the machine did not come as far as our first program'
  else
    note kernel "${greeting% *}"
    note page "${greeting#* }"
    [[ ${greeting#* } == $((${pages%k} * 1024)) ]] || fail "the pages should be of $pages"
  fi
  sed -n "s/.*\(rawmap-init: \(can't mount\|can't read\|wrong\|panic\).*\)/\1/p" "$log" >"$machine/trouble"
  while read -r what; do fail "$what"; done <"$machine/trouble"

  if [[ -s $machine/tests ]]; then
    # count.awk takes every line for the tests', so it gets only those that they print.
    awk '/^     Running / { on = 1 } /rawmap-init: / { on = 0 } on' "$log" | awk -f ci/count.awk >"$machine/counts"
    cat "$machine/counts" >>"$row"
    awk '/^departure\t/' "$machine/counts" >"$machine/departures"
    while IFS=$'\t' read -r _ title what; do fail "$title: an emulator's answer, on a real kernel: $what"; done <"$machine/departures"
    while read -r title; do
      ended=$(ended "$title")
      [[ $ended == 'exit 0' ]] || grep -q "^failure"$'\t'"$title:" "$machine/counts" || fail "$title: ${ended:-did not end}"
    done <"$machine/tests"
  fi
  while IFS=$'\t' read -r title status what; do
    ended=$(ended "$title")
    if [[ $ended == "exit $status" ]]; then
      pass
    else
      fail "$title: ${ended:-did not end}, expected exit $status: $what"
    fi
  done <"$machine/runs"
  grep -q 'rawmap-init: done' "$log" || console_tail "$1"
}

test_machine() {
  local kernel machine cpu=max files=()
  use_qemu_system "$arch"
  say "emulator: qemu-system-$arch, version $QEMU_VERSION"
  kernel=$CACHE/kernels/$arch-$series-$pages
  mkdir -p "$CACHE/kernels"
  with_lock "kernel-${kernel##*/}" ci/kernel/fetch.sh "$arch" "$series" "$pages" "$kernel"
  new_machine tests
  test_runs
  case ${names:+only-}$arch in
    *x86_64) cpu=max,-erms,-fsrm ;; # with these the kernel clears pages by `rep stosb`, which QEMU runs byte by byte
    only-*) ;;
    aarch64) vector_runs 16 32 64 ;;
    riscv64)
      cpu=rv64,v=true,vlen=128
      vector_runs 16
      ;;
  esac
  boot "$cpu"
  ((${#names[@]} == 0)) || return 0
  # A processor of this architecture has vectors of one length.
  if [[ $arch == riscv64 ]]; then
    new_machine vectors
    vector_runs 32
    boot rv64,v=true,vlen=256
  fi
  boot_freestanding "$cpu"
}

for name in "${machines[@]}"; do
  begin_row "$name"
  IFS=: read -r arch series pages option <<<"$name"
  printf '\n'
  say "$name (at ${SECONDS} s)"
  if [[ ! -e $work/$arch ]]; then
    apart build_arch
    ((status == 0)) && touch "$work/$arch/built"
  fi
  row_start=$SECONDS # the programs are for all machines of the architecture
  if [[ -e $work/$arch/built ]]; then
    apart test_machine
    ((status == 0)) || fail "the run ended early, with status $status"
  else
    fail 'the build failed'
  fi
  end_row
done
verdict
