#!/usr/bin/env python3
"""usage: mutant.py FOLDER 'FILE | WHAT | OLD | NEW'

Replaces OLD, which must stand once in FOLDER/FILE, by NEW; prints WHAT. In OLD and NEW, \\n is the end of a
line, and \\| a bar. For ci/mutants-owners.sh, whose list has such lines behind the name of a test, and for
ci/prove/prove.py, whose faults.txt has them as they are.
"""
import re
import sys
from pathlib import Path


def make(folder, line):
    """Makes the change in the folder; returns WHAT."""
    parts = re.split(r"(?<!\\) \|(?: |$)", line)
    file, what, old, new = (re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), part) for part in parts)
    path = Path(folder, file)
    text = path.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{what}: stands {text.count(old)} times in {file}: {old}")
    path.write_text(text.replace(old, new))
    return what


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    print(make(*sys.argv[1:]))
