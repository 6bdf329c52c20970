#!/usr/bin/env bash
# Does each example of the documentation compile as it is shown, without the lines that rustdoc hides?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/shown.sh

Copies the sources, with each example as a reader sees it and pastes it into
\`fn main() -> Result<(), Box<dyn std::error::Error>>\`, and compiles the examples of the copy, with the
feature std and the crate libc. It takes ten seconds." "$@"

no_arguments "$@"
need_cargo
need_tools cc

copy=$ROOT/target/shown
rm -rf "$copy/src" "$copy/arch"
mkdir -p "$copy"
cd "$ROOT"
find src arch README.md \( -name '*.rs' -o -name '*.md' \) -print | while read -r file; do
  mkdir -p "$copy/$(dirname "$file")"
  awk -f ci/shown.awk "$file" >"$copy/$file"
done
sed '/^\[dev-dependencies\]$/,$d' Cargo.toml >"$copy/Cargo.toml"
printf '[dev-dependencies]\nlibc = "0.2"\n\n[workspace]\n' >>"$copy/Cargo.toml"
run cargo test --doc --features std --manifest-path "$copy/Cargo.toml" --target-dir "$copy/target"
