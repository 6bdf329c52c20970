#!/usr/bin/env python3
"""Tests of the prover itself: on a few instructions each, what it computes, what it proves and what it refuses."""
import random
import sys
import unittest
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pypcode
import z3

sys.path.insert(0, str(Path(__file__).parent))
import claims  # noqa: E402
import pcode  # noqa: E402
from same import Code  # noqa: E402
from targets import RUSTC, TARGETS, command  # noqa: E402

START = 0x1000
KERNEL = {"__NR_munmap": 11}
MUNMAP = claims.Function("munmap", "addr: ptr, len: ulong", "word", "munmap", "addr, len")


class Program(pcode.Machine):
    """A machine with one function, "f", of the bytes given in hex."""

    def __init__(self, code, target="x86_64", replaced=None, executable=True):
        self.target = TARGETS[target]
        self.context = pypcode.Context(self.target.language)
        self.image, self.symbols = [(START, bytes.fromhex(code), executable)], {"f": START}
        self.replaced = replaced or {}
        self.registers = self.context.registers
        self.sp, self.popped = z3.BitVec("sp", 64), 0 if self.target.link else 8
        self.back = z3.Concat(z3.BitVec("back", 63), pcode.bits(0, 1))
        self.world = z3.Array("world", z3.BitVecSort(64), z3.BitVecSort(8))


def proved(code, function=MUNMAP, params=("addr", "len"), target="x86_64", probe=claims.answer, calls=1):
    goal = claims.Goal("f", [(name, "ulong") for name in params],
                       lambda kernel, end: probe(function, kernel, end), calls)
    return claims.prove(KERNEL, goal, Program(code, target))


# mov eax, 11; syscall
CALL = "b80b000000" "0f05"
# The result as the probes have it: mov rdx, rax; mov eax, 1; ret
ANSWER = "4889c2" "b801000000" "c3"


class Computes(unittest.TestCase):
    def test_each_operation_as_python_does_on_numbers(self):
        mask, half = (1 << 64) - 1, 1 << 63
        s = lambda a: a - (1 << 64) if a >= half else a
        plain = {
            "INT_ADD": lambda a, b: a + b & mask, "INT_SUB": lambda a, b: a - b & mask,
            "INT_MULT": lambda a, b: a * b & mask,
            "INT_AND": lambda a, b: a & b, "INT_OR": lambda a, b: a | b, "INT_XOR": lambda a, b: a ^ b,
            "INT_LEFT": lambda a, b: a << b & mask if b < 64 else 0, "INT_RIGHT": lambda a, b: a >> b if b < 64 else 0,
            "INT_SRIGHT": lambda a, b: s(a) >> min(b, 63) & mask,
            "INT_EQUAL": lambda a, b: a == b, "INT_NOTEQUAL": lambda a, b: a != b,
            "INT_LESS": lambda a, b: a < b, "INT_LESSEQUAL": lambda a, b: a <= b,
            "INT_SLESS": lambda a, b: s(a) < s(b), "INT_SLESSEQUAL": lambda a, b: s(a) <= s(b),
            "INT_CARRY": lambda a, b: a + b > mask,
            "INT_SCARRY": lambda a, b: not -half <= s(a) + s(b) < half,
            "INT_SBORROW": lambda a, b: not -half <= s(a) - s(b) < half,
            "INT_2COMP": lambda a: -a & mask, "INT_NEGATE": lambda a: ~a & mask, "POPCOUNT": lambda a: a.bit_count(),
            "INT_ZEXT": lambda a: a, "INT_SEXT": lambda a: a,
        }
        others = {"BOOL_NEGATE", "BOOL_AND", "BOOL_OR", "BOOL_XOR", "SUBPIECE"}
        self.assertEqual(plain.keys() | others, pcode.OPERATIONS.keys())
        numbers = [0, 1, 63, 64, 65, half - 1, half, mask, *(random.getrandbits(64) for _ in range(8))]
        for name, meant in plain.items():
            for given in product(numbers, repeat=meant.__code__.co_argcount):
                term = pcode.OPERATIONS[name](64, *map(pcode.bits, given))
                self.assertEqual(pcode.number(z3.simplify(term)), int(meant(*given)), (name, given))

    def test_a_part_of_a_value_and_its_sign(self):
        part = pcode.OPERATIONS["SUBPIECE"](16, pcode.bits(0x8877665544332211), pcode.bits(2, 32))
        self.assertEqual(pcode.number(z3.simplify(part)), 0x4433)
        wide = pcode.OPERATIONS["INT_SEXT"](64, pcode.bits(0x80000000, 32))
        self.assertEqual(pcode.number(z3.simplify(wide)), 0xffffffff80000000)

    def test_bytes_that_are_written_over_are_read_as_they_are_then(self):
        cells = pcode.Cells()
        cells.write(0, pcode.bits(0x1122334455667788))
        cells.write(2, pcode.bits(0xaabb, 16))
        self.assertEqual(pcode.number(cells.read(0, 8)), 0x11223344aabb7788)

    def test_both_ways_of_a_branch_are_taken_and_no_impossible_one(self):
        # test edi, edi; je +1; ret; ret
        _, ends = Program("85ff" "7401" "c3" "c3").run("f", [claims.word("a")])
        self.assertEqual(len(ends), 2)
        # xor eax, eax; je +1; nop; ret
        _, ends = Program("31c0" "7401" "90" "c3").run("f", [])
        self.assertEqual(len(ends), 1)


    def test_ways_that_come_together_go_on_as_one(self):
        # xor eax, eax; test edi, edi; je +5; mov eax, 1; ret
        machine = Program("31c0" "85ff" "7405" "b801000000" "c3")
        _, [end] = machine.run("f", [claims.word("a")])
        zero, result = z3.Extract(31, 0, claims.word("a")) == 0, machine.get(end, "RAX")
        self.assertIsNone(pcode.counterexample(end.assumed, result == z3.If(zero, pcode.bits(0), pcode.bits(1))))
        self.assertIsNotNone(pcode.counterexample(end.assumed, result == 1))
        self.assertIsNotNone(pcode.counterexample(end.assumed, result == 0))

    def test_a_place_in_the_frame_that_depends_on_an_input(self):
        store_and_load = "4889743cf0" "488b4424f0" "c3"  # mov [rsp + rdi - 16], rsi; mov rax, [rsp - 16]; ret
        a, b = claims.word("a"), claims.word("b")
        machine = Program("83e708" + store_and_load)  # and edi, 8
        _, [end] = machine.run("f", [a, b])
        written, result = a & 8 == 0, machine.get(end, "RAX")
        self.assertIsNone(pcode.counterexample([*end.assumed, written], result == b))
        self.assertIsNotNone(pcode.counterexample([*end.assumed, z3.Not(written)], result == b))
        with self.assertRaisesRegex(pcode.Refused, "where in the frame"):
            Program(store_and_load).run("f", [a, b])


