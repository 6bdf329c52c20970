# shellcheck shell=bash
# QEMU, of one program (user mode) and of a machine. Sourced by ci/lib.sh.
#
# Version 10 is the least that is looked for: before, user mode gets some mapping calls wrong, and version 7.2's
# machines panic at random with newer kernels.
#
# What it sets is for the scripts that source it:
# shellcheck disable=SC2034

# qemu_version COMMAND...: prints its version, such as 10.0.2.
qemu_version() { "$@" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p'; }

# is_new_qemu COMMAND...
is_new_qemu() {
  local version
  version=$(qemu_version "$@") && [[ -n $version ]] && ((${version%%.*} >= 10))
}

# fetch_qemu FOLDER PKG...: unpacks these packages of QEMU in FOLDER, unless that was done before. Fails where this is
# not Debian, or no suite has them in a new version.
fetch_qemu() {
  local folder=$1 codename suite host_deb
  [[ ! -d $folder ]] || return 0
  codename=$(debian_codename) && host_deb=$(deb_arch_of "$HOST_ARCH") || return 1
  for suite in "$codename-backports" "$codename"; do
    [[ $(deb_version "$host_deb" "$suite" "$2") =~ ^[0-9]+:([0-9]+)\. ]] || continue
    ((BASH_REMATCH[1] < 10)) || fetch_debs "$host_deb" "$suite" "$@" && return
  done
  return 1
}

# use_qemu_user ARCH: sets QEMU to the emulator of one program of ARCH and QEMU_VERSION to its version: what is
# installed if it is new, else what can be fetched, else what is installed or can be.
use_qemu_user() {
  local fetched=$CACHE/qemu-user/usr/bin/qemu-$1 installed
  installed=$(command -v "qemu-$1" || command -v "qemu-$1-static" || :)
  if [[ -n $installed ]] && is_new_qemu "$installed"; then
    QEMU=$installed
  elif fetch_qemu "$CACHE/qemu-user" qemu-user && [[ -x $fetched ]]; then
    QEMU=$fetched
  elif [[ -n $installed ]]; then
    QEMU=$installed
  else
    need_tools "qemu-$1"
    QEMU=$(command -v "qemu-$1") || die "there is no qemu-$1; install QEMU's user mode, 10 or later"
  fi
  QEMU_VERSION=$(qemu_version "$QEMU")
}

# emulators ARCH...: prints those that use_qemu_user could not fetch, for need_tools.
emulators() {
  local arch
  ! debian_codename >/dev/null || return 0
  for arch; do
    [[ $arch == "$HOST_ARCH" ]] || command -v "qemu-$arch-static" >/dev/null || echo "qemu-$arch"
  done
}

# use_qemu_system ARCH: sets QEMU_SYSTEM to the command that emulates a machine of ARCH, and QEMU_VERSION to its
# version. It is unpacked and not installed, because an installation would remove other versions of QEMU's packages.
use_qemu_system() {
  local folder=$CACHE/qemu-system libs path='' installed
  installed=$(command -v "qemu-system-$1" || :)
  if [[ -n $installed ]] && is_new_qemu "$installed"; then
    QEMU_SYSTEM=("$installed")
  else
    fetch_qemu "$folder" qemu-system-x86 qemu-system-arm qemu-system-riscv qemu-system-common qemu-system-data \
      opensbi seabios || die "there is no qemu-system-$1 to be had from Debian; install QEMU, 10 or later"
    fetch_libraries "$CACHE/qemu-system-libraries" qemu-system-x86 qemu-system-arm qemu-system-riscv
    for libs in "$CACHE"/qemu-system-libraries{,/usr}/lib/*-linux-gnu; do path+=${path:+:}$libs; done
    QEMU_SYSTEM=(env "LD_LIBRARY_PATH=$path"
      "$folder/usr/bin/qemu-system-$1" -L "$folder/usr/share/qemu" -L "$folder/usr/share/seabios")
  fi
  QEMU_VERSION=$(qemu_version "${QEMU_SYSTEM[@]}")
  [[ -n $QEMU_VERSION ]] || die "${QEMU_SYSTEM[*]} does not start (above); if it lies in $CACHE, delete it and its libraries there"
}

# fetch_libraries FOLDER PKG...: unpacks in FOLDER the libraries on which these packages depend and which are not
# installed on this machine.
fetch_libraries() {
  local folder=$1 codename host_deb libraries
  shift
  [[ -d $folder ]] && return
  host_deb=$(deb_arch_of "$HOST_ARCH")
  codename=$(debian_codename) || return 1
  papt_update "$host_deb" "$codename" || return 1
  libraries=$(papt "$host_deb" "$codename" apt-cache depends -i "$@" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u)
  # Of these and of what they depend on in turn, what apt-get would install here. It would also install newer versions
  # of what is installed: those lines have the old version in brackets, and don't match.
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
