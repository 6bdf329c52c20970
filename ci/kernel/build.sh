#!/usr/bin/env bash
# How is a kernel built that Debian has no package of? From Debian's source, as small as the tests allow.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/../lib.sh"

usage_if_asked "usage: ci/kernel/build.sh KERNEL FOLDER

Puts the kernel into FOLDER as vmlinuz, its configuration as config, and a mark, built. Downloads
150 MB, needs 2 GB while it builds, and takes about four minutes on two idle cores. See
ci/kernel-test.sh.
  KERNEL   aarch64:64k or riscv64:4k, both of Linux 6.12" "$@"

(($# == 2)) || refuse 'it takes two arguments'
folder=$2
series=6.12
suites=(trixie bookworm-backports)

# What the tests need, beside the smallest kernel that can be configured.
options=(
  # It starts, and talks.
  PRINTK BUG KALLSYMS BLK_DEV_INITRD BINFMT_ELF BINFMT_SCRIPT TTY OF CC_OPTIMIZE_FOR_PERFORMANCE
  # What programs expect.
  MULTIUSER FUTEX POSIX_TIMERS HIGH_RES_TIMERS EPOLL SIGNALFD EVENTFD TIMERFD AIO FILE_LOCKING FHANDLE
  MEMBARRIER RSEQ ADVISE_SYSCALLS COREDUMP NET UNIX PROC_FS PROC_SYSCTL PROC_PAGE_MONITOR
  SYSFS DEVTMPFS TMPFS SHMEM SECCOMP SECCOMP_FILTER
  # Memory, as Debian's kernels have it.
  MEMFD_CREATE SECRETMEM USERFAULTFD TRANSPARENT_HUGEPAGE HUGETLBFS KSM SWAP COMPACTION MIGRATION
  MEMORY_FAILURE CROSS_MEMORY_ATTACH
  # The disk.
  PCI PCI_HOST_GENERIC BLOCK BLK_DEV VIRTIO_MENU VIRTIO_PCI VIRTIO_BLK EXT4_FS
)
off=(CC_OPTIMIZE_FOR_SIZE BASE_SMALL MODULES)
case $1 in
  aarch64:64k)
    arch=aarch64 linux_arch=arm64
    options+=(SERIAL_AMBA_PL011 SERIAL_AMBA_PL011_CONSOLE ARM_AMBA ARM_PSCI_FW RELOCATABLE
      ARM64_64K_PAGES ARM64_SVE ARM64_BTI ARM64_TAGGED_ADDR_ABI ARM64_MTE)
    off+=(ARM64_4K_PAGES)
    needed=ARM64_64K_PAGES
    ;;
  riscv64:4k)
    arch=riscv64 linux_arch=riscv
    options+=(64BIT MMU SMP FPU RISCV_ISA_C RISCV_ISA_V RISCV_ISA_V_DEFAULT_ENABLE RISCV_SBI
      SERIAL_8250 SERIAL_8250_CONSOLE SERIAL_OF_PLATFORM SIFIVE_PLIC)
    off+=(32BIT)
    needed=RISCV_ISA_V
    ;;
  *) refuse "'$1' is none that can be built here" ;;
esac

mapfile -t tools < <(linkers "$arch")
need_tools "${tools[@]}" make flex bison bc xz
host=$(deb_arch_of "$HOST_ARCH")
package=$CACHE/linux-source-$series
for suite in "${suites[@]}"; do
  [[ ! -d $package ]] || break
  [[ $(deb_version "$host" "$suite" "linux-source-$series") == "$series".* ]] || continue
  fetch_debs "$host" "$suite" "$package" "linux-source-$series"
done
[[ -d $package ]] || die "none of ${suites[*]} has linux-source-$series"

tree=$(mktemp -d "$CACHE/build-kernel.XXXXXX")
trap 'rm -rf "$tree"' EXIT
say 'unpacking the source'
tar -C "$tree" --strip-components=1 -xf "$package/usr/src/linux-source-$series.tar.xz"
build() { nice make -s -C "$tree" ARCH="$linux_arch" CROSS_COMPILE="$arch-linux-gnu-" "$@"; }
build tinyconfig
for option in "${off[@]}"; do "$tree/scripts/config" --file "$tree/.config" -d "$option"; done
for option in "${options[@]}"; do "$tree/scripts/config" --file "$tree/.config" -e "$option"; done
build olddefconfig
# `olddefconfig` silently drops an option that depends on one that is off.
for option in "${options[@]}"; do
  grep -qx "CONFIG_$option=y" "$tree/.config" || say "not there in this kernel: CONFIG_$option"
done
grep -qx "CONFIG_$needed=y" "$tree/.config" || die "no CONFIG_$needed; see the options in this script"
say "building Linux $(build kernelversion) as $1, at $(date +%T)"
build -j"$(nproc)" Image
say "built, at $(date +%T)"
mkdir -p "$folder.new"
cp "$tree/arch/$linux_arch/boot/Image" "$folder.new/vmlinuz"
cp "$tree/.config" "$folder.new/config"
touch "$folder.new/built"
rm -rf "$folder"
mv "$folder.new" "$folder"