class Same(unittest.TestCase):
    def digest(self, source):
        """Of the function f."""
        with TemporaryDirectory() as folder:
            file = Path(folder, "f.rs")
            file.write_text("#![no_std]\n" + source)
            command(RUSTC, "--crate-type=lib", "--emit=obj", "-Copt-level=2", "-Awarnings", "--out-dir", folder, file)
            return Code(Path(folder, "f.o")).digest("f")

    def test_what_a_function_calls_is_part_of_it_and_what_stands_beside_it_is_not(self):
        callee = "#[inline(never)] fn g(x: u32) -> u32 { x.rotate_left(%d) ^ x }"
        caller = "#[no_mangle] pub fn f(x: u32) -> u32 { g(x) + 1 }"
        other = "#[no_mangle] pub fn a(x: u32) -> u32 { x ^ 7 }"
        one = self.digest(callee % 3 + caller)
        self.assertEqual(one, self.digest(other + callee % 3 + caller))
        self.assertNotEqual(one, self.digest(callee % 5 + caller))

    def test_what_is_constant_is_not_what_may_be_written(self):
        f = "#[no_mangle] pub fn f() -> u8 { unsafe { (&raw const X).read_volatile() } } #[no_mangle] pub static %s;"
        self.assertNotEqual(self.digest(f % "X: u8 = 0"), self.digest(f % "mut X: u8 = 0"))


class Proves(unittest.TestCase):
    def test_a_stub_on_each_architecture(self):
        self.assertEqual(proved(CALL + ANSWER), [])
        # mov x8, 11; svc 0; mov x1, x0; mov x0, 1; ret
        self.assertEqual(proved("680180d2" "010000d4" "e10300aa" "200080d2" "c0035fd6", target="aarch64"), [])
        # li a7, 11; ecall; mv a1, a0; li a0, 1; ret
        self.assertEqual(proved("9308b000" "73000000" "93050500" "13051000" "67800000", target="riscv64"), [])

    def test_a_claim_that_does_not_follow_has_a_counterexample(self):
        a = z3.BitVec("a", 64)
        self.assertIsNone(pcode.counterexample([z3.ULT(a, 5)], z3.ULT(a, 6)))
        self.assertEqual(pcode.counterexample([z3.ULT(a, 5)], z3.ULT(a, 4)), "a = 0x4")


