"""Executes machine code with symbols for inputs: every way through a function, and what holds at its end.

Ghidra's P-code (pypcode) says what each instruction does, z3 holds the values. An instruction, jump or access of
memory that can't be followed exactly raises Refused: there is no guess. Ways that come together at one instruction go
on as one, whose values depend on which way was taken; else there would be too many.
"""
import sys
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import takewhile

import pypcode
import z3
from elftools.elf.elffile import ELFFile
from z3 import simplify

WRITTEN_BY_LINKER = ".got", ".data.rel.ro"
LOCAL = 8  # bytes that the kernel may write behind an address of the frame
MOST_STEPS = 20_000
LARGEST_FRAME = 1 << 16
MOST_PLACES = 8  # in the frame that one instruction may mean
# In milliseconds: to find out whether any input takes a way, which is followed where that isn't found out; and to prove
# a claim, which is refused where it isn't proved. The longest takes 20 s.
PATIENCE, LAST_RESORT = 10_000, 300_000

# What is computed later may rest on much that is computed later.
sys.setrecursionlimit(100_000)


class Refused(Exception):
    """The code does what no proof can be had for, or what no function may do."""


# ---- Terms ------------------------------------------------------------------------------------

def bits(value, width=64):
    return z3.BitVecVal(value, width)


def number(term):
    """The term's value, if it is a constant."""
    return term.as_long() if z3.is_bv_value(term) else None


def signed(value, size):
    return value - (1 << 8 * size) if value >> 8 * size - 1 else value


def fresh(name, width=64):
    """A value of which nothing is known."""
    return z3.FreshConst(z3.BitVecSort(width), name)


def byte(term, i):
    return z3.Extract(8 * i + 7, 8 * i, term)


def joined(parts):
    """Bytes, the lowest first, as one term."""
    return z3.Concat(*reversed(parts)) if len(parts) > 1 else parts[0]


def resized(term, width, extend=z3.ZeroExt):
    return extend(width - term.size(), term) if term.size() < width else z3.Extract(width - 1, 0, term)


def loaded(memory, at, size=8):
    return joined([z3.Select(memory, at + i) for i in range(size)])


