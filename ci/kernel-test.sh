#!/usr/bin/env bash
# Runs the tests on real kernels, in virtual machines: each architecture, page size, old and new.
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
  OPTION   for the kernel's command line: no4lvl or no5lvl for narrower addresses
  --tests  builds and runs these programs of tests only, such as files,owners*: no example, no vectors
With no argument:
  ${default[*]}
With all:
  ${all[*]}
Kernels come from Debian's packages (one of riscv64 that can't be had from there is built here, too), QEMU
as well; both are kept in ${CACHE/#$HOME/\~}.
Fails when a test failed, a machine did not come to its end, or a test met an emulator's answer.

  RAWMAP_TEST_SECONDS   how long one machine may run (default 900); no program has a limit of its own
  RAWMAP_CASES, RAWMAP_SEQUENCES, RAWMAP_STEPS, RAWMAP_ERRNOS   how many calls, sequences of calls, and
                        steps of a sequence are tried, and with how many errors a call of the owners
                        is refused (default 30000, 300, 2500 and 4: emulation is slow)
  RAWMAP_CACHE, RAWMAP_RUST: see ci/lib.sh" "$@"

refuse() {
  printf "%s: '%s' %s (see --help)\n" "${0##*/}" "$row" "$1" >&2
  exit 2
}

rows=() names=()
for row; do
  case $row in
    --tests=?*) IFS=, read -ra names <<<"${row#*=}" && continue ;;
    all) rows+=("${all[@]}") && continue ;;
  esac
  IFS=: read -r arch series pages option rest <<<"$row"
  : "${series:=6.12}" "${pages:=4k}"
  [[ -z $rest ]] || refuse 'has too many parts'
  case $series in 6.1 | 6.12 | 6.18 | newest) ;; *) refuse 'names a kernel that is not 6.1, 6.12, 6.18 or newest' ;; esac
  case $arch:$series:$pages in
    x86_64:*:4k | aarch64:*:4k | aarch64:6.1[28]:16k | aarch64:newest:16k | aarch64:6.12:64k) ;;
    riscv64:6.12:4k | riscv64:newest:4k) ;;
    *) refuse 'is no kernel that Debian has' ;;
  esac
  rows+=("$arch:$series:$pages${option:+:$option}")
done
((${#rows[@]})) || rows=("${default[@]}")

mapfile -t tools < <(for row in "${rows[@]}"; do linkers "${row%%:*}"; done)
need_tools "${tools[@]}" python3 strip mkfs.ext4
cd "$ROOT"
seconds=${RAWMAP_TEST_SECONDS:-900}
numbers=("RAWMAP_CASES=${RAWMAP_CASES:-30000}" "RAWMAP_SEQUENCES=${RAWMAP_SEQUENCES:-300}"
  "RAWMAP_STEPS=${RAWMAP_STEPS:-2500}" "RAWMAP_ERRNOS=${RAWMAP_ERRNOS:-4}")
work=$(mktemp -d)
results=$work/results
mkdir "$results"
trap 'rm -rf "$work"' EXIT
export CARGO_TERM_COLOR=never

# note KIND ...: adds a line to the result of this row, as count.awk prints them.
note() {
  local IFS=$'\t'
  printf '%s\n' "$*" >>"$results/$row"
}

fail() {
  note failed 1
  note failure "$@"
}

# ---- Kernels ----------------------------------------------------------------------------------

# fetch_kernel ARCH SERIES PAGES FOLDER: makes FOLDER, with the kernel as vmlinuz, its configuration
# and the modules for a disk, in the order in which they load. The newest kernel is looked for again
# after a week, and so is one that was built for want of a package.
fetch_kernel() {
  local arch=$1 series=$2 pages=$3 folder=$4 deb_arch flavour suite suites=() best='' best_suite version
  if [[ -d $folder ]]; then
    [[ $series == newest || -e $folder/built && $pages != 64k ]] || return 0
    [[ -n $(find "$folder" -maxdepth 0 -mtime +7) ]] || return 0
  fi
  if [[ $pages == 64k ]]; then
    ci/kernel/build.sh "$arch:$pages" "$folder"
    return
  fi
  deb_arch=$(deb_arch_of "$arch")
  case $arch:$pages in
    riscv64:4k) flavour=riscv64 ;;
    *:4k) flavour=cloud-$deb_arch ;;
    *) flavour=$deb_arch-$pages ;;
  esac
  case $series in
    6.1) suites=(bookworm) ;;
    6.12) suites=(trixie bookworm-backports) ;;
    newest) suites=(trixie-backports sid) ;;
  esac
  if [[ $series == 6.18 ]]; then
    fetch_old_kernel "$deb_arch" "$series" "$flavour" "$folder"
    return
  fi
  for suite in "${suites[@]}"; do
    version=$(deb_version "$deb_arch" "$suite" "linux-image-$flavour") || continue
    [[ $series == newest || $version == "$series".* ]] || continue
    if [[ -z $best ]] || dpkg --compare-versions "$version" gt "$best"; then
      best=$version best_suite=$suite
    fi
  done
  if [[ -z $best && -d $folder ]]; then
    say "no other kernel can be found now; staying with what there is"
  elif [[ -z $best && $arch:$series == riscv64:6.12 ]]; then
    say "none of ${suites[*]} has it, or their lists can't be read now; so it is built here, in minutes"
    ci/kernel/build.sh "$arch:$pages" "$folder"
  elif [[ -z $best ]]; then
    say "none of ${suites[*]} has a kernel $series for $deb_arch with pages of $pages"
    return 1
  else
    unpack_kernel "$deb_arch" "$best_suite" "$flavour" "$folder"
  fi
}

