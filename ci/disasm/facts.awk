# Facts about each function of a disassembly, for ci/disasm.sh.
#
# usage: objdump -dr --no-show-raw-insn FILE | awk -v arch=ARCH -f facts.awk
#
# Prints one line for each function, NAME then KEY=VALUE:
#   insns      instructions, without nop
#   bounds     compares with -4096 or -4095, the smallest error (riscv64: times that it is loaded)
#   compares   compares with different operands (riscv64 says one compare as a value and as a branch)
#   branches   conditional branches
#   stores     stores, but for the frame pointer and the return address
#   relocs     places that the linker or loader must fill in, but for calls of a stub
#   calls      system-call instructions, and calls of functions
#   stubs      of these, calls of the crate's stubs
#   looped     calls from which the same call can be reached again
#   vector     instructions that use vector or predicate registers
#   live       what lives across a call: REGISTER@ADDRESS OF THE CALL,... or none; or "unknown:"
#              and why (with _ for spaces), when the code can't be judged
#
# Liveness is the textbook's: a register lives at a point when on some path from there it is read
# before it is written whole. What is not known for certain counts as read:
# - Every register that an instruction names is read, and none is written, unless the instruction
#   is listed in writes_whole() and is neither masked nor merging; then what it names first is
#   written and the rest is read. New instructions make this report too much, never too little.
# - aarch64: d8 counts as z8, although the kernel and a called function keep the low half.
# - riscv64: vl and vtype are registers too, because a system call destroys them as well. A group of
#   registers goes by its first one: the compiler writes and reads it under one name.
# - A return reads nothing: what must survive for the caller is kept by the ABI, not by the loop.

function fact(key, value) { line = line " " key "=" value }

# The last N operands of an instruction are what it compares.
function last2(operands,    part, n) {
  n = split(operands, part, /, */)
  return part[n - 1] "," part[n]
}

function is_call(op) {
  if (arch == "x86_64") return op ~ /^(syscall|callq?)$/
  if (arch == "aarch64") return op ~ /^(svc|blr?)$/
  return op ~ /^(ecall|jal|jalr|call)$/
}

function is_branch(op) {
  if (arch == "x86_64") return op ~ /^j/ && op !~ /^jmp/
  if (arch == "aarch64") return op ~ /^(b\.|cbn?z|tbn?z)/
  return op ~ /^b/
}

function is_jump(op) { return op ~ /^(jmpq?|b|br|j|jr|tail)$/ }

function is_end(op) { return op ~ /^(ret|retq|ud2|udf|brk|ebreak|unimp|c\.unimp)$/ }

function is_store(op, operands) {
  if (arch == "x86_64") return op ~ /^push/ || (op !~ /^(lea|cmp|test|nop|call|jmp)/ && operands ~ /\)$/)
  if (arch == "aarch64") return op ~ /^st/ && operands !~ /^(x29, )?x30, \[sp/
  return op ~ /^(s[bhwd]|fs[hwd]|vs[1248es].*|sc\..*|amo.*)$/
}

function is_bound(op, operands) {
  if (arch == "x86_64") return op == "cmp" && operands ~ /^\$0xfffffffffffff00[01],/
  if (arch == "aarch64") return op == "cmn" && operands ~ /#(0x1, lsl #12|0xfff)$/
  return op == "lui" && operands ~ /,0xfffff$/
}

# The operands of a compare, or nothing.
function compared(op, operands,    part) {
  if (arch == "x86_64") return op ~ /^(cmp|test)/ ? operands : ""
  if (arch == "aarch64") return op ~ /^(cmp|cmn|tst|ccmp|ccmn|cbn?z|tbn?z)$/ ? operands : ""
  if (op ~ /^slt/) return last2(operands)
  if (op !~ /^b/) return ""
  split(operands, part, ",") # bgeu a2,a1,18 <f+0x18> compares what sltu a0,a2,a1 does
  return part[1] "," part[2]
}

