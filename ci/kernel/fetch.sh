#!/usr/bin/env bash
# Where does a kernel for a virtual machine come from? From a package of Debian's, or else ci/kernel/build.sh builds it.
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/../lib.sh"

usage_if_asked "usage: ci/kernel/fetch.sh ARCH KERNEL PAGES FOLDER

Makes FOLDER, with the kernel as vmlinuz, its configuration as config, and the modules for a disk, named in
the order in which they load. ARCH, KERNEL and PAGES are those of ci/kernel-test.sh, which runs this.
Does nothing when FOLDER is there; but the newest kernel is looked for again after a week, and so is one
that was built because its package could not be had." "$@"

(($# == 4)) || refuse 'it takes four arguments'
arch=$1 series=$2 pages=$3 folder=$4
need_tools xz # modules are compressed

# depends PACKAGE: prints what it depends on, one a line.
depends() { papt "$deb_arch" "$suite" apt-cache show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr -s ', ' '\n'; }

# find_package FLAVOUR SUITE...: sets `suite` and `image` to the package with the newest kernel of the series that these
# suites' linux-image-FLAVOUR depends on. Fails when there is none.
find_package() {
  local flavour=$1 version newest='' found=''
  image=''
  shift
  for suite; do
    version=$(deb_version "$deb_arch" "$suite" "linux-image-$flavour") || continue
    [[ $series == newest || $version == "$series".* ]] || continue
    [[ -z $newest ]] || dpkg --compare-versions "$version" gt "$newest" || continue
    newest=$version found=$suite
  done
  suite=$found
  [[ -n $suite ]] && image=$(depends "linux-image-$flavour" | sed -n '/^linux-image-/p')
}

# find_old_package FLAVOUR SUITE: the same of a series that linux-image-FLAVOUR has left behind, of which the suite
# keeps the images.
find_old_package() {
  suite=$2
  papt_update "$deb_arch" "$suite" || return 1
  image=$(papt "$deb_arch" "$suite" apt-cache pkgnames | sed -n "/^linux-image-$series\.[^-]*-$1\$/p" | sort -V | tail -n 1)
  [[ -n $image ]]
}

# unpack_package: makes $folder, of the package $image.
unpack_package() {
  local packages=("$image") unpacked=$folder.package new=$folder.new file
  # Since 6.19 this package has no files, and depends on those that have.
  if [[ $(depends "$image") == *linux-binary-* ]]; then
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
  [[ -f $new/vmlinuz ]] || die "there is no kernel in ${packages[*]}"
  # ext4 asks for crc32c by a name that only modprobe knows, so it isn't among what the module depends on.
  for file in crc32c_generic ext4 virtio_pci virtio_blk; do take_module "$file"; done
  rm -rf "$folder"
  mv "$new" "$folder"
  rm -rf "$unpacked"
}

# take_module NAME: copies a module into $new/modules, and before it the modules that it depends on. A module that is
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

if [[ -d $folder ]]; then
  [[ $series == newest || -e $folder/built && $pages != 64k ]] || exit 0
  [[ -n $(find "$folder" -maxdepth 0 -mtime +7) ]] || exit 0
fi
deb_arch=$(deb_arch_of "$arch")
case $arch:$pages in
  riscv64:4k) flavour=riscv64 ;;
  *:4k) flavour=cloud-$deb_arch ;;
  *) flavour=$deb_arch-$pages ;;
esac
case $series:$pages in
  *:64k) found=none ;; # Debian has no package of it
  6.1:*) find_package "$flavour" bookworm && found=package ;;
  6.12:*) find_package "$flavour" trixie bookworm-backports && found=package ;;
  6.18:*) find_old_package "$flavour" trixie-backports && found=package ;;
  newest:*) find_package "$flavour" trixie-backports sid && found=package ;;
  *) refuse "'$series' is no kernel that can be had" ;;
esac || found=none
if [[ $found == package ]]; then
  unpack_package
elif [[ -d $folder ]]; then
  say "no other kernel can be found now; staying with the one in $folder"
elif [[ $arch:$series:$pages == aarch64:6.12:64k || $arch:$series:$pages == riscv64:6.12:4k ]]; then
  say "Debian has no package of $arch:$series:$pages, or its lists can't be read now (above); it is built here, in minutes"
  "$ROOT/ci/kernel/build.sh" "$arch:$pages" "$folder"
else
  die "Debian has no package of $arch:$series:$pages, or its lists can't be read now (above)"
fi
