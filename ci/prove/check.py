"""What is claimed of `Call::check`: for any words and kernels it comes to an end without a panic or an overflow, writes
nothing, makes no call, and who states more is refused at least as much.
"""
import z3

from claims import Function, promised, word
from pcode import Refused, bits, counterexample, simplify

STATED = "space", "version", "regular"  # as the probes take them after the page size; 0 is what isn't stated
OLDEST = 6 << 16 | 1  # the rules are those of Linux 6.1 and later
# A jump by a table is to where nobody knows, so the compiler is asked for none.
NO_TABLES = ["-Cllvm-args=-min-jump-table-entries=1000000"]


def functions():
    """One for each call."""
    return [it for it in Function.all() if it.name == it.call]


def prove(function, page, machine):
    """What does not hold, as text; nothing when all is proved."""
    target, wrong = machine.target, []
    stated = [word(name) for name in STATED]
    try:
        before, ends = machine.run(f"check.{function.name}",
                                   [bits(page), *stated, *(word(name) for name, _ in function.params)])
        refused = []
        for end in ends:
            if end.calls or end.accesses:
                raise Refused("makes a system call, or reads or writes what it is not passed")
            refused.append(z3.And(*end.assumed, machine.get(end, target.results[0]) == 0))
        refused = simplify(z3.Or(refused))
    except Refused as why:
        return [str(why)]
    space, version, _ = stated
    given = promised(target, function.params)
    given += [z3.ULE(space, target.address_space), z3.ULT(version, 1 << 32),
              z3.Or(version == 0, z3.UGE(version, OLDEST))]
    # Who states several things states one after the other, so it is enough to look at one more.
    for name, term in zip(STATED, stated):
        by_less = simplify(z3.substitute(refused, (term, bits(0))))
        broken = counterexample([*given, by_less], refused)
        if broken is not None:
            wrong.append(f"who states the {name} is refused less: {broken}")
    return wrong
