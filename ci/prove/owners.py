"""What is claimed of the owners' operations that are little more than a call behind a check of their range: for all
owners that keep their invariants, all ranges `start..end`, and all answers of the kernel, the operation makes exactly
the documented calls, with the words that the range means; none where the range doesn't lie within the owner or isn't
whole pages; returns the error of the last call, or EINVAL where none was made; and writes nothing.
"""
from functools import partial

import z3

from claims import MAX_ERRNO, Goal, promised, touches, word
from pcode import Refused, bits, counterexample, number, simplify

EINVAL, ENOMEM = 22, 12
READ_WRITE, DONTNEED, DONTNEED_LOCKED = 3, 4, 24
PRIVATE, ANONYMOUS, FIXED, FIXED_NOREPLACE = 0x2, 0x20, 0x10, 0x100000

START, END = word("start"), word("end")


# ---- The operations, as their documentation has them --------------------------------------------

def commit(way, it):
    if way.decide(it.strict):
        return way.call("mprotect", it.addr, it.bytes, bits(READ_WRITE))
    return bits(0)


def purge(way, it, addr=None):
    addr = it.addr if addr is None else addr
    answer = way.call("madvise", addr, it.bytes, bits(DONTNEED))
    if way.decide(answer == -EINVAL):
        return way.call("madvise", addr, it.bytes, bits(DONTNEED_LOCKED))
    return answer


def decommit(way, it):
    def reserve(flag):
        return way.call("mmap", it.addr, it.bytes, bits(0), bits(PRIVATE | ANONYMOUS | flag), bits(-1), bits(0))

    if way.decide(z3.And(it.strict, it.bytes != 0)):
        answer = reserve(FIXED)
        if not way.decide(failed(answer)):
            return answer
        if way.decide(answer == -ENOMEM):  # old kernels have unmapped it then
            again = reserve(FIXED_NOREPLACE)
            if not way.decide(failed(again)):
                if way.decide(again == it.addr):
                    return again
                if way.decide(failed(way.call("munmap", again, it.bytes))):
                    purge(way, it, again)
    return purge(way, it)


def sync(way, it):
    return way.call("msync", it.addr, it.bytes, word("flags", "int"))


OPERATIONS = {"reservation": [commit, purge, decommit], "mapping": [sync]}
MORE = {sync: [("flags", "int")]}


# ---- Owners, and ways through their operations -------------------------------------------------

def failed(answer):
    return z3.And(answer >= -MAX_ERRNO, answer <= -1)


class Owner:
    """An owner as its own functions describe it, its invariants, and what a range of it means; with granules of
    2^`log2` bytes.
    """

    def __init__(self, machine, kind, log2):
        def field(name):
            _, ends = machine.run(f"{kind}.{name}", [word("it")])
            terms = [machine.get(state, machine.target.results[0]) for state in ends]
            for state, term in zip(ends[1:], terms[1:]):
                terms[0] = z3.If(z3.And(*state.assumed), term, terms[0])
            return terms[0]

        at, size, self.size_of = field("as_ptr"), field("len"), number(field("size_of"))
        self.granule = simplify(z3.Extract(7, 0, field("granule"))), bits(log2, 8)
        page = bits(1 << log2)
        head = at & page - 1
        whole = lambda n: n & -page
        self.invariants = [at != 0, z3.ULT(size, 1 << 63), z3.ULT(at, at + size + page), z3.ULT(size, at + size + page)]
        self.right = z3.And(z3.ULE(START, END), z3.ULE(END, size))
        if kind == "reservation":
            mode = field("mode")
            self.strict = mode == 1
            self.invariants += [z3.ULT(mode, 2), head == 0, size & page - 1 == 0]
            self.right = z3.And(self.right, (START | END) & page - 1 == 0)
        first, last = whole(head + START), whole(head + END + page - 1)
        # An empty range is at the start.
        self.addr = at - head + z3.If(START == END, bits(0), first)
        self.bytes = z3.If(START == END, bits(0), last - first)


class Way:
    """One way through an operation, held against what the operation should do. Where that depends on what the way
    leaves open, it is followed once for each side.
    """

    def __init__(self, end, kernel, known, given, sides):
        self.kernel, self.calls, self.known, self.assumed = kernel, iter(end.state.calls), known, given
        self.sides, self.taken, self.others = iter(sides), [], []

    def simplified(self, condition):
        return simplify(z3.substitute(condition, self.known))

    def decide(self, condition):
        """Whether the condition holds."""
        condition = self.simplified(condition)
        possible = [side for side, denied in ((True, z3.Not(condition)), (False, condition))
                    if counterexample(self.assumed, denied) is not None]
        side = possible[0]
        if len(possible) == 2:
            side = next(self.sides, None)
            if side is None:
                side = True
                self.others.append([*self.taken, False])
            self.taken.append(side)
        self.assumed = [*self.assumed, condition if side else z3.Not(condition)]
        return side

    def claim(self, what, holds):
        broken = counterexample(self.assumed, self.simplified(holds))
        if broken is not None:
            raise Refused(f"{what}: not for {broken}")

    def call(self, name, *words):
        """The next call, which should be this; returns the kernel's answer."""
        call = next(self.calls, None)
        if call is None:
            raise Refused(f"makes no {name}")
        self.claim(f"{name}: number", call.number == self.kernel[f"__NR_{name}"])
        for i, wanted in enumerate(words):
            self.claim(f"{name}: argument {i}", call.words[i] == wanted)
        return call.answer


def operation(kind, what, params, log2, kernel, end):
    """A claim of one end of it; what doesn't hold is told as Refused."""
    it = Owner(end.machine, kind, log2)
    yield from touches(end, "it", it.size_of)
    given = [*promised(end.machine.target, params), *it.invariants, *end.state.assumed]
    given = [simplify(z3.substitute(term, it.granule)) for term in given]
    todo = [[]]
    if counterexample(given, z3.BoolVal(False)) is None:
        return  # no owner comes this way
    while todo:
        way = Way(end, kernel, it.granule, given, todo.pop())
        right = way.decide(it.right)
        answer = what(way, it) if right else bits(-EINVAL)
        if next(way.calls, None) is not None:
            raise Refused("makes a call too many")
        way.claim("Ok or Err", end.results[0] == z3.If(failed(answer), bits(0), bits(1)))
        way.claim("errno", end.results[1] == z3.If(failed(answer), -answer, bits(0)))
        todo += way.others


def goals(log2):
    """One for each operation, with granules of 2^`log2` bytes."""
    for kind, operations in OPERATIONS.items():
        for it in operations:
            params = [("it", "ptr"), ("start", "ulong"), ("end", "ulong"), *MORE.get(it, [])]
            yield Goal(f"{kind}.{it.__name__}", params, partial(operation, kind, it, params, log2), calls=None)
