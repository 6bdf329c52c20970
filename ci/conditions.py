#!/usr/bin/env python3
"""usage: conditions.py FOLDER

Adds to the crate in FOLDER a copy of src/check/rules.rs for each mistake in a condition: a comparison that holds or
doesn't hold where both sides are equal, == and != exchanged, && and || exchanged, a range that ends one later; and
`rawmap::CONDITIONS`, the list of them: what is changed, and the verdict by it. For ci/mutants.sh.
"""
import re
import sys
from pathlib import Path

OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
# A comparison stands between spaces; a range is closed, and of numbers.
MISTAKE = re.compile(r" (<|<=|>|>=|==|!=|&&|\|\|) |\.\.=(\d+)")
LIST = """
{modules}
pub type Verdict = fn(Call, &Kernel) -> Result<(), Refusal>;

/// Each mistake, and the verdict by the list that has it.
pub const CONDITIONS: &[(&str, Verdict)] = &[
{rows}
];
"""


def code(line):
    """What of a line is the condition or the definition of a name."""
    line = line.split(" //")[0]
    return line.split(" => ")[0] if re.match(r" +(refuse|ask|change|pass|given)\(", line) else ""


def mistakes(text):
    """The number of each line with a condition, the line with a mistake in it, and the mistake marked."""
    for n, line in enumerate(text.splitlines()):
        for found in MISTAKE.finditer(code(line)):
            old, last = found[1], found[2]
            new = OTHER[old] if old else str(int(last) + 1)
            at = found.start(1 if old else 2)
            end = at + len(old or last)
            yield n, line[:at] + new + line[end:], f"{line[:at]}>>{new}<<{line[end:]}".strip()


def main(folder):
    check = Path(folder, "src/check")
    text = (check / "rules.rs").read_text()
    lines = text.splitlines()
    modules, rows = [], []
    for n, line, what in mistakes(text):
        name = f"mistake{len(rows)}"
        (check / f"{name}.rs").write_text("\n".join(lines[:n] + [line] + lines[n + 1 :]) + "\n")
        modules.append(f"mod {name};")
        rows.append(f'(r#"{n + 1}: {what}"#, |call, k| ask!({name}::RULES, call, k, k.facts)),')
    with open(check / "mod.rs", "a") as out:
        out.write(LIST.format(modules="\n".join(modules), rows="\n".join(rows)))
    lib = Path(folder, "src/lib.rs")
    lib.write_text(lib.read_text() + "\n#[allow(missing_docs)]\npub use check::{CONDITIONS, Verdict};\n")
    print(f"{len(rows)} mistakes in conditions")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])
