#!/usr/bin/env bash
# Builds an aarch64 kernel with pages of 64 KiB, of which Debian has no package, from Debian's source.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/../lib.sh"

usage_if_asked "usage: ci/kernel/build-64k.sh FOLDER

Puts the kernel into FOLDER as vmlinuz, and its configuration as config. Downloads 150 MB, needs 2 GB
while it builds, and takes about four minutes on two idle cores. See ci/kernel-test.sh." "$@"

(($# == 1)) || die 'exactly one folder, please (see --help)'
folder=$1
series=6.12
suites=(trixie bookworm-backports)

# What the tests need of the smallest kernel that there is.
options=(
  # It starts, and talks.
  PRINTK BUG KALLSYMS BLK_DEV_INITRD BINFMT_ELF BINFMT_SCRIPT TTY SERIAL_AMBA_PL011 SERIAL_AMBA_PL011_CONSOLE
  ARM_AMBA OF ARM_PSCI_FW RELOCATABLE CC_OPTIMIZE_FOR_PERFORMANCE
  # What programs expect.
  MULTIUSER FUTEX POSIX_TIMERS HIGH_RES_TIMERS EPOLL SIGNALFD EVENTFD TIMERFD AIO FILE_LOCKING FHANDLE
  MEMBARRIER RSEQ ADVISE_SYSCALLS COREDUMP NET UNIX PROC_FS PROC_SYSCTL PROC_PAGE_MONITOR
  SYSFS DEVTMPFS TMPFS SHMEM SECCOMP SECCOMP_FILTER
  # Memory, as Debian's kernels have it.
  MEMFD_CREATE SECRETMEM USERFAULTFD TRANSPARENT_HUGEPAGE HUGETLBFS KSM SWAP COMPACTION MIGRATION
  MEMORY_FAILURE CROSS_MEMORY_ATTACH
  ARM64_64K_PAGES ARM64_SVE ARM64_BTI ARM64_TAGGED_ADDR_ABI ARM64_MTE
  # The disk.
  PCI PCI_HOST_GENERIC BLOCK BLK_DEV VIRTIO_MENU VIRTIO_PCI VIRTIO_BLK EXT4_FS
)

need_packages make flex bison bc xz-utils
need_linker aarch64
command -v gcc >/dev/null || need_packages gcc libc6-dev
host=$(deb_arch_of "$HOST_ARCH")
package=$CACHE/linux-source-$series
for suite in "${suites[@]}"; do
  [[ ! -d $package ]] || break
  [[ $(deb_version "$host" "$suite" "linux-source-$series") == "$series".* ]] || continue
  fetch_debs "$host" "$suite" "$package" "linux-source-$series"
done
[[ -d $package ]] || die "none of ${suites[*]} has linux-source-$series"

tree=$(mktemp -d "$CACHE/build-64k.XXXXXX")
trap 'rm -rf "$tree"' EXIT
say 'unpacking the source'
tar -C "$tree" --strip-components=1 -xf "$package/usr/src/linux-source-$series.tar.xz"
build() { nice make -s -C "$tree" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "$@"; }
build tinyconfig
"$tree/scripts/config" --file "$tree/.config" -d CC_OPTIMIZE_FOR_SIZE -d BASE_SMALL -d ARM64_4K_PAGES -d MODULES
for option in "${options[@]}"; do "$tree/scripts/config" --file "$tree/.config" -e "$option"; done
build olddefconfig
# What depends on something that is off is silently left out.
for option in "${options[@]}"; do
  grep -qx "CONFIG_$option=y" "$tree/.config" || say "not there in this kernel: CONFIG_$option"
done
grep -qx 'CONFIG_ARM64_64K_PAGES=y' "$tree/.config" || die 'no pages of 64 KiB; see the options in this script'
say "building Linux $(build kernelversion) with pages of 64 KiB, at $(date +%T)"
build -j"$(nproc)" Image
say "built, at $(date +%T)"
mkdir -p "$folder.new"
cp "$tree/arch/arm64/boot/Image" "$folder.new/vmlinuz"
cp "$tree/.config" "$folder.new/config"
rm -rf "$folder"
mv "$folder.new" "$folder"
rm -rf "$package"
