"""Reads LLVM's machine code as text: what each instruction reads and writes, and what lives across calls.

LLVM prints it after its last pass but the encoding, when asked by `-print-after=livedebugvalues`. It names every
register that an instruction reads or writes, with those that its assembly syntax doesn't show (the tail of a vector
that is kept, vl and vtype), so nothing has to be known about instructions here.
"""
import re
from dataclasses import dataclass
from functools import cached_property

FLAG = "-Cllvm-args=-print-after=livedebugvalues"
SYSTEM_CALL = re.compile(r'INLINEASM &"?(syscall|svc 0|ecall)"?(?= )')
# What is no register: a call's symbol, texts, which registers a function keeps, the operands' kinds.
NOISE = re.compile(r'@"[^"]*"|@\S+|&"[^"]*"|<regmask [^>]*>|\$\d+:\[[^]]*\]|%\S+')


def vectors(register):
    """The vector and predicate registers that are in a register, each by one name: $q3 is z3, $v8m2 is v8 and v9."""
    found = set()
    for name in register.split("_"):
        if match := re.fullmatch(r"v(\d+)(?:m(\d))?", name):
            first = int(match[1])
            found |= {f"v{n}" for n in range(first, first + int(match[2] or 1))}
        elif match := re.fullmatch(r"([zqdshb]|pn?)(\d+)", name):
            found.add(("p" if match[1] in ("p", "pn") else "z") + match[2])
        elif name in ("vl", "vtype"):
            found.add(name)
    return found


@dataclass
class Instruction:
    text: str

    def __post_init__(self):
        code, _, memory = self.text.partition(" :: ")
        code = NOISE.sub("", code)
        left, equals, right = code.rpartition(" = ")
        self.writes = set(re.findall(r"\$(\w+)", left)) if equals else set()
        self.reads, self.ignored = set(), set()
        for kind, flags, name in re.findall(r"(implicit-def )?((?:[a-z-]+ )*)\$(\w+)", right):
            if kind or "implicit-def " in flags:
                self.writes.add(name)
            elif "undef " not in flags:
                self.reads.add(name)
        self.opcode = re.search(r"\b[A-Z]\w*", right)[0]
        # A function's own saving of registers is marked as such.
        self.accesses_memory = bool(memory) and not re.search(r"\bframe-(setup|destroy)\b", self.text)
        self.is_system_call = bool(SYSTEM_CALL.search(self.text))
        self.is_call = self.is_system_call or "<regmask " in self.text

    @cached_property
    def vectors_read(self):
        return set().union(*map(vectors, self.reads))

    @cached_property
    def vectors_written(self):
        return set().union(*map(vectors, self.writes))


@dataclass
class Block:
    successors: list
    instructions: list


@dataclass
class Function:
    text: str

    @cached_property
    def blocks(self):
        blocks = {}
        for head, body in re.findall(r"^bb\.(\d+)[^\n]*\n((?:(?!bb\.)[^\n]*\n)*)", self.text, re.M):
            lines = [line.strip() for line in body.splitlines()]
            successors = [it for line in lines if line.startswith("successors:") for it in
                          re.findall(r"%bb\.(\d+)", line.partition(";")[0])]
            code = [Instruction(line) for line in lines
                    if line and line != "}" and not re.match(r"successors:|liveins:|;|#|.*\bCFI_INSTRUCTION\b", line)]
            blocks[head] = Block(successors, code)
        return blocks

    @property
    def instructions(self):
        return [it for block in self.blocks.values() for it in block.instructions]

    def system_calls(self):
        return [it for it in self.instructions if it.is_system_call] if SYSTEM_CALL.search(self.text) else []

    def branches(self):
        """How many times the code goes one of two ways."""
        return sum(len(set(block.successors)) > 1 for block in self.blocks.values())

    def lives_across_calls(self):
        """The vector registers that are read after a call and not written in between: {(register, call)}."""
        live_in, found = {head: set() for head in self.blocks}, set()
        changed = True
        while changed:
            changed = False
            for head, block in self.blocks.items():
                live = set().union(*(live_in[it] for it in block.successors))
                for it in reversed(block.instructions):
                    if it.is_call:
                        found |= {(register, it.text[:60]) for register in live}
                    live = live - it.vectors_written | it.vectors_read
                changed |= live != live_in[head]
                live_in[head] = live
        return found

    def calls_in_a_loop(self):
        """Whether there is a call from which the same call can be reached again."""
        def reached(head):
            seen, todo = set(), list(self.blocks[head].successors)
            while todo:
                it = todo.pop()
                if it not in seen:
                    seen.add(it)
                    todo += self.blocks[it].successors
            return seen

        return any(head in reached(head) for head, block in self.blocks.items()
                   if any(it.is_call for it in block.instructions))


def functions(text):
    """{name: Function} of what LLVM printed."""
    parts = re.findall(r"^# Machine code for function ([^:\n]+):.*?\n(.*?)^# End machine code", text, re.M | re.S)
    return {name: Function(body) for name, body in parts}
