# How each script ends: what failed, what was skipped and why, a table, the seconds, and the counts.
#
# usage: awk -f ci/table.awk -v seconds=N [-v lists=FILE] NUMBER[:NAME]...
#
# Each file is a row, of lines as count.awk prints them; further lines are `kernel NAME`, `page BYTES` and
# `seconds N`. The table has the rows whose files have a NAME. Where skips and departures are many, they go to
# the file `lists`. Fails when something failed.
BEGIN { FS = "\t" }
FNR == 1 {
  rows++
  name[rows] = FILENAME
  sub(/.*\//, "", name[rows])
  sub(/^[0-9]*:?/, "", name[rows])
  if (length(name[rows]) > width) width = length(name[rows])
}
$1 ~ /^(kernel|page|seconds)$/ { value[$1, rows] = $2 }
$1 ~ /^(passed|failed|skipped)$/ { count[$1, rows] += $2; total[$1] += $2 }
$1 ~ /^(failure|skip|departure)$/ && !seen[rows, $0]++ {
  said[$1, ++lines[$1]] = $2 ($3 == "" ? "" : ": " $3)
  of[$1, lines[$1]] = name[rows]
  here[$1, rows]++
}
END {
  more = section("skipped, and why", "skip") \
    section("where the emulator departs from Linux, as the tests expect", "departure")
  printf "\n%s", section("failed", "failure")
  if (lists == "") printf "%s", more
  else {
    printf "%s", more >lists
    close(lists)
    print "what was skipped and why, and where emulators depart from Linux: " lists "\n"
  }
  if (width) {
    line("row", "kernel or emulator", "page size", "passed", "failed", "skipped", "departures", "seconds")
    for (n = 1; n <= rows; n++)
      if (name[n] != "")
        line(name[n], or_dash("kernel", n), or_dash("page", n), 0 + count["passed", n], 0 + count["failed", n],
          0 + count["skipped", n], 0 + here["departure", n], or_dash("seconds", n))
    print ""
  }
  printf "%d s\n", seconds
  printf "%d passed, %d failed, %d skipped\n", total["passed"], total["failed"], total["skipped"]
  exit total["failed"] != 0
}

function or_dash(kind, n) { return (kind, n) in value ? value[kind, n] : "-" }

function section(title, kind,   n, text) {
  for (n = 1; n <= lines[kind]; n++)
    text = text "  " (width ? sprintf("%-" width "s  ", of[kind, n]) : "") said[kind, n] "\n"
  return text == "" ? "" : title ":\n" text "\n"
}

function line(a, b, c, d, e, f, g, h) {
  printf "%-" (width < 3 ? 3 : width) "s  %-28s  %9s  %7s  %7s  %7s  %10s  %7s\n", a, b, c, d, e, f, g, h
}
