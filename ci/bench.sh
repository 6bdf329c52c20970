#!/usr/bin/env bash
# What do the crate and its peers cost, beside each other?
# shellcheck source=ci/lib.sh
. "$(dirname "$0")/lib.sh"

usage_if_asked "usage: ci/bench.sh [--check | ROW | heap]

Measures all rows, and writes benches/README.md, CSV files and plots; about ten minutes on a quiet machine of two cores.
Or measures one row (of programs on each allocator: heap), and prints it. Needs neither root nor quiet for what is exact.
With --check measures what is exact only and writes nothing (a minute and a half). It fails where the crate has more of
anything than benches/exact.csv says; and where a peer has less and benches/report/src/reasons.rs doesn't say why.
Instructions and bytes are a compiler's, faults and memory a kernel's: where that is another one, they count as
skipped.
RAWMAP_BENCH_ROUNDS: how often each allocator's program runs (5)." "$@"

cd "$ROOT"
check='' wanted=''
case ${1:-} in
  --check) check=1 ;;
  -*) refuse "there is no option '$1'" ;;
  *) wanted=${1:-} ;;
esac
(($# <= 1)) || refuse "it takes one argument, and '$2' is another"
need_cargo
need_tools cc make # jemalloc and mimalloc are built by these
rounds=${RAWMAP_BENCH_ROUNDS:-5}
[[ -z $check ]] || rounds=1
bench=benches target=${CARGO_TARGET_DIR:-benches/target}
make_work
exact=$work/exact.csv times=$work/times.csv
touch "$exact" "$times"
skipped=0 # counted here and not by skip, since the report's programs add theirs
skipped() { say "skipped: $*" && skipped=$((skipped + 1)); }
build() { cargo build --quiet --locked --manifest-path $bench/Cargo.toml --target-dir "$target" "$@"; }

say 'building'
features=(--features peers)
[[ -z $check ]] || features=() # the crate's own programs only
build --release -p report -p peers
build --release -p heap-bench "${features[@]}"
build --profile no-lto -p peers
"$target/release/report" machine >>"$exact"

say 'what is exact'
"$target/release/exact" 'fat LTO' ${wanted:+"$wanted"} >>"$exact"
"$target/no-lto/exact" 'no LTO' ${wanted:+"$wanted"} >>"$exact"
for arch in x86_64 aarch64 riscv64; do
  [[ -z $wanted || $wanted == call ]] || continue
  triple=$(triple_of "$arch")
  if ! [[ -d $(rustc --print sysroot)/lib/rustlib/$triple ]]; then
    skipped "call sites on $arch: no Rust target; with rustup: rustup target add $triple"
  else
    # Without LTO, which would fit a stub to the only call that this library makes by it.
    build --profile no-lto -p sites --target "$triple"
    "$target/release/sites" "$target/$triple/no-lto/libsites.a" >>"$exact"
  fi
done

say 'programs, on each allocator'
free=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo) >> 20))
if ((free < 4)); then
  skipped "programs: they take up to 3 GiB, and $free are free"
else
  "$target/release/heap-bench" "$exact" "$times" "$rounds" ${wanted:+"$wanted"}
fi

if [[ -n $check ]]; then
  say 'the comparison'
  cargo test --quiet --locked --manifest-path $bench/Cargo.toml --target-dir "$target" -p report
  "$target/release/report" check $bench "$exact" "$skipped"
  exit
fi

say 'times'
"$target/release/times" ${wanted:+"$wanted"} 2>&1 >>"$times" | tee "$work/said"
skipped=$((skipped + $(awk '/^skipped: / { n++ } END { print n + 0 }' "$work/said")))

if [[ -n $wanted ]]; then
  "$target/release/report" print "$exact" "$times" || die "nothing was measured for the row '$wanted'; benches/README.md names the rows"
else
  printf '#seconds,%s, without building what was built before\n' "$SECONDS" >>"$exact"
  cp "$exact" "$times" $bench/
  "$target/release/report" write $bench
  say "written: $bench/README.md, in $SECONDS s"
fi
say "$skipped skipped"