class Refuses(unittest.TestCase):
    def assert_refused(self, why, code, **kwargs):
        wrong = proved(code, **kwargs)
        self.assertTrue(wrong and why in wrong[0], wrong)

    def test_another_number(self):
        self.assert_refused("number", "b80c000000" "0f05" + ANSWER)

    def test_another_argument(self):
        self.assert_refused("argument 1", "ffc6" + CALL + ANSWER)  # inc esi

    def test_no_call_and_two(self):
        self.assert_refused("makes 0 system calls", ANSWER)
        self.assert_refused("makes 2 system calls", CALL + CALL + ANSWER)

    def test_what_the_kernel_destroys_is_not_relied_on(self):
        self.assert_refused("value or errno", "4889f9" + CALL + "4889ca" "b801000000" "c3")  # rcx, before and after
        # In xmm0 it is kept: movq xmm0, rdi; the call; movq rdi, xmm0
        self.assertEqual(proved("66480f6ec7" + CALL + "66480f7ec7" + ANSWER), [])

    def test_a_register_that_is_not_given_back(self):
        self.assert_refused("RBX is kept", CALL + "31db" + ANSWER)  # xor ebx, ebx

    def test_a_stack_pointer_that_is_not_given_back(self):
        self.assert_refused("goes to where nobody knows", "50" + CALL + ANSWER)  # push rax
        right = "680180d2" "010000d4" "e10300aa" "200080d2" "%s" "c0035fd6"  # as above
        self.assertEqual(proved(right % "", target="aarch64"), [])
        self.assert_refused("stack pointer: not for", right % "ff4300d1", target="aarch64")  # sub sp, sp, 16

    def test_stores_and_loads_on_the_wrong_side_of_the_call(self):
        # mov r8, rdi; mov rdi, rdx; xchg rsi, rcx: where they are, and the arguments; mov [r8], rcx; mov rax, [r8]
        begin, store, load, clear = "4989f8" "4889d7" "4887f1", "498908", "498b00", "49c70000000000"
        kwargs = {"params": ("at", "value", "addr", "len"), "probe": claims.order}
        self.assertEqual(proved(begin + store + CALL + load + "c3", **kwargs), [])
        self.assert_refused("stored before the call", begin + CALL + load + "c3", **kwargs)
        self.assert_refused("stored before the call", begin + store + clear + CALL + load + "c3", **kwargs)
        # mov [rsp - 8], rcx; and after the call mov rax, [rsp - 8]; and mov qword ptr [r8], 0
        self.assert_refused("loaded after the call",
                            begin + store + "48894c24f8" + CALL + "488b4424f8" + "c3", **kwargs)
        self.assert_refused("nothing written after", begin + store + CALL + load + clear + "c3", **kwargs)

    def test_writes(self):
        self.assert_refused("writes nothing else", "c60700" + CALL + ANSWER)  # mov byte [rdi], 0
        self.assert_refused("writes nothing else", CALL + "c60700" + ANSWER)
        self.assert_refused("writes to its caller's frame", "c644240800" + CALL + ANSWER)  # mov byte [rsp + 8], 0
        self.assert_refused("writes to a static", "c604250010000000" + CALL + ANSWER)  # mov byte [0x1000], 0
        self.assert_refused("below the stack pointer", "c68424f0feffff00" + CALL + ANSWER)  # mov byte [rsp - 272], 0
        self.assertEqual(proved("c64424f800" + CALL + ANSWER), [])  # mov byte [rsp - 8], 0: the red zone

    def test_reads_which_may_fault(self):
        self.assert_refused("reads nothing else", "488b0f" + CALL + ANSWER)  # mov rcx, [rdi]
        self.assert_refused("reads nothing else", CALL + "488b08" + ANSWER)  # mov rcx, [rax]
        # test edi, edi; je or jne; mov rcx, [rdi]
        for branch in "7403", "7503":
            self.assert_refused("reads nothing else", "85ff" + branch + "488b0f" + CALL + ANSWER)
        self.assert_refused("reads nothing else", "488b0f" "85ff" "7401" "90" + CALL + ANSWER)

    def test_a_read_or_write_that_is_partly_elsewhere(self):
        # mov rax, [rdi + 1]; ret; and mov [rdi], rax; ret
        for code, size, right in ("488b4701c3", 9, True), ("488b4701c3", 8, False), ("488907c3", 8, False):
            reads = lambda function, kernel, end: claims.touches(end, "at", size)
            self.assertEqual(proved(code, params=["at"], probe=reads, calls=0) == [], right)

    def test_what_lay_below_the_stack_pointer_is_not_relied_on(self):
        # mov [rsp - 144], rdi; mov rdi, [rsp - 144]; around which rsp is 144 less, twice or once
        down, up, store, load = "4881ec90000000", "4881c490000000", "48893c24", "488b3c24"
        self.assertEqual(proved(down + store + load + up + CALL + ANSWER), [])
        self.assert_refused("argument 0", down + store + up + down + load + up + CALL + ANSWER)

    def test_a_stack_pointer_that_is_not_aligned(self):
        # sub sp, sp, 8; add sp, sp, 8; ret
        self.assert_refused("the stack pointer is", "ff2300d1" "ff230091" "c0035fd6", target="aarch64")

    def test_memory_that_is_no_code_or_ends(self):
        with self.assertRaisesRegex(pcode.Refused, "no code"):
            Program("c3", executable=False).run("f", [])
        with self.assertRaisesRegex(pcode.Refused, "beyond the end"):  # mov rax, [0x1001]
            Program("488b042501100000").run("f", [])

    def test_memcpy_keeps_nothing_below_the_stack_pointer_and_takes_nothing_there(self):
        # mov [rsp - 16], rdi; call memcpy; mov rax, [rsp - 16]; ret; memcpy; and memcpy from rsp - 16
        code = "48897c24f0" "ba08000000" "%s" "e806000000" "488b4424f0" "c3" "90"
        memcpy = lambda start: {START + start: pcode.memcpy}
        _, [end] = Program(code % "", replaced=memcpy(21)).run("f", [claims.word("a"), claims.word("b")])
        result = Program("").get(end, "RAX")
        self.assertIsNotNone(pcode.counterexample([], result == claims.word("a")))
        with self.assertRaisesRegex(pcode.Refused, "below the stack pointer"):  # lea rsi, [rsp - 16]
            Program(code % "488d7424f0", replaced=memcpy(26)).run("f", [claims.word("a"), claims.word("b")])

    def test_a_frame_of_the_caller_that_is_read(self):
        self.assert_refused("reads its caller's frame", "8a442410" + CALL + ANSWER)  # mov al, [rsp + 16]

    def test_jumps_that_cannot_be_followed(self):
        self.assert_refused("goes to where nobody knows", "ffe7")  # jmp rdi
        self.assert_refused("goes or reads where nothing is", "e900010000")  # jmp +256
        self.assert_refused("does not come to an end", "ebfe")  # jmp itself

    def test_instructions_of_which_nothing_is_known(self):
        self.assert_refused("nothing is known of the operation", "0fa2" + CALL + ANSWER)  # cpuid
        # vsetvli a0, a0, e8; add z0.d, z0.d, z0.d
        self.assertTrue(proved("57750500", target="riscv64"))
        self.assertTrue(proved("0000e004", target="aarch64"))

    def test_a_panic(self):
        goal = claims.Goal("f", [], claims.decode, calls=0)
        self.assertEqual(claims.prove(KERNEL, goal, Program("90", replaced={START: pcode.panicked})), ["panics"])

    def test_an_error_that_is_cut_short(self):
        decode = lambda function, kernel, end: claims.answered(end, "pointer", claims.word("word"))
        # cmp rdi, -4095; mov eax, 0; mov rdx, rdi; neg rdi; cmovae rdx, rdi; setb al; ret
        right = "4881ff01f0ffff" "b800000000" "4889fa" "48f7df"
        # neg changes the carry that cmp left, so compare again: lea rcx, [rdx + 4095]; cmp rdx, -4095
        right += "4881fa01f0ffff" "480f43d7" "0f92c0" "c3"
        self.assertEqual(proved(right, params=["word"], probe=decode, calls=0), [])
        for bound in "02f0ffff", "00f0ffff":
            wrong = right.replace("4881fa01f0ffff", "4881fa" + bound)
            self.assert_refused("Ok or Err", wrong, params=["word"], probe=decode, calls=0)


