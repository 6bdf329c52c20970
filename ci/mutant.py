#!/usr/bin/env python3
"""usage: mutant.py FOLDER 'FILE | WHAT | OLD | NEW'

Replaces OLD, which must stand once in FOLDER/FILE, by NEW; prints WHAT. In OLD and NEW, \\n is the end of a
line, and \\| a bar. Lines are as in ci/mutants-owners.txt, for ci/mutants-owners.sh, without the test.
"""
import re
import sys
from pathlib import Path

folder, line = sys.argv[1:]
parts = [re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), part) for part in re.split(r"(?<!\\) \| ", line)]
file, what, old, new = parts
path = Path(folder, file)
text = path.read_text()
if text.count(old) != 1:
    sys.exit(f"{what}: stands {text.count(old)} times in {file}: {old}")
path.write_text(text.replace(old, new))
print(what)