# fetch_old_kernel DEB_ARCH SERIES FLAVOUR FOLDER: backports keeps the images of a series that its
# linux-image-FLAVOUR has left behind; of these, the last.
fetch_old_kernel() {
  local image suite=trixie-backports
  deb_version "$1" "$suite" "linux-image-$3" >/dev/null || :
  image=$(papt "$1" "$suite" apt-cache pkgnames | grep -x "linux-image-$2\.[^-]*-$3" | sort -V | tail -n 1) || {
    say "$suite has no kernel $2 for $1 any more"
    return 1
  }
  unpack_kernel "$1" "$suite" "$3" "$4" "$image"
}

unpack_kernel() { # DEB_ARCH SUITE FLAVOUR FOLDER [IMAGE]
  local deb_arch=$1 suite=$2 flavour=$3 folder=$4 image=${5:-} packages unpacked=$4.package new=$4.new file
  depends() { papt "$deb_arch" "$suite" apt-cache show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr -s ', ' '\n'; }
  [[ -n $image ]] || image=$(depends "linux-image-$flavour" | grep -m 1 '^linux-image-')
  packages=("$image")
  # Since 6.19 the package of that name is empty.
  if depends "$image" | grep -q '^linux-binary-' || [[ -z ${5:-} ]] && depends "linux-image-$flavour" | grep -q '^linux-base-'; then
    packages=("${image/linux-image/linux-binary}" "${image/linux-image/linux-base}" "${image/linux-image/linux-modules}")
  fi
  fetch_debs "$deb_arch" "$suite" "$unpacked" "${packages[@]}"
  rm -rf "$new"
  mkdir -p "$new/modules"
  for file in "$unpacked"/boot/vmlinu[xz]-* "$unpacked"/usr/lib/modules/*/vmlinu[xz]; do
    [[ ! -f $file ]] || cp "$file" "$new/vmlinuz"
  done
  for file in "$unpacked"/boot/config-* "$unpacked"/usr/lib/modules/*/config; do
    [[ ! -f $file ]] || cp "$file" "$new/config"
  done
  [[ -f $new/vmlinuz ]] || {
    say "there is no kernel in ${packages[*]}"
    return 1
  }
  # ext4 wants the first by a name that only modprobe resolves.
  for file in crc32c_generic ext4 virtio_pci virtio_blk; do take_module "$file"; done
  rm -rf "$folder"
  mv "$new" "$folder"
  rm -rf "$unpacked"
}