class Lists(unittest.TestCase):
    def test_each_function_has_its_probes(self):
        symbols = [goal.symbol for goal in claims.goals()]
        for function in claims.Function.all():
            for probe in ("answer", "press", "order"):
                self.assertIn(f"{probe}.{function.name}", symbols)
        self.assertEqual(len(symbols), len(set(symbols)))

    def test_what_is_public_and_not_in_the_list(self):
        import prove  # which imports this file
        with TemporaryDirectory() as folder:
            file = Path(folder, "src/lib.rs")
            file.parent.mkdir()
            file.write_text("""
                #[doc(hidden)] pub mod hidden {}
                pub mod other { pub fn munmap() {} pub fn mmap2() {} }
                pub fn munmap() {}
                pub struct Call;
                impl Call { pub fn munmap() -> Self { Call } pub fn mmap2() -> Self { Call } pub fn number(&self) {} }
            """)
            wrong = prove.check_list(file.parents[1], TARGETS["x86_64"])
        self.assertEqual([line for line in wrong if "does not say" not in line], [
            "mmap2 is public, and nothing proves it", "Call::mmap2 is public, and nothing proves it",
            "there are two functions munmap", f"{file} hides something from the documentation"])

    def test_an_int_is_read_with_its_sign(self):
        minus_one = z3.substitute(claims.word("x", "int"), (z3.BitVec("x", 64), pcode.bits(0xffffffff)))
        self.assertEqual(pcode.number(z3.simplify(minus_one)), (1 << 64) - 1)


if __name__ == "__main__":
    unittest.main()
