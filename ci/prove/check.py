"""What is claimed of `Call::check`: for any words and kernels it comes to an end without a panic or an overflow, writes
nothing, makes no call, and who states more is refused at least as much. Not of mmap and mremap: there are too many ways
through their rules to be followed one by one; they stay with the fuzzers.
"""
import z3

from claims import Function, word
from pcode import Refused, bits, counterexample, simplify

STATED = "space", "version", "regular"  # as the probes take them after the page size
OLDEST = 6 << 16 | 1  # the rules are those of Linux 6.1 and later
# A jump by a table is to where nobody knows, so the compiler is asked for none.
NO_TABLES = ["-Cllvm-args=-min-jump-table-entries=1000000"]


TOO_MANY_WAYS = {"mmap", "mremap"}


def functions():
    """One for each call."""
    return [it for it in Function.all() if it.name == it.call and it.name not in TOO_MANY_WAYS]


def prove(machine, function, page):
    """What does not hold, as text; nothing when all is proved."""
    target = machine.target
    stated = [word(name) for name in STATED]
    more = [z3.BitVec(f"more_{name}", 64) for name in STATED]
    try:
        before, ends = machine.run(f"check.{function.name}",
                                   [bits(page), *stated, *(word(name) for name, _ in function.params)])
        refused = []
        for end in ends:
            if end.calls or not end.world.eq(machine.world):
                raise Refused("makes a system call, or writes")
            refused.append(z3.And(*end.assumed, machine.get(end, target.results[0]) == 0))
        refused = simplify(z3.Or(refused))
    except Refused as why:
        return [str(why)]
    given = [word(name) == word(name, type) for name, type in function.params if target.int_is_extended]
    for (space, version, _) in stated, more:
        given += [z3.ULE(space, target.address_space), z3.ULT(version, 1 << 32),
                  z3.Or(version == 0, z3.UGE(version, OLDEST))]
    given += [z3.Or(less == 0, less == as_much) for less, as_much in zip(stated, more)]
    broken = counterexample(given, z3.Implies(refused, z3.substitute(refused, *zip(stated, more))))
    return [f"who states more is refused less: {broken}"] * (broken is not None)
