# shellcheck shell=bash
# Debian's packages: installed on this machine, or unpacked in the cache folder, of any suite and architecture.
# Sourced by ci/lib.sh.

# ---- Packages of this machine -----------------------------------------------------------------

# need_tools TOOL...: looks for all these commands first. Then it installs the packages of those that are missing,
# or, where it can't, names all of them in one command. A TOOL? that ends in a question mark is wished for: it comes
# along with others, or alone where this is root; and where only such a one is missing, the script goes on.
need_tools() {
  local tool missing=() wished=()
  for tool; do
    ! command -v "${tool%\?}" >/dev/null || continue
    if [[ $tool == *\? ]]; then wished+=("${tool%\?}"); else missing+=("$tool"); fi
  done
  if ((${#missing[@]})); then
    need_packages "${missing[@]}" "${wished[@]}"
  elif ((${#wished[@]} && EUID == 0)) && command -v apt-get >/dev/null; then
    (need_packages "${wished[@]}") || say "going on without ${wished[*]}"
  fi
}

# linkers ARCH...: prints the tools by which programs of ARCH are linked: the C cross compiler; and always this
# machine's own C compiler, because build scripts and procedural macros run here.
linkers() {
  local arch
  echo cc
  for arch; do [[ $arch == "$HOST_ARCH" ]] || echo "$arch-linux-gnu-gcc"; done
}

# packages_of TOOL: prints Debian's packages that have this command, and what it doesn't work without.
packages_of() {
  local arch=${1%-linux-gnu-gcc}
  case $1 in
    cc) echo gcc libc6-dev ;;
    c++) echo g++ ;;
    *-linux-gnu-gcc) echo "gcc-${arch//_/-}-linux-gnu" "libc6-dev-$(deb_arch_of "$arch")-cross" ;;
    readelf | strip) echo binutils ;;
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
  command -v apt-get >/dev/null || die "this machine has no apt-get; install what Debian calls: ${packages[*]}"
  ((EUID == 0)) || command -v sudo >/dev/null ||
    die "this is not root, and there is no sudo; as root run: apt-get update && apt-get install ${packages[*]}"
  say "installing ${packages[*]}"
  with_lock apt apt_install "${packages[@]}" ||
    die "apt-get could not install ${packages[*]} (above); install them by hand, then run this again"
}

apt_install() {
  local as_root=(env DEBIAN_FRONTEND=noninteractive)
  ((EUID == 0)) || as_root=(sudo "${as_root[@]}")
  local install=("${as_root[@]}" apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@")
  # A fresh machine has no package lists, and an old one may have lists that name vanished versions: then this fails,
  # and is tried again with new lists.
  run "${install[@]}" </dev/null && return
  run "${as_root[@]}" apt-get update -q </dev/null && run "${install[@]}" </dev/null
}

# ---- Packages of other architectures and suites, unpacked privately ---------------------------

# deb_arch_of ARCH: prints Debian's name of it.
deb_arch_of() {
  case $1 in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    riscv64) echo riscv64 ;;
    i686) echo i386 ;;
    *) die "Debian's name of the architecture '$1' is not known" ;;
  esac
}

# debian_codename: prints bookworm, trixie, ...; fails where this is not Debian.
debian_codename() {
  local ID='' VERSION_CODENAME=''
  # shellcheck source=/dev/null
  [[ -r /etc/os-release ]] && . /etc/os-release
  [[ $ID == debian && -n $VERSION_CODENAME ]] && printf '%s\n' "$VERSION_CODENAME"
}

# mirror_of SUITE: prints the address from which this machine gets Debian. apt-get itself reads its sources (both
# forms of them); asked for addresses only, it does not touch the network.
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
# it verifies signatures and checksums as apt always does.
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

# papt_update ARCH SUITE: reads the suite's package lists, 1-15 MB, unless that was done less than an hour ago.
papt_update() { with_lock "apt-$2-$1" papt_update_locked "$@"; }

papt_update_locked() {
  local stamp=$CACHE/apt/$2-$1/updated
  [[ ! -e $stamp || -z $(find "$stamp" -mmin -60) ]] || return 0
  say "reading the package lists of $2 for $1" >&2
  # Where the mirror doesn't have the architecture, this fails, and the caller tries another suite.
  papt "$1" "$2" apt-get update -q >&2 </dev/null && touch "$stamp"
}

# deb_version ARCH SUITE PKG: prints the version that the suite offers; fails when it offers none.
deb_version() {
  local version
  papt_update "$1" "$2" || return 1
  # What apt-cache says of a package that the suite doesn't have is no error here.
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
  # The last step renames a folder to FOLDER, so if FOLDER is there, it is complete.
  [[ -d $folder ]] && return
  local debs=$folder.debs unpacked=$folder.unpacking
  papt_update "$arch" "$suite" || return 1
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

