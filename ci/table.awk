# The closing table of ci/qemu-test.sh, from files of lines as count.awk prints them.
#
# usage: awk -f ci/table.awk -v lists=FILE -v seconds=N ORDER:ARCH:USER...
#
# Each file is a row; further lines are `kernel NAME` and `page BYTES`. Prints what failed, then the
# table; skips and departures, which are many, go to the file `lists`. Fails when a test failed.
BEGIN { FS = "\t" }
FNR == 1 {
  rows++
  name = FILENAME
  sub(/.*\//, "", name)
  split(name, part, ":")
  arch[rows] = part[2]
  user[rows] = part[3]
  kernel[rows] = page[rows] = "-"
}
$1 == "kernel" { kernel[rows] = $2 }
$1 == "page" { page[rows] = $2 }
$1 ~ /^(passed|failed|skipped)$/ { count[$1, rows] += $2; total[$1] += $2 }
$1 ~ /^(failure|skip|departure)$/ && !seen[rows, $0]++ {
  list[$1] = list[$1] sprintf("  %-8s %-6s %s%s\n", arch[rows], user[rows], $2, $3 == "" ? "" : ": " $3)
  lines[$1, rows]++
}
END {
  printf "%s", section("skipped, and why", "skip") \
    section("where the emulator departs from Linux, as the tests expect", "departure") >lists
  close(lists)
  printf "\n%s", section("failed", "failure")
  print "what was skipped and why, and where emulators depart from Linux: " lists "\n"
  row("arch", "user", "kernel or emulator", "page size", "passed", "failed", "skipped", "departures")
  for (n = 1; n <= rows; n++)
    row(arch[n], user[n], kernel[n], page[n], 0 + count["passed", n], 0 + count["failed", n],
      0 + count["skipped", n], 0 + lines["departure", n])
  printf "\n%d s\n", seconds
  printf "%d passed, %d failed, %d skipped\n", total["passed"], total["failed"], total["skipped"]
  exit total["failed"] != 0
}

function section(title, kind) {
  return list[kind] == "" ? "" : title ":\n" list[kind] "\n"
}

function row(a, b, c, d, e, f, g, h) {
  printf "%-8s  %-8s  %-24s  %9s  %7s  %7s  %7s  %10s\n", a, b, c, d, e, f, g, h
}