# take_module NAME: copies a module into $new/modules, and before it what it depends on. One that is
# not in the package is part of the kernel.
take_module() {
  local name=$1 file needs need
  file=$(find "$unpacked" -name "${name//_/[_-]}.ko*" -print -quit)
  [[ -n $file ]] && ! compgen -G "$new/modules/*-$name.ko" >/dev/null || return 0
  case $file in
    *.xz) xz -dc "$file" >"$new/module" ;;
    *) cp "$file" "$new/module" ;;
  esac
  needs=$(tr '\0' '\n' <"$new/module" | sed -n 's/^depends=//p')
  mv "$new/module" "$new/module-$name"
  for need in ${needs//,/ }; do take_module "$need"; done
  # Numbered, so that a list of the names is the order of loading.
  mv "$new/module-$name" "$new/modules/$(printf '%02d' "$(find "$new/modules" -type f | wc -l)")-$name.ko"
}

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
  # Unoptimized they would take minutes, since processors are emulated here; and so the crate is
  # tested optimized too. In a folder of its own, lest other scripts build everything again.
  export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$ROOT/target/kernel
  run cargo test --no-run --features std "${tests[@]}" 2>&1 | tee "$work/build"
  # Executable tests/files.rs (target/.../files-0123456789abcdef)
  sed -n 's/^ *Executable \(unittests \)\?\([^ ]*\) (\(.*\))$/\2 \3/p' "$work/build" >"$work/executables"
  while read -r name path; do
    name=${name##*/} name=${name%.rs}
    [[ $name != lib ]] || name=unit
    "$strip" -o "$out/t/$name" "$path"
    printf '%s\n' "$name" >>"$out/tests"
  done <"$work/executables"
  build=(--manifest-path ci/kernel/Cargo.toml --release --target "$TRIPLE")
  # Without this, an atomic operation is a call of a function that needs a libc's getauxval.
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
  # This one has its flags in a file of its own, which RUSTFLAGS would replace.
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
  machine=$work/$row-$1
  mkdir -p "$machine"
  files=("init=$work/$arch/init" "plan=$machine/plan")
  : >"$machine/tests"
  : >"$machine/runs"
}

# The proof of the stubs: first that the loops can be wrong, then that they are right.
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

# Everything that runs but the vectors.
test_runs() {
  local name module
  while read -r name; do expect_tests "$name" "$name"; done <"$work/$arch/tests"
  # What makes files again on a disk.
  truncate -s 64M "$machine/disk"
  mkfs.ext4 -q "$machine/disk"
  for module in "$kernel"/modules/*.ko; do
    [[ -f $module ]] || continue
    take "modules/${module##*/}" "$module"
    plan load "/modules/${module##*/}"
  done
  plan mount /dev/vda /disk ext4
  while read -r name; do
    if grep -q 'temp_file()' "tests/$name.rs" 2>/dev/null; then
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
  say "$row: booting $(du -h -L "$kernel/vmlinuz" | cut -f1) of kernel, $(du -h "$machine/initramfs" | cut -f1) of programs, CPU $1"
  # oops=panic: without it an oops hangs. rootfstype=ramfs: on tmpfs, the code of a test's program would count
  # as shared memory of its process. QEMU ends with 0 whatever happens, but for the time limit.
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
  say "$row: the end of what the console said:"
  tail -n 40 "$machine/log"
}

