# Counts the tests in the output of `cargo test` (both streams, in order).
#
# Prints, tab-separated:
#   passed N, failed N, skipped N
#   skip TEST REASON       a test that could not run, by its own word or by #[ignore]
#   departure TEST REASON  a test that met the emulator's known answer in place of Linux's
#   failure WHAT           a failed test, or a runner that died before it could tell
#
# The tests say the second and third as a line `skipped: TEST: REASON` or `emulator: TEST: REASON`
# on the real standard error, which may land in the middle of one of libtest's lines.
#
# A test may start its own program again, so the output of a runner may hold another one's lines. What
# counts is the runner's last result that accounts for as many tests as it said that it would run.
# Documentation tests can't do that, and have one result for each `running` line.
BEGIN { OFS = "\t"; passed = failed = skipped = 0; state = "" }

/^ +Running / || /^ +Doc-tests / {
  finish()
  runner = $0
  sub(/^ +/, "", runner)
  sub(/ \(.*$/, "", runner)
  sub(/^Running /, "", runner)
  doc = /^ +Doc-tests /
  state = "started"
  next
}
state == "" { next }

match($0, /running [0-9]+ tests?$/) {
  if (state != "running" || doc) {
    if (state == "running") finish()
    split(substr($0, RSTART), word, " ")
    expected = word[2]
    state = "running"
  }
}
match($0, /skipped: [^ ]+: ./) {
  rest = substr($0, RSTART + length("skipped: "))
  cut = index(rest, ": ")
  skips[substr(rest, 1, cut - 1)] = substr(rest, cut + 2)
}
match($0, /emulator: [^ ]+: ./) {
  rest = substr($0, RSTART + length("emulator: "))
  cut = index(rest, ": ")
  print "departure", substr(rest, 1, cut - 1), substr(rest, cut + 2)
}
/^test .* \.\.\. ignored/ {
  name = $0
  sub(/^test /, "", name)
  why = name
  sub(/ \.\.\. ignored.*/, "", name)
  sub(/.* \.\.\. ignored,? ?/, "", why)
  print "skip", name, (why == "" ? "ignored" : why)
}
# The list that ends the output of a runner; an earlier one has what the tests printed.
/^failures:$/ { split("", failures); next }
/^    [^ ].*$/ { failures[substr($0, 5)] = 1 }

match($0, /test result: (ok|FAILED)\. [0-9]+ passed; [0-9]+ failed; [0-9]+ ignored/) && state == "running" {
  split(substr($0, RSTART, RLENGTH), word, " ")
  if (word[4] + word[6] + word[8] == expected) {
    result[1] = word[4]; result[2] = word[6]; result[3] = word[8]
    have = 1
    if (doc) finish()
  }
}
END { finish(); print "passed", passed; print "failed", failed; print "skipped", skipped }

# Books what the runner said.
function finish(   name, full, n) {
  if (state == "started" || (state == "running" && !have)) {
    # `done` is a documentation run whose results are all booked.
    failed++
    print "failure", runner ": ended without a result: it died, or was killed for taking too long"
  } else if (have) {
    n = 0
    for (name in skips) {
      # A test that said it can't run and then failed has failed.
      for (full in failures) if (full == name || substr(full, length(full) - length(name) - 1) == "::" name) break
      if (full == name || substr(full, length(full) - length(name) - 1) == "::" name) continue
      print "skip", name, skips[name]
      n++
    }
    if (n > result[1]) {
      failed++
      print "failure", runner ": more tests said that they were skipped than passed"
      n = result[1]
    }
    passed += result[1] - n
    failed += result[2]
    skipped += result[3] + n
    if (result[2] > 0) for (name in failures) print "failure", runner ": " name
  }
  split("", skips); split("", failures)
  have = 0
  state = "done"
}
