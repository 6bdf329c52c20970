//! Calls as values: one operation of the family as a number and six words, to be printed, checked,
//! shipped, read back or made.

use crate::arch::{self, nr};
use crate::errno::Errno;
use crate::flags::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot,
};
use crate::raw::{NO_FD, RawFd};
use crate::word::Word;
use core::fmt;

/// A memory-mapping call as a value, before it is made: its number and its argument words.
///
/// The functions that are named after the calls make one, and [`from_words`](Self::from_words)
/// reads one from a seccomp notification or a ptrace stop. Two calls are equal when the kernel
/// can't tell them apart: words that a call doesn't take are 0, and a C `int` is sign-extended.
///
/// The layout is C's: the number, then six words, 56 bytes, on every architecture of this crate.
/// The number is that of the architecture. A call may be sent to another thread, or its bytes to
/// another process, which reads them back with `from_words`.
///
/// `Display` prints what strace prints, except in these points:
///
/// - [`mincore`](Self::mincore)'s third argument is the pointer, not the bytes behind it;
/// - `mremap` shows its fifth argument also for `MREMAP_DONTUNMAP`, if it is not null;
/// - bits 32 to 63 of mmap's flags are shown;
/// - there is no `/* PROT_??? */` behind a number without a name;
/// - flags without a sharing don't print `MAP_FILE`, unless there is no other flag;
/// - the flags that only one architecture has, such as `MAP_32BIT`, are the last names;
/// - `MAP_UNINITIALIZED` without `MAP_HUGETLB` has its name, not `1<<MAP_HUGE_SHIFT`;
/// - an old strace prints what it doesn't know as numbers (6.1: `mseal`, `MAP_DROPPABLE`,
///   `MAP_ABOVE4G`, `MADV_GUARD_INSTALL`, `MADV_GUARD_REMOVE`).
///
/// ```
/// use rawmap::{Call, MapFlags, Prot};
/// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
/// let call = Call::mmap(core::ptr::null_mut(), 4096, Prot::READ | Prot::WRITE, flags, -1, 0);
/// assert_eq!(
///     call.to_string(),
///     "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)",
/// );
/// // As a tracer gets it:
/// let seen = Call::from_words(call.number(), call.args()).unwrap();
/// assert_eq!(seen, call);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
#[must_use = "a call does nothing until it is made"]
pub struct Call {
    number: Number,
    args: [Word; 6],
}