# The example without a libc, as the first and only program of a machine.
boot_freestanding() { # CPU
  local status=0
  [[ -f $work/$arch/freestanding ]] || return 0
  new_machine freestanding
  files=("init=$work/$arch/freestanding")
  # The kernel hands on to init what it doesn't know, and the example takes it for a file.
  [[ -z $option ]] || files+=("$option=ci/kernel-test.sh")
  power_on "$1" '^pages of' || status=$?
  if grep -qx 'freestanding: passed' "$machine/log" && grep -qx "pages of $((${pages%k} * 1024)) bytes" "$machine/log"; then
    note passed 1
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
  grep -o "rawmap-init: \(can't mount\|can't read\|wrong\|panic\).*" "$log" >"$machine/trouble" || :
  while read -r what; do fail "$what"; done <"$machine/trouble"

  if [[ -s $machine/tests ]]; then
    # Only what the tests say: count.awk takes any line for theirs.
    awk '/^     Running / { on = 1 } /rawmap-init: / { on = 0 } on' "$log" | awk -f ci/count.awk >"$machine/counts"
    cat "$machine/counts" >>"$results/$row"
    grep $'^departure\t' "$machine/counts" >"$machine/departures" || :
    while IFS=$'\t' read -r _ title what; do fail "$title: an emulator's answer, on a real kernel: $what"; done <"$machine/departures"
    while read -r title; do
      ended=$(ended "$title")
      [[ $ended == 'exit 0' ]] || grep -q "^failure"$'\t'"$title:" "$machine/counts" || fail "$title: ${ended:-did not end}"
    done <"$machine/tests"
  fi
  while IFS=$'\t' read -r title status what; do
    ended=$(ended "$title")
    if [[ $ended == "exit $status" ]]; then
      note passed 1
    else
      fail "$title: ${ended:-did not end}, expected exit $status: $what"
    fi
  done <"$machine/runs"
  grep -q 'rawmap-init: done' "$log" || console_tail "$1"
}

test_row() {
  local kernel machine cpu=max files=()
  use_qemu_system "$arch"
  note qemu "$QEMU_VERSION"
  kernel=$CACHE/kernels/$arch-$series-$pages
  mkdir -p "$CACHE/kernels"
  with_lock "kernel-${kernel##*/}" fetch_kernel "$arch" "$series" "$pages" "$kernel"
  new_machine tests
  test_runs
  case ${names:+only-}$arch in
    *x86_64) cpu=max,-erms,-fsrm ;; # QEMU runs `rep stosb`, which clears pages there, byte by byte.
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

# apart FUNCTION: in a subshell, so that it may change its environment. Sets `status`; it has none of its
# own, since in `apart ... || ...` nothing inside would stop at an error.
apart() {
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
}

for row in "${rows[@]}"; do
  : >"$results/$row"
  IFS=: read -r arch series pages option <<<"$row"
  printf '\n'
  say "$row (at ${SECONDS} s)"
  if [[ ! -e $work/$arch ]]; then
    apart build_arch
    ((status == 0)) && touch "$work/$arch/built"
  fi
  start=$SECONDS
  if [[ -e $work/$arch/built ]]; then
    apart test_row
    ((status == 0)) || fail "the run ended early, with status $status"
  else
    fail 'the build failed'
  fi
  note seconds $((SECONDS - start))
done

# ---- The result -------------------------------------------------------------------------------

# sum KIND ROW...: the sum of the lines `KIND N`.
sum() {
  local kind=$1
  shift
  (cd "$results" && cat "$@") | awk -F '\t' -v kind="$kind" '$1 == kind { n += $2 } END { print n + 0 }'
}
line() { printf '%-26s  %-28s  %9s  %7s  %7s  %7s  %10s  %7s\n' "$@"; }
value() { awk -F '\t' -v kind="$1" '$1 == kind { v = $2 } END { print v == "" ? "-" : v }' "$results/$row"; }
# lines KIND: the distinct lines `KIND TEST REASON` of a row.
lines() { awk -F '\t' -v kind="$1" '$1 == kind && !seen[$0]++' "$results/$row"; }

printf '\n'
line row kernel 'page size' passed failed skipped departures seconds
for row in "${rows[@]}"; do
  line "$row" "$(value kernel)" "$(value page)" "$(sum passed "$row")" "$(sum failed "$row")" \
    "$(sum skipped "$row")" "$(lines departure | wc -l)" "$(value seconds)"
done
for kind in failure skip; do
  case $kind in
    failure) title='failed' ;;
    skip) title='skipped, and why' ;;
  esac
  for row in "${rows[@]}"; do
    lines "$kind" | while IFS=$'\t' read -r _ what why; do
      printf '  %-24s %s%s\n' "$row" "$what" "${why:+: $why}"
    done
  done >"$work/list"
  if [[ -s $work/list ]]; then
    printf '\n%s:\n' "$title"
    cat "$work/list"
  fi
done

passed=$(sum passed "${rows[@]}") failed=$(sum failed "${rows[@]}") skipped=$(sum skipped "${rows[@]}")
printf '\n%s s\n' "$SECONDS"
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
