"""What is claimed of each probe of probes.rs, and whether it holds at the end of every way through it."""
import operator
import re
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

import z3

from pcode import LOCAL, Refused, bits, counterexample, loaded, now, stored

PROBES = Path(__file__).with_name("probes.rs")
PRESSED = 16  # values alive in `press`
MAX_ERRNO = 4095  # include/linux/err.h
INT_MAX = 2**31 - 1


def word(name, type="ulong"):
    """An argument, extended to a word as the kernel reads it: of an int the low 32 bits, with their sign."""
    term = z3.BitVec(name, 64)
    return z3.SignExt(32, z3.Extract(31, 0, term)) if type == "int" else term


class Function:
    """A line of the list in probes.rs: NAME(PARAM: TYPE, ...) -> RETURNS = "CALL(ARG, ...)";"""

    LINE = re.compile(r"^ +(\w+)\((.*)\) -> (\w+)\s*= \"(\w+)\((.*)\)\";$", re.M)

    def __init__(self, name, params, returns, call, args):
        self.name, self.returns, self.call, self.text = name, returns, call, f"{call}({args})"
        self.params = [tuple(param.split(": ")) for param in params.split(", ")] if params else []
        self.args = args.split(", ") if args else []

    @classmethod
    def all(cls):
        return [cls(*match) for match in cls.LINE.findall(PROBES.read_text())]

    def words(self, kernel):
        """The number and the argument words that the kernel is to get."""
        known = {name: word(name, type) for name, type in self.params}

        def term(text):
            parts = (known[part] if part in known else bits(kernel[part] if part in kernel else int(part))
                     for part in text.split("|"))
            return reduce(operator.or_, parts)

        number = known[self.call] if self.call in known else bits(kernel[f"__NR_{self.call}"])
        return number, [term(arg) for arg in self.args]


@dataclass
class End:
    """The end of one way through a probe."""
    machine: object
    state: object
    results: list

    @property
    def call(self):
        return self.state.calls[0]

    @property
    def before(self):
        """Memory as it was at the start."""
        return self.machine.world


# ---- The claims: each yields (what, whether it holds) -------------------------------------------

def called(end, number, words):
    yield "number", end.call.number == number
    for i, wanted in enumerate(words):
        yield f"argument {i}", end.call.words[i] == wanted


def answered(end, returns, word):
    """What a result word says, which is decided in one place in the crate, and here. For a function that returns a
    pointer, -4095 to -1 is an errno, and all else a success. For one that returns nothing, 0 is a success and all else
    an error, whose number is the word negated, or INT_MAX where an int can't hold that. A stub says nothing and returns
    the word.
    """
    failed = {"word": z3.BoolVal(False), "unit": word != 0}.get(returns, z3.And(word >= -MAX_ERRNO, word <= -1))
    number = z3.If(z3.ULT(-word, INT_MAX), -word, bits(INT_MAX))
    yield "Ok or Err", end.results[0] == z3.If(failed, bits(0), bits(1))
    yield "value or errno", end.results[1] == z3.If(failed, number, bits(0) if returns == "unit" else word)


def touches(end, at=None, reads=0, writes=0):
    """Nothing in memory but so many bytes at `at`: a load may fault, and a store of what is there already is one."""
    for address, size, written in end.state.accesses.values():
        of = writes if written else reads
        within = z3.ULE(address - word(at), of - size) if of >= size else z3.BoolVal(False)
        yield "writes nothing else" if written else "reads nothing else", within


def answer(function, kernel, end):
    yield from called(end, *function.words(kernel))
    yield from answered(end, function.returns, end.call.answer)
    yield from touches(end)


def order(function, kernel, end):
    yield from called(end, *function.words(kernel))
    yield from touches(end, "at", 8, 8)
    yield "stored before the call, and nothing else", end.call.world == stored(end.before, word("at"), word("value"))
    yield "nothing written after the call", end.state.world == end.call.after
    yield "loaded after the call", end.results[0] == loaded(end.call.after, word("at"))


def press(function, kernel, end):
    yield from called(end, *function.words(kernel))
    yield from touches(end, "at", 8 * PRESSED)
    mixed = loaded(end.call.after, word("at"))
    for i in range(PRESSED):
        mixed = z3.RotateLeft(mixed, 5) ^ loaded(end.before, word("at") + 8 * i)
    yield "values alive across the call", end.results[0] == mixed


def value(function, kernel, end):
    number, words = function.words(kernel)
    written = end.before
    for i, term in enumerate([number, *words, *[bits(0)] * (6 - len(words))]):
        written = stored(written, word("at") + 8 * i, term)
    yield from touches(end, "at", 0, 56)
    yield "number and words", end.state.world == written


def make(kernel, end):
    number, *words = (loaded(end.before, word("at") + 8 * i) for i in range(7))
    yield from called(end, number, words)
    yield from answered(end, "pointer", end.call.answer)
    yield from touches(end, "at", 56)


def decode(kernel, end):
    yield from answered(end, "pointer", word("word"))
    yield from touches(end)


def local(kernel, end):
    yield from called(end, bits(kernel["__NR_mincore"]), [word("addr"), word("len")])
    yield from touches(end)
    offset = end.machine.frame_offset(end.call.words[2])
    if offset is None:
        raise Refused("what is passed is not the address of a local variable")
    yield "stored before the call", now(end.call.frame.read(offset, LOCAL)) == word("value")
    yield "loaded after the call", end.results[0] == end.call.written[offset]


# ---- Which claims belong to which probe -------------------------------------------------------

@dataclass
class Goal:
    symbol: str
    params: list
    claims: object
    calls: int | None = 1  # None: the claims say how many


def goals():
    """First what finds most faults, so that a broken crate is refused soon."""
    functions = Function.all()
    at = ("at", "ptr")
    for function in functions:
        yield Goal(f"answer.{function.name}", function.params, partial(answer, function))
    yield Goal("make", [at], make)
    yield Goal("decode", [("word", "ptr")], decode, calls=0)
    yield Goal("local", [("addr", "ptr"), ("len", "ulong"), ("value", "ulong")], local)
    for function in functions:
        yield Goal(f"press.{function.name}", [at, *function.params], partial(press, function))
        yield Goal(f"order.{function.name}", [at, ("value", "ulong"), *function.params], partial(order, function))
        if function.returns != "word":
            yield Goal(f"value.{function.name}", [at, *function.params], partial(value, function), calls=0)


def promised(target, params):
    """The caller's part of the calling convention."""
    return [word(name) == word(name, type) for name, type in params if target.int_is_extended]


def prove(kernel, goal, machine):
    """What does not hold of a probe, as text; nothing when all is proved."""
    target, wrong = machine.target, []
    given = promised(target, goal.params)
    try:
        before, ends = machine.run(goal.symbol, [word(name) for name, _ in goal.params])
        for state in ends:
            if goal.calls not in (None, len(state.calls)):
                raise Refused(f"makes {len(state.calls)} system calls")
            end = End(machine, state, [machine.get(state, register) for register in target.results])
            wanted = [*goal.claims(kernel, end)]
            wanted.append(("stack pointer", machine.get(state, target.sp) == machine.sp + machine.popped))
            wanted += [(f"{name} is kept", machine.get(state, name) == term) for name, term in before.items()]
            for what, claim in wanted:
                broken = counterexample(given + state.assumed, claim)
                if broken is not None:
                    wrong.append(f"{what}: not for {broken}")
        if counterexample(given, z3.Or([z3.And(*state.assumed) for state in ends])) is not None:
            raise Refused("some inputs take no path: the prover is wrong")
    except Refused as refused:
        wrong.append(str(refused))
    return wrong