def stored(memory, at, term):
    for i in range(term.size() // 8):
        memory = z3.Store(memory, simplify(at + i), simplify(byte(term, i)))
    return memory


def counterexample(assumed, claim):
    """None if the claim follows from what is assumed; else for what it doesn't hold, as text."""
    if z3.is_true(simplify(claim)):
        return None
    solver = z3.Solver()
    solver.set("timeout", LAST_RESORT)
    solver.add(*assumed, z3.Not(claim))
    verdict = solver.check()
    if verdict == z3.unsat:
        return None
    if verdict == z3.unknown:
        return "the solver gave up"
    model = solver.model()
    inputs = sorted((str(symbol).partition("!")[0], number(model[symbol])) for symbol in model.decls()
                    if z3.is_bv_value(model[symbol]) and not str(symbol).startswith("unknown"))
    return ", ".join(f"{name} = {value:#x}" for name, value in inputs) or "any input"


def mentions(term, symbol):
    todo, seen = [term], set()
    while todo:
        it = todo.pop()
        if it.get_id() not in seen:
            seen.add(it.get_id())
            if it.eq(symbol):
                return True
            todo += it.children()
    return False


class Later:
    """A value that is only computed when somebody reads it: most of a processor's flags never are."""

    def __init__(self, width, make):
        self.width, self.make, self.made = width, make, None

    def size(self):
        return self.width


def now(term):
    if not isinstance(term, Later):
        return term
    if term.made is None:
        term.made = simplify(term.make())
    return term.made


class Cells(dict):
    """Bytes by address, each as (term, which byte of it)."""

    def write(self, at, term):
        for i in range(term.size() // 8):
            self[at + i] = term, i

    def read(self, at, size):
        for i in range(at, at + size):
            if i not in self:
                self[i] = fresh("unknown", 8), 0
        term = self[at][0]
        if term.size() == 8 * size and all(self[at + i][0] is term and self[at + i][1] == i for i in range(size)):
            return term
        return simplify(joined([byte(now(part), i) for part, i in map(self.get, range(at, at + size))]))

    def merged(self, condition, other):
        """These if the condition holds, else the others. What only one of them has is unknown."""
        cells, made = Cells(), {}

        def choice(width, a, b):
            return Later(width, lambda: z3.If(condition, a(), b()))

        for at in filter(other.__contains__, self):
            (a, i), (b, j) = self[at], other[at]
            if i == j and (a is b or not isinstance(a, Later) and not isinstance(b, Later) and a.eq(b)):
                cells[at] = a, i
            elif i == j and a.size() == b.size():
                both = id(a), id(b)
                if both not in made:
                    made[both] = choice(a.size(), partial(now, a), partial(now, b))
                cells[at] = made[both], i
            else:
                cells[at] = choice(8, lambda a=a, i=i: byte(now(a), i), lambda b=b, j=j: byte(now(b), j)), 0
        return cells


# ---- What each P-code operation computes, from the width of its output and its inputs ----------

def flag(condition):
    return z3.If(condition, bits(1, 8), bits(0, 8))


def shifted(shift):
    return lambda width, a, b: shift(a, resized(b, a.size()))


OPERATIONS = {
    "INT_ZEXT": lambda width, a: resized(a, width),
    "INT_SEXT": lambda width, a: resized(a, width, z3.SignExt),
    "INT_ADD": lambda width, a, b: a + b,
    "INT_SUB": lambda width, a, b: a - b,
    "INT_MULT": lambda width, a, b: a * b,
    "INT_2COMP": lambda width, a: -a,
    "INT_NEGATE": lambda width, a: ~a,
    "INT_AND": lambda width, a, b: a & b,
    "INT_OR": lambda width, a, b: a | b,
    "INT_XOR": lambda width, a, b: a ^ b,
    "INT_LEFT": shifted(lambda a, b: a << b),
    "INT_RIGHT": shifted(z3.LShR),
    "INT_SRIGHT": shifted(lambda a, b: a >> b),
    "INT_EQUAL": lambda width, a, b: flag(a == b),
    "INT_NOTEQUAL": lambda width, a, b: flag(a != b),
    "INT_LESS": lambda width, a, b: flag(z3.ULT(a, b)),
    "INT_LESSEQUAL": lambda width, a, b: flag(z3.ULE(a, b)),
    "INT_SLESS": lambda width, a, b: flag(a < b),
    "INT_SLESSEQUAL": lambda width, a, b: flag(a <= b),
    "INT_CARRY": lambda width, a, b: flag(z3.ULT(a + b, a)),
    "INT_SCARRY": lambda width, a, b: flag(((a ^ (a + b)) & (b ^ (a + b))) < 0),
    "INT_SBORROW": lambda width, a, b: flag(((a ^ b) & (a ^ (a - b))) < 0),
    "BOOL_NEGATE": lambda width, a: a ^ 1,
    "BOOL_AND": lambda width, a, b: a & b,
    "BOOL_OR": lambda width, a, b: a | b,
    "BOOL_XOR": lambda width, a, b: a ^ b,
    "POPCOUNT": lambda width, a: sum((resized(z3.Extract(i, i, a), width) for i in range(a.size())), bits(0, width)),
    "SUBPIECE": lambda width, a, b: resized(z3.LShR(a, resized(b, a.size()) * 8), width),
}


# ---- The machine ------------------------------------------------------------------------------

@dataclass
class Call:
    """A system call: what the kernel finds, and what it leaves."""
    number: object
    words: list
    world: object  # memory before it
    frame: Cells
    answer: object
    after: object  # memory after it
    written: dict  # what it wrote to the frame: term by offset


@dataclass
class State:
    """One way through a function: where it is, what it knows, what it assumed on the way, the calls it made."""
    pc: int | None
    world: object
    registers: Cells = field(default_factory=Cells)
    temporaries: Cells = field(default_factory=Cells)
    frame: Cells = field(default_factory=Cells)
    assumed: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    accesses: dict = field(default_factory=dict)  # of the world: (address, bytes, whether it writes), by their ids
    returns: tuple = ()  # where the calls on the way return to
    example: z3.ModelRef | None = None  # inputs that come this way, if any are known
    sp: tuple = None, None  # the stack pointer when it was last asked for, and its distance from that at entry

    def fork(self, assumption):
        """The same way with one more assumption; None when no inputs take it."""
        assumed, example = [*self.assumed, assumption], self.example
        if example is None or not z3.is_true(example.eval(assumption, model_completion=True)):
            solver = z3.Solver()
            solver.set("timeout", PATIENCE)
            solver.add(*assumed)
            verdict = solver.check()
            if verdict == z3.unsat:
                return None
            example = solver.model() if verdict == z3.sat else None
        return State(self.pc, self.world, *(Cells(it) for it in (self.registers, self.temporaries, self.frame)),
                     assumed, list(self.calls), dict(self.accesses), self.returns, example)

    def merged(self, other):
        """This way and another, no input of which comes this way, as one."""
        shared = sum(1 for _ in takewhile(lambda pair: pair[0].eq(pair[1]), zip(self.assumed, other.assumed)))
        mine, others = (z3.And(*it.assumed[shared:]) for it in (self, other))
        registers, frame = (getattr(self, it).merged(mine, getattr(other, it)) for it in ("registers", "frame"))
        return State(self.pc, self.world, registers, Cells(), frame,
                     [*self.assumed[:shared], *(it for it in [simplify(z3.Or(mine, others))] if not z3.is_true(it))],
                     self.calls, self.accesses | other.accesses, self.returns, self.example or other.example)

    def accessed(self, address, size, writes):
        self.accesses[address.get_id(), size, writes] = address, size, writes

    def forget_below(self, offset):
        """What lies there in the frame, a signal handler or another function may have written over."""
        for at in [at for at in self.frame if at < offset]:
            del self.frame[at]


class Machine:
    """A program in memory, and the processor that runs it.

    Memory is in three parts: the frame, by distance from the stack pointer at entry; the image, by address, which
    is read-only; and the world, an array, which is all else. It is assumed that no pointer that is passed in points
    into the frame.
    """

    def __init__(self, target, image, replaced=None):
        """`replaced`: what stands for some functions, by symbol: COPY, PANIC."""
        self.target, self.context = target, pypcode.Context(target.language)
        with open(image, "rb") as file:
            elf = ELFFile(file)
            write, alloc, execute = 1, 2, 4
            # What may be written is not known, but for what only the linker writes.
            self.image = [(s["sh_addr"], s.data(), s["sh_flags"] & execute) for s in elf.iter_sections()
                          if s["sh_flags"] & alloc and (not s["sh_flags"] & write or s.name in WRITTEN_BY_LINKER)]
            self.symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()
                            if s["st_shndx"] != "SHN_UNDEF"}
        self.replaced = {self.symbols[name]: run for name, run in (replaced or {}).items() if name in self.symbols}
        self.registers = self.context.registers
        self.sp = z3.BitVec("sp", 64)
        self.popped = 0 if target.link else 8  # what a return takes off the stack
        self.back = z3.Concat(z3.BitVec("back", 63), bits(0, 1))  # where to return to; riscv64's jumps ignore bit 0
        self.world = z3.Array("world", z3.BitVecSort(64), z3.BitVecSort(8))

    def get(self, state, name):
        register = self.registers[name]
        return now(state.registers.read(register.offset, register.size))

    def set(self, state, name, term):
        state.registers.write(self.registers[name].offset, term)

    def bytes_from(self, address):
        """The rest of the section that has this address, and whether it is code."""
        for start, data, executable in self.image:
            if start <= address < start + len(data):
                return data[address - start:], executable
        raise Refused(f"goes or reads where nothing is: {address:#x}")

    @lru_cache(maxsize=None)
    def instruction(self, pc):
        """The operations of an instruction as plain tuples, and where the next one is.

        An operation is (name, output, inputs), each operand (space, offset, size).
        """
        code, executable = self.bytes_from(pc)
        if not executable:
            raise Refused(f"executes what is no code: {pc:#x}")
        try:
            ops = self.context.translate(code[:16], pc, max_instructions=1).ops
        except (pypcode.BadDataError, pypcode.UnimplError) as error:
            raise Refused(f"an instruction at {pc:#x} that P-code has no words for: {code[:4].hex()}") from error
        operand = lambda node: node and (node.space.name, node.offset, node.size)
        plain = [(op.inputs[0].getUserDefinedOpName() if op.opcode.name == "CALLOTHER" else op.opcode.name,
                  operand(op.output), [operand(node) for node in op.inputs]) for op in ops]
        return plain, pc + plain[0][2][0][2]

    # ---- Memory ----

    def frame_offset(self, address):
        """The distance from the stack pointer at entry, if that is a constant."""
        offset = number(simplify(address - self.sp))
        if offset is None and mentions(address, self.sp):
            raise Refused(f"does not know where in the frame this is: {address}")
        return None if offset is None else signed(offset, 8)

    def places_in_frame(self, state, address):
        """Where in the frame an address is: the distances that it may have, few as they are, each with the condition
        under which it has it; none if it is an address elsewhere.
        """
        distance, found = simplify(address - self.sp), []
        if number(distance) is not None:
            return [(signed(number(distance), 8), z3.BoolVal(True))]
        if not mentions(address, self.sp):
            return []
        solver = z3.Solver()
        solver.set("timeout", PATIENCE)
        solver.add(*state.assumed)
        while (verdict := solver.check()) == z3.sat and len(found) < MOST_PLACES:
            value = solver.model().eval(distance, model_completion=True)
            found.append((signed(number(value), 8), distance == value))
            solver.add(distance != value)
        if verdict != z3.unsat:
            raise Refused(f"does not know where in the frame this is: {address}")
        return found

    def load(self, state, address, size, touched):
        at = number(address)
        if at is not None:
            data, _ = self.bytes_from(at)
            if len(data) < size:
                raise Refused(f"reads beyond the end of what is known at {at:#x}")
            return bits(int.from_bytes(data[:size], "little"), 8 * size)
        places, term = self.places_in_frame(state, address), None
        for offset, condition in places:
            if offset < 0:
                touched.append(offset)
            elif any(offset + i not in state.frame for i in range(size)):
                raise Refused(f"reads its caller's frame at {offset:+}")
            there = now(state.frame.read(offset, size))
            term = there if term is None else z3.If(condition, there, term)
        if term is not None:
            return term
        state.accessed(address, size, False)
        return simplify(loaded(state.world, address, size))

    def store(self, state, address, term, touched):
        if number(address) is not None:
            raise Refused(f"writes to a static: {address}")
        places, size = self.places_in_frame(state, address), term.size() // 8
        if not places:
            state.accessed(address, size, True)
            state.world = stored(state.world, address, term)
        for offset, condition in places:
            if offset + size > 0:
                raise Refused(f"writes to its caller's frame at {offset:+}")
            touched.append(offset)
            new = term if len(places) == 1 else z3.If(condition, term, now(state.frame.read(offset, size)))
            state.frame.write(offset, new)

    def check_stack(self, state, before, touched):
        """The stack pointer is known and aligned, and what an instruction touched is not below it."""
        after = self.depth(state)
        if after is None or after < -LARGEST_FRAME or after % self.target.sp_alignment:
            raise Refused(f"the stack pointer is {self.get(state, self.target.sp)}")
        for offset in touched:
            if offset < min(before, after) - self.target.red_zone:
                raise Refused(f"uses {min(before, after) - offset} bytes below the stack pointer")
        if after > before:
            state.forget_below(after - self.target.red_zone)

    # ---- Execution ----

    def run(self, name, args):
        """All ways through a function, each to its return; and what the registers held that it must keep."""
        if name not in self.symbols:
            raise Refused("there is no such function")
        state = State(self.symbols[name], self.world)
        self.set(state, self.target.sp, self.sp)
        if self.target.link:
            self.set(state, self.target.link, self.back)
        else:
            state.frame.write(0, self.back)
        for i, arg in enumerate(args):
            if i < len(self.target.args):
                self.set(state, self.target.args[i], arg)
            else:
                state.frame.write(self.popped + 8 * (i - len(self.target.args)), arg)
        before = {register: self.get(state, register) for register in self.target.saved}
        going, done = {self.place(state): state}, []
        for _ in range(MOST_STEPS):
            if not going:
                return before, done
            # Those that are deepest in calls and furthest behind first, so that the others can be caught up with.
            state = going.pop(min(going, key=lambda place: (-len(place[1]), place[0])))
            for after in self.step(state):
                if after.pc is None:
                    done.append(after)
                else:
                    place = self.place(after)
                    going[place] = going[place].merged(after) if place in going else after
        raise Refused("does not come to an end")

    def place(self, state):
        """Where a state is; two at the same place can go on as one."""
        return state.pc, state.returns, self.depth(state), state.world.get_id(), tuple(map(id, state.calls))

    def depth(self, state):
        """The stack pointer's distance from that at entry."""
        term = self.get(state, self.target.sp)
        if term is not state.sp[0]:
            state.sp = term, self.frame_offset(term)
        return state.sp[1]

    def step(self, state):
        """Executes one instruction; returns the states after it."""
        if state.pc in self.replaced:
            return [self.replaced[state.pc](self, state)]
        ops, following = self.instruction(state.pc)
        before, touched, after = self.depth(state), [], []
        state.temporaries.clear()
        going = [(state, 0)]

        def branch(state, i, target):
            space, offset, size = target
            if space == "const":  # within the instruction: so many operations on or back
                going.append((state, i + signed(offset, size)))
            else:
                state.pc = offset
                after.append(state)

        while going:
            state, i = going.pop()
            while i < len(ops):
                name, output, inputs = ops[i]
                if name == "COPY":
                    self.put(state, output, self.operand(state, inputs[0]))
                elif name in OPERATIONS:
                    self.compute(state, name, output, inputs)
                elif name == "LOAD":
                    self.put(state, output, self.load(state, self.value(state, inputs[1]), output[2], touched))
                elif name == "STORE":
                    self.store(state, *(self.value(state, operand) for operand in inputs[1:]), touched)
                elif name == "CBRANCH":
                    condition = simplify(self.value(state, inputs[1]) != 0)
                    if z3.is_true(condition):
                        branch(state, i, inputs[0])
                        break
                    if not z3.is_false(condition):
                        taken, state = state.fork(condition), state.fork(z3.Not(condition))
                        if taken:
                            branch(taken, i, inputs[0])
                        if not state:
                            break
                elif name in ("BRANCH", "CALL"):
                    if name == "CALL":
                        state.returns += following,
                    branch(state, i, inputs[0])
                    break
                elif name in ("BRANCHIND", "CALLIND", "RETURN"):
                    state.returns = (*state.returns, following) if name == "CALLIND" else (
                        state.returns[:-1] if name == "RETURN" else state.returns)
                    state.pc = self.destination(state, self.value(state, inputs[0]))
                    after.append(state)
                    break
                elif name == self.target.instruction:
                    self.system_call(state)
                elif name != "IMARK":
                    raise Refused(f"nothing is known of the operation {name} at {state.pc:#x}")
                i += 1
            else:
                state.pc = following
                after.append(state)
        for state in after:
            self.check_stack(state, before, touched)
        return after

    def destination(self, state, address):
        """Where a jump through a register goes; None for the caller."""
        address = simplify(address)
        if number(address) is not None:
            return number(address)
        if counterexample(state.assumed, address == self.back) is None:
            return None
        raise Refused(f"at {state.pc:#x} goes to where nobody knows")

    def operand(self, state, operand):
        space, offset, size = operand
        if space == "const":
            return bits(offset, 8 * size)
        if space == "ram":
            return self.load(state, bits(offset), size, [])
        return (state.registers if space == "register" else state.temporaries).read(offset, size)

    def value(self, state, operand):
        return now(self.operand(state, operand))

    def put(self, state, operand, term):
        space, offset, _ = operand
        if space == "ram":
            raise Refused(f"writes to a static: {offset:#x}")
        (state.registers if space == "register" else state.temporaries).write(offset, term)

    def compute(self, state, name, output, inputs):
        terms, width = [self.operand(state, operand) for operand in inputs], 8 * output[2]
        make = lambda: OPERATIONS[name](width, *map(now, terms))
        self.put(state, output, Later(width, make) if width == 8 else simplify(make()))

    def system_call(self, state):
        """The kernel answers anything, changes any memory, and destroys the registers that it may."""
        words = [self.get(state, register) for register in self.target.words]
        in_frame = {self.frame_offset(word) for word in words} - {None}
        call = Call(self.get(state, self.target.number), words, state.world, Cells(state.frame), fresh("answer"),
                    z3.FreshConst(state.world.sort(), "after"), {at: fresh("written", 8 * LOCAL) for at in in_frame})
        state.calls.append(call)
        state.world = call.after
        for offset, term in call.written.items():
            state.frame.write(offset, term)
        for name, kept in self.target.destroyed.items():
            register = self.registers[name]
            state.registers.write(register.offset + kept, fresh("destroyed", 8 * (register.size - kept)))
        self.set(state, self.target.answer, call.answer)


def back_to_caller(machine, state, touched, result=None):
    """Returns from a function that is not executed: it destroys every register but those that it must keep, and what
    lies below the stack pointer, where nothing may lie that it is to touch.
    """
    sp, depth = machine.get(state, machine.target.sp), machine.depth(state)
    if any(offset < depth for offset in touched):
        raise Refused("passes what lies below the stack pointer")
    state.forget_below(depth)
    back = machine.get(state, machine.target.link) if machine.target.link else machine.load(state, sp, 8, [])
    state.pc = machine.destination(state, back)
    state.returns = state.returns[:-1]
    kept = {register: machine.get(state, register) for register in machine.target.saved}
    state.registers.clear()
    kept[machine.target.sp] = simplify(sp + machine.popped)
    if result is not None:
        kept[machine.target.results[0]] = result
    for register, term in kept.items():
        machine.set(state, register, term)
    return state


def memcpy(machine, state):
    """C's memcpy, by which large values are copied when nothing is optimized."""
    to, source, size = (machine.get(state, register) for register in machine.target.args[:3])
    if number(size) is None:
        raise Refused("copies so many bytes that nobody knows")
    touched = []
    machine.store(state, to, machine.load(state, source, number(size), touched), touched)
    return back_to_caller(machine, state, touched, to)


def memset(machine, state):
    """C's memset, by which large values are zeroed when nothing is optimized."""
    to, value, size = (machine.get(state, register) for register in machine.target.args[:3])
    if number(size) is None:
        raise Refused("fills so many bytes that nobody knows")
    touched = []
    machine.store(state, to, joined([byte(value, 0)] * number(size)), touched)
    return back_to_caller(machine, state, touched, to)


def panicked(machine, state):
    raise Refused("panics")