# Does the instruction write all of the first register that it names, and not read it?
function writes_whole(op, operands,    n, part) {
  if (arch == "aarch64") {
    if (operands ~ /\/m/) return 0
    n = split(operands, part, /, */)
    if (part[1] ~ /\[/) return 0
    if (op ~ /^(ldr|ldp|ldur|ldnp|ld1r?[bhwd]|ld1rq[bhwd])$/) return 1
    if (op ~ /^(mov|movi|fmov|dup|index|movprfx|pfalse|ptrues?|while[a-z]+)$/) return 1
    if (op ~ /^cmp[a-z]+$/ || op == "sel") return 1
    return n > 2 && op ~ /^(add|sub|mul|eor|orr|and|lsl|lsr|asr|cm[a-z][a-z])$/
  }
  if (op ~ /^(vmv[1248]r\.v|vl[1248]re?[0-9]*\.v)$/) return 1
  # Where some instruction keeps a tail, any may.
  if (operands ~ /v0\.t/ || keeps_tail) return 0
  if (op ~ /^(vmv\.v\.[xiv]|vmv\.s\.x|vle[0-9]+\.v|vid\.v|vms[a-z]+\.v[xiv])$/) return 1
  return op ~ /^v(add|sub|rsub|mul|and|or|xor|sll|srl|sra)\.v[xiv]$/
}

# Enters the vector and predicate registers in TEXT into TABLE (use or def) for instruction i, and
# returns how many there were.
function enter(table, i, text,    word, n, j, name, from, found) {
  if (arch == "aarch64" && match(text, /[zv][0-9]+\.[0-9a-z]+-[zv][0-9]+/)) {
    # {z0.b-z3.b}: those between.
    split(substr(text, RSTART, RLENGTH), word, "-")
    n = substr(word[2], 2) + 0
    for (from = substr(word[1], 2) + 0; from <= n; from++) text = text " z" from
  }
  n = split(text, word, /[^0-9a-z]+/)
  for (j = 1; j <= n; j++) {
    name = word[j]
    if (arch == "riscv64") {
      if (name !~ /^(v[0-9]+|vl|vtype)$/) continue
    } else {
      if (name !~ /^[zvqdshbp][0-9]+$/) continue
      if (name ~ /^[zp]/) wide = 1
      if (name !~ /^p/) name = "z" substr(name, 2)
    }
    found++
    regs[name]
    table[i, name]
  }
  return found
}

# Fills in use and def for instruction i; says whether it is a vector instruction (on aarch64, one
# of SVE).
function registers(i, op, operands,    cut) {
  if (arch == "x86_64" || is_call(op) || is_branch(op) || is_jump(op) || is_end(op)) return 0
  sub(/ *[0-9a-f]+ <.*/, "", operands)
  if (arch == "riscv64") {
    if (op ~ /^vset/) {
      enter(def, i, "vtype")
      # With zero, zero the old vl stays.
      if (operands ~ /^zero,zero,/) enter(use, i, "vl")
      else enter(def, i, "vl")
      return 1
    }
    if (op ~ /^csrr/) return enter(use, i, operands) * 0
    if (op !~ /^v/) return 0
    # What moves whole registers has no need of vl; to and from memory, not of vtype either.
    if (op !~ /^v(l|s)[1248]r/) enter(use, i, "vtype")
    if (op !~ /^v(mv|l|s)[1248]r/) enter(use, i, "vl")
  }
  wide = 0
  if (writes_whole(op, operands)) {
    cut = operands ~ /^\{/ ? index(operands, "}") : index(operands ",", ",")
    # A pair of registers is loaded.
    if (op ~ /^ldn?p$/) cut += index(substr(operands, cut + 1) ",", ",")
    enter(def, i, substr(operands, 1, cut))
    operands = substr(operands, cut + 1)
  }
  enter(use, i, operands)
  return arch == "riscv64" || wide
}

# Can instruction TO be reached from one that follows instruction FROM?
function reaches(from, to,    todo, n, seen, at) {
  todo[n = 1] = from
  while (n) {
    at = todo[n--]
    if (next1[at] == to || next2[at] == to) return 1
    if (next1[at] && !(next1[at] in seen)) { seen[next1[at]]; todo[++n] = next1[at] }
    if (next2[at] && !(next2[at] in seen)) { seen[next2[at]]; todo[++n] = next2[at] }
  }
  return 0
}

function liveness(    i, r, out, changed) {
  do {
    changed = 0
    for (i = n; i; i--) {
      for (r in regs) {
        if ((i, r) in live) continue
        out = ((next1[i], r) in live) || ((next2[i], r) in live)
        if (((i, r) in use) || (out && !((i, r) in def))) { live[i, r]; changed = 1 }
      }
    }
  } while (changed)
}

function finish(    i, r, op, target, insns, bounds, branches, stores, calls, looped, vector, across, key, seen, compares) {
  if (name == "") return
  keeps_tail = 0
  for (i = 1; i <= n; i++) if (ops[i] ~ /^vset/ && args[i] ~ /,tu,/) keeps_tail = 1
  for (i = 1; i <= n; i++) {
    op = ops[i]
    insns += op != "nop"
    bounds += is_bound(op, args[i])
    branches += is_branch(op)
    stores += is_store(op, args[i])
    calls += is_call(op)
    key = compared(op, args[i])
    if (key != "" && !(key in seen)) { seen[key]; compares++ }
    vector += registers(i, op, args[i])

    if (op ~ /^(\.|\(bad\)|undefined)/) unknown = "can't disassemble " op " " args[i]
    next1[i] = next2[i] = 0
    if (!is_end(op) && !is_jump(op) && i < n) next1[i] = i + 1
    if (is_branch(op) || is_jump(op)) {
      target = args[i]
      if (match(target, /[0-9a-f]+ <[^>]*>$/)) {
        target = substr(target, RSTART)
        # Elsewhere than in this function: it is left.
        if (index(target, "<" name ">") || index(target, "<" name "+") || index(target, "<.L")) {
          sub(/ .*/, "", target)
          next2[i] = at[target]
        }
      } else unknown = "computed jump: " op " " args[i]
    }
  }
  liveness()
  for (i = 1; i <= n; i++) {
    if (!is_call(ops[i])) continue
    looped += reaches(i, i)
    for (r in regs)
      if (((next1[i], r) in live)) across = across (across ? "," : "") r "@" addrs[i]
  }
  line = name
  fact("insns", insns + 0)
  fact("bounds", bounds + 0)
  fact("compares", compares + 0)
  fact("branches", branches + 0)
  fact("stores", stores + 0)
  fact("relocs", relocs + 0)
  fact("calls", calls + 0)
  fact("stubs", stubs + 0)
  fact("looped", looped + 0)
  fact("vector", vector + 0)
  gsub(/ /, "_", unknown)
  fact("live", unknown ? "unknown:" unknown : across ? across : "none")
  print line
}

# riscv64 has labels inside functions for its relocations.
/^[0-9a-f]+ <\.L.*>:$/ { next }

/^[0-9a-f]+ <.*>:$/ {
  finish()
  name = $2
  gsub(/[<>:]/, "", name)
  n = relocs = stubs = 0
  unknown = ""
  split("", ops); split("", args); split("", addrs); split("", at)
  split("", use); split("", def); split("", live); split("", regs)
  split("", next1); split("", next2)
  next
}

/^\t\t\t/ {
  # R_RISCV_RELAX and _BRANCH and the like only serve a linker that shortens code.
  if ($2 ~ /^R_RISCV_(RELAX|ALIGN|BRANCH|JAL|RVC_BRANCH|RVC_JUMP)$/) next
  if ($3 ~ /syscall[0-6]/ && $2 ~ /CALL|JUMP|PLT/) stubs++
  else relocs++
  next
}

/^ *[0-9a-f]+:\t/ {
  addr = $1
  sub(/:/, "", addr)
  sub(/^ *[0-9a-f]+:\t/, "")
  sub(/[ \t]*\/\/.*/, "")
  if (arch != "aarch64") sub(/[ \t]+#.*/, "")
  gsub(/[ \t]+/, " ")
  sub(/ $/, "")
  at[addr] = ++n
  addrs[n] = addr
  ops[n] = $1
  sub(/^[^ ]+ ?/, "")
  args[n] = $0
}

END { finish() }