/// Expands to the numbers that a [`Call`] can have, as an enum of a word's size, and to the
/// function that finds the one of a number.
macro_rules! numbers {
    ($($name:ident = $number:ident)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        enum Number {
            $($name = nr::$number),*
        }

        impl Number {
            const fn new(number: usize) -> Option<Self> {
                match number {
                    $(nr::$number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

numbers! {
    Mmap = MMAP
    Munmap = MUNMAP
    Mprotect = MPROTECT
    Msync = MSYNC
    Mremap = MREMAP
    Madvise = MADVISE
    Mincore = MINCORE
    Mlock = MLOCK
    Mlock2 = MLOCK2
    Munlock = MUNLOCK
    Mlockall = MLOCKALL
    Munlockall = MUNLOCKALL
    Mseal = MSEAL
}

/// A [`Call`] as an enum, with typed arguments. Addresses are [`Word`]s; [`Word::as_ptr`] gives the
/// pointer. More calls may be added.
///
/// ```
/// use rawmap::{Call, Operation};
/// let call = Call::munmap(core::ptr::without_provenance_mut(0x1000), 4096);
/// let Operation::Munmap { addr, len } = call.operation() else { unreachable!() };
/// assert_eq!((addr.bits(), len), (0x1000, 4096));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // Each field is the argument of that name of the function of that name.
pub enum Operation {
    /// [`mmap`](crate::mmap).
    Mmap { addr: Word, len: usize, prot: Prot, flags: MapFlags, fd: RawFd, offset: u64 },
    /// [`munmap`](crate::munmap).
    Munmap { addr: Word, len: usize },
    /// [`mprotect`](crate::mprotect).
    Mprotect { addr: Word, len: usize, prot: Prot },
    /// [`msync`](crate::msync).
    Msync { addr: Word, len: usize, flags: MsyncFlags },
    /// [`mremap`](crate::mremap).
    Mremap { old: Word, old_len: usize, new_len: usize, flags: MremapFlags, new_addr: Word },
    /// [`madvise`](crate::madvise).
    Madvise { addr: Word, len: usize, advice: Advice },
    /// [`mincore`](crate::mincore).
    Mincore { addr: Word, len: usize, vec: Word },
    /// [`mlock`](crate::mlock).
    Mlock { addr: Word, len: usize },
    /// [`mlock2`](crate::mlock2).
    Mlock2 { addr: Word, len: usize, flags: MlockFlags },
    /// [`munlock`](crate::munlock).
    Munlock { addr: Word, len: usize },
    /// [`mlockall`](crate::mlockall).
    Mlockall { flags: MlockAllFlags },
    /// [`munlockall`](crate::munlockall).
    Munlockall,
    /// [`mseal`](crate::mseal).
    Mseal { addr: Word, len: usize, flags: MsealFlags },
}

/// Each function here makes a call of the arguments of the raw function of the same name. The call
/// is not made to the kernel until [`make`](Self::make).
impl Call {
    #[inline]
    const fn new(number: Number, args: &[Word]) -> Self {
        let mut all = [Word::ZERO; 6];
        let mut n = 0;
        while n < args.len() {
            all[n] = args[n];
            n += 1;
        }
        Self { number, args: all }
    }

    /// The call that [`mmap`](crate::mmap) makes.
    #[inline]
    pub const fn mmap(
        addr: *mut u8,
        len: usize,
        prot: Prot,
        flags: MapFlags,
        fd: RawFd,
        offset: u64,
    ) -> Self {
        let offset = Word::int(offset as usize);
        let args =
            [Word::ptr(addr), Word::int(len), prot.word(), flags.word(), Word::signed(fd), offset];
        Self::new(Number::Mmap, &args)
    }

    /// The call that [`mmap_anonymous`](crate::mmap_anonymous) makes.
    #[inline]
    pub const fn mmap_anonymous(addr: *mut u8, len: usize, prot: Prot, flags: MapFlags) -> Self {
        Self::mmap(addr, len, prot, flags.union(MapFlags::ANONYMOUS), NO_FD, 0)
    }

    /// The call that [`munmap`](crate::munmap) makes.
    #[inline]
    pub const fn munmap(addr: *mut u8, len: usize) -> Self {
        Self::new(Number::Munmap, &[Word::ptr(addr), Word::int(len)])
    }

    /// The call that [`mprotect`](crate::mprotect) makes.
    #[inline]
    pub const fn mprotect(addr: *mut u8, len: usize, prot: Prot) -> Self {
        Self::new(Number::Mprotect, &[Word::ptr(addr), Word::int(len), prot.word()])
    }

    /// The call that [`msync`](crate::msync) makes.
    #[inline]
    pub const fn msync(addr: *mut u8, len: usize, flags: MsyncFlags) -> Self {
        Self::new(Number::Msync, &[Word::ptr(addr), Word::int(len), flags.word()])
    }

    /// The call that [`mremap`](crate::mremap) makes.
    #[inline]
    pub const fn mremap(
        old: *mut u8,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
        new_addr: *mut u8,
    ) -> Self {
        let [old, new_addr] = [Word::ptr(old), Word::ptr(new_addr)];
        let args = [old, Word::int(old_len), Word::int(new_len), flags.word(), new_addr];
        Self::new(Number::Mremap, &args)
    }

    /// The call that [`madvise`](crate::madvise) makes.
    #[inline]
    pub const fn madvise(addr: *mut u8, len: usize, advice: Advice) -> Self {
        Self::new(Number::Madvise, &[Word::ptr(addr), Word::int(len), advice.word()])
    }

    /// The call that [`mincore`](crate::mincore) makes.
    #[inline]
    pub const fn mincore(addr: *mut u8, len: usize, vec: *mut u8) -> Self {
        Self::new(Number::Mincore, &[Word::ptr(addr), Word::int(len), Word::ptr(vec)])
    }

    /// The call that [`mlock`](crate::mlock) makes.
    #[inline]
    pub const fn mlock(addr: *mut u8, len: usize) -> Self {
        Self::new(Number::Mlock, &[Word::ptr(addr), Word::int(len)])
    }

    /// The call that [`mlock2`](crate::mlock2) makes.
    #[inline]
    pub const fn mlock2(addr: *mut u8, len: usize, flags: MlockFlags) -> Self {
        Self::new(Number::Mlock2, &[Word::ptr(addr), Word::int(len), flags.word()])
    }

    /// The call that [`munlock`](crate::munlock) makes.
    #[inline]
    pub const fn munlock(addr: *mut u8, len: usize) -> Self {
        Self::new(Number::Munlock, &[Word::ptr(addr), Word::int(len)])
    }

    /// The call that [`mlockall`](crate::mlockall) makes.
    #[inline]
    pub const fn mlockall(flags: MlockAllFlags) -> Self {
        Self::new(Number::Mlockall, &[flags.word()])
    }

    /// The call that [`munlockall`](crate::munlockall) makes.
    #[inline]
    pub const fn munlockall() -> Self {
        Self::new(Number::Munlockall, &[])
    }

    /// The call that [`mseal`](crate::mseal) makes.
    #[inline]
    pub const fn mseal(addr: *mut u8, len: usize, flags: MsealFlags) -> Self {
        Self::new(Number::Mseal, &[Word::ptr(addr), Word::int(len), flags.word()])
    }
}

impl Call {
    /// The call with this number and these words, such as those of a seccomp notification or a
    /// ptrace stop. `None` if the number is not that of a memory-mapping call.
    ///
    /// Words that the call doesn't take are dropped, and those that the kernel reads as `int` are
    /// cut to 32 bits, as the kernel does.
    ///
    /// In const evaluation, only the words that are addresses may be pointers to objects: where an
    /// object lies isn't known before the program runs.
    #[must_use]
    pub const fn from_words(number: usize, args: [Word; 6]) -> Option<Self> {
        match Number::new(number) {
            Some(number) => Some(Self { number, args }.operation().call()),
            None => None,
        }
    }

    /// The call's number, on this architecture.
    #[must_use]
    #[inline]
    pub const fn number(self) -> usize {
        self.number as usize
    }

    /// The call's argument words. Those that the call does not take are 0.
    #[must_use]
    #[inline]
    pub const fn args(self) -> [Word; 6] {
        self.args
    }

    /// The call as an enum, with typed arguments.
    #[must_use]
    pub const fn operation(self) -> Operation {
        let [a, b, c, d, e, f] = self.args;
        let (addr, len) = (a, b.const_bits());
        match self.number {
            Number::Mmap => Operation::Mmap {
                addr,
                len,
                prot: Prot::from_bits(c.const_bits()),
                flags: MapFlags::from_bits(d.const_bits()),
                fd: e.const_bits() as RawFd,
                offset: f.const_bits() as u64,
            },
            Number::Munmap => Operation::Munmap { addr, len },
            Number::Mprotect => {
                Operation::Mprotect { addr, len, prot: Prot::from_bits(c.const_bits()) }
            }
            Number::Msync => {
                Operation::Msync { addr, len, flags: MsyncFlags::from_bits(c.const_bits() as i32) }
            }
            Number::Mremap => Operation::Mremap {
                old: addr,
                old_len: len,
                new_len: c.const_bits(),
                flags: MremapFlags::from_bits(d.const_bits()),
                new_addr: e,
            },
            Number::Madvise => {
                Operation::Madvise { addr, len, advice: Advice::from_bits(c.const_bits() as i32) }
            }
            Number::Mincore => Operation::Mincore { addr, len, vec: c },
            Number::Mlock => Operation::Mlock { addr, len },
            Number::Mlock2 => {
                Operation::Mlock2 { addr, len, flags: MlockFlags::from_bits(c.const_bits() as i32) }
            }
            Number::Munlock => Operation::Munlock { addr, len },
            Number::Mlockall => {
                Operation::Mlockall { flags: MlockAllFlags::from_bits(a.const_bits() as i32) }
            }
            Number::Munlockall => Operation::Munlockall,
            Number::Mseal => {
                Operation::Mseal { addr, len, flags: MsealFlags::from_bits(c.const_bits()) }
            }
        }
    }

    /// Makes the call.
    ///
    /// One system call, which is this one. The result is the kernel's word: the address for `mmap`
    /// and `mremap`, and 0 for the others.
    ///
    /// # Errors
    /// Those of the raw function of the same name.
    ///
    /// # Safety
    /// That of the raw function of the same name.
    ///
    /// ```
    /// use rawmap::{Advice, Call};
    /// let call = Call::madvise(core::ptr::null_mut(), 0, Advice::DONTNEED);
    /// // SAFETY: a range of length 0 holds no memory.
    /// unsafe { call.make()? };
    /// # Ok::<(), rawmap::Errno>(())
    /// ```
    #[inline]
    pub unsafe fn make(self) -> Result<Word, Errno> {
        let [a, b, c, d, e, f] = self.args;
        // SAFETY: the caller's promise. More registers than the call takes are not read.
        Errno::decode(unsafe { arch::syscall6(a, b, c, d, e, f, self.number()) })
    }
}

impl Operation {
    /// The operation as a [`Call`]: its number and words.
    pub const fn call(self) -> Call {
        match self {
            Self::Mmap { addr, len, prot, flags, fd, offset } => {
                Call::mmap(addr.as_ptr(), len, prot, flags, fd, offset)
            }
            Self::Munmap { addr, len } => Call::munmap(addr.as_ptr(), len),
            Self::Mprotect { addr, len, prot } => Call::mprotect(addr.as_ptr(), len, prot),
            Self::Msync { addr, len, flags } => Call::msync(addr.as_ptr(), len, flags),
            Self::Mremap { old, old_len, new_len, flags, new_addr } => {
                Call::mremap(old.as_ptr(), old_len, new_len, flags, new_addr.as_ptr())
            }
            Self::Madvise { addr, len, advice } => Call::madvise(addr.as_ptr(), len, advice),
            Self::Mincore { addr, len, vec } => Call::mincore(addr.as_ptr(), len, vec.as_ptr()),
            Self::Mlock { addr, len } => Call::mlock(addr.as_ptr(), len),
            Self::Mlock2 { addr, len, flags } => Call::mlock2(addr.as_ptr(), len, flags),
            Self::Munlock { addr, len } => Call::munlock(addr.as_ptr(), len),
            Self::Mlockall { flags } => Call::mlockall(flags),
            Self::Munlockall => Call::munlockall(),
            Self::Mseal { addr, len, flags } => Call::mseal(addr.as_ptr(), len, flags),
        }
    }
}

impl From<Operation> for Call {
    fn from(operation: Operation) -> Self {
        operation.call()
    }
}

/// A pointer as strace prints it.
struct Pointer(Word);

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Word::ZERO { f.write_str("NULL") } else { write!(f, "{:?}", self.0) }
    }
}

impl fmt::Display for Call {
    /// Prints the call as strace does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation() {
            Operation::Mmap { addr, len, prot, flags, fd, offset } => {
                write!(f, "mmap({}, {len}, {prot:?}, {flags:?}, {fd}, ", Pointer(addr))?;
                if offset == 0 { f.write_str("0)") } else { write!(f, "{offset:#x})") }
            }
            Operation::Munmap { addr, len } => write!(f, "munmap({}, {len})", Pointer(addr)),
            Operation::Mprotect { addr, len, prot } => {
                write!(f, "mprotect({}, {len}, {prot:?})", Pointer(addr))
            }
            Operation::Msync { addr, len, flags } => {
                write!(f, "msync({}, {len}, {flags:?})", Pointer(addr))
            }
            Operation::Mremap { old, old_len, new_len, flags, new_addr } => {
                write!(f, "mremap({}, {old_len}, {new_len}, {flags:?}", Pointer(old))?;
                let hint = flags.contains(MremapFlags::DONTUNMAP) && new_addr != Word::ZERO;
                if flags.contains(MremapFlags::FIXED) || hint {
                    write!(f, ", {}", Pointer(new_addr))?;
                }
                f.write_str(")")
            }
            Operation::Madvise { addr, len, advice } => {
                write!(f, "madvise({}, {len}, {advice:?})", Pointer(addr))
            }
            Operation::Mincore { addr, len, vec } => {
                write!(f, "mincore({}, {len}, {})", Pointer(addr), Pointer(vec))
            }
            Operation::Mlock { addr, len } => write!(f, "mlock({}, {len})", Pointer(addr)),
            Operation::Mlock2 { addr, len, flags } => {
                write!(f, "mlock2({}, {len}, {flags:?})", Pointer(addr))
            }
            Operation::Munlock { addr, len } => write!(f, "munlock({}, {len})", Pointer(addr)),
            Operation::Mlockall { flags } => write!(f, "mlockall({flags:?})"),
            Operation::Munlockall => f.write_str("munlockall()"),
            Operation::Mseal { addr, len, flags } => {
                write!(f, "mseal({}, {len}, {flags:?})", Pointer(addr))
            }
        }
    }
}

impl fmt::Debug for Call {
    /// Prints what `Display` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
