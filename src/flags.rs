//! Flags and constants: the words of the memory calls that are not addresses or lengths.
//!
//! Each type is the integer that the kernel's own definition of the call takes (`unsigned long`
//! is `usize`, `int` is `i32`), and is open: bits without a name are kept, passed on and printed
//! in hex, so that a new kernel's flag works at once through `from_bits`. Names print in the order
//! in which strace prints them, which is the order in which they stand here; what is printed can be
//! parsed.

use crate::arch;
use crate::word::Word;
use core::fmt;
use core::str::FromStr;

/// Expands to a transparent newtype over the kernel's integer with its constants, and to the table
/// of their C names that `Display`, `FromStr`, `iter_names` and rustdoc's search share.
macro_rules! open {
    (
        $(#[$doc:meta])*
        $name:ident($int:ty) {
            $($(#[$const_doc:meta])* $const:ident $c_name:literal = $value:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($int);

        impl $name {
            $(
                $(#[$const_doc])*
                #[doc(alias = $c_name)]
                pub const $const: Self = Self($value);
            )*

            /// The C names of the constants above.
            const NAMES: &'static [(&'static str, Self)] = &[$(($c_name, Self::$const)),*];

            /// From the kernel's integer; every bit is kept.
            #[must_use]
            #[inline]
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits)
            }

            /// The kernel's integer.
            #[must_use]
            #[inline]
            pub const fn bits(self) -> $int {
                self.0
            }

            /// The argument word; an `int` is sign-extended.
            #[inline]
            pub(crate) const fn word(self) -> Word {
                Word::int(self.0 as isize as usize)
            }

            /// What one printed word says: a C name, or a number.
            fn from_word(word: &str) -> Option<Self> {
                let named = Self::names().find(|(name, _)| *name == word);
                named.map(|(_, value)| value).or_else(|| {
                    let digits = if word == "0" { word } else { word.strip_prefix("0x")? };
                    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    let number = u64::from_str_radix(digits, 16).ok().filter(|_| hex)?;
                    // It must fit; an `int` is printed as its 32 bits.
                    (number >> (8 * size_of::<$int>() - 1) < 2).then_some(Self(number as $int))
                })
            }
        }

        impl fmt::Debug for $name {
            /// Prints what `Display` prints.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// Expands to what a type of flags has beside [`open!`]: const set operations, the operators that
/// call them, names and parsing. Each mask in `fields` is a field, which is taken whole; `$form`
/// reads the words in which one is printed, and `$note` is what the documentation of the operations
/// says.
macro_rules! set {
    ($name:ident, $arch_names:expr, fields($($field:expr),*) $(or $form:path)?, $note:literal) => {
        impl $name {
            /// All that is set in `self` or `other`: `self | other` in const code.
            #[doc = $note]
            #[must_use]
            #[inline]
            pub const fn union(self, other: Self) -> Self {
                #[allow(unused_mut)] // Where there is no field.
                let mut bits = self.0 | other.0;
                $(
                    if self.contradicts(other, $field) {
                        bits |= $field;
                    }
                )*
                Self(bits)
            }

            /// Every bit that is set in both: `self & other` in const code. It is for masks, and
            /// treats the bits of a field like others.
            #[must_use]
            #[inline]
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// All that is set in `self` and not in `other`: `self - other` in const code.
            #[doc = $note]
            #[must_use]
            #[inline]
            pub const fn difference(self, other: Self) -> Self {
                #[allow(unused_mut)] // Where there is no field.
                let mut bits = self.0 & !other.0;
                $(
                    if (self.0 ^ other.0) & $field != 0 && other.0 & $field != $field {
                        bits |= self.0 & $field;
                    }
                )*
                Self(bits)
            }

            /// All that is set in just one of the two, `(self - other) | (other - self)`: `self ^
            /// other` in const code.
            #[doc = $note]
            #[must_use]
            #[inline]
            pub const fn symmetric_difference(self, other: Self) -> Self {
                self.difference(other).union(other.difference(self))
            }

            /// Every bit flipped, also those without a name and those of a field: `!self` in const
            /// code. To take a flag away, use `a - b`.
            #[must_use]
            #[inline]
            pub const fn complement(self) -> Self {
                Self(!self.0)
            }

            /// Whether no bit is set.
            #[must_use]
            #[inline]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether all that is set in `other` is set in `self`.
            #[doc = $note]
            #[must_use]
            #[inline]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
                    $(&& (other.0 & $field == 0 || (self.0 ^ other.0) & $field == 0))*
            }

            /// Whether anything that is set in `other` is set in `self`, so that `self - other` is
            /// not `self`.
            #[doc = $note]
            #[must_use]
            #[inline]
            pub const fn intersects(self, other: Self) -> bool {
                self.difference(other).0 != self.0
            }

            /// Sets what is set in `other`: `self |= other` in const code.
            #[inline]
            pub const fn insert(&mut self, other: Self) {
                *self = self.union(other);
            }

            /// Takes away what is set in `other`: `self -= other` in const code.
            #[inline]
            pub const fn remove(&mut self, other: Self) {
                *self = self.difference(other);
            }

            /// Sets what is set in `other` and not in `self`, and takes away what is set in both:
            /// `self ^= other` in const code.
            #[inline]
            pub const fn toggle(&mut self, other: Self) {
                *self = self.symmetric_difference(other);
            }

            /// [Inserts](Self::insert) `other` if `value` is true, else [removes](Self::remove) it.
            #[inline]
            pub const fn set(&mut self, other: Self, value: bool) {
                if value {
                    self.insert(other);
                } else {
                    self.remove(other);
                }
            }

            /// The flags that are set and have a name, each with its C name, in the order of the
            /// constants. Bits without a name are left out: they remain when all of these are taken
            /// away from `self`.
            pub fn iter_names(self) -> impl Iterator<Item = (&'static str, Self)> + Clone {
                Self::names().filter(move |(_, flag)| !flag.is_empty() && self.contains(*flag))
            }

            /// Every name, of no flag too.
            fn names() -> impl Iterator<Item = (&'static str, Self)> + Clone {
                Self::NAMES.iter().chain($arch_names).copied()
            }

            /// What is printed where no bit is set.
            fn none() -> &'static str {
                Self::names().find(|(_, flag)| flag.is_empty()).map_or("0", |(name, _)| name)
            }
        }

        operator!($name, BitOr bitor, BitOrAssign bitor_assign, union);
        operator!($name, BitAnd bitand, BitAndAssign bitand_assign, intersection);
        operator!($name, BitXor bitxor, BitXorAssign bitxor_assign, symmetric_difference);
        operator!($name, Sub sub, SubAssign sub_assign, difference);

        impl core::ops::Not for $name {
            type Output = Self;
            #[inline]
            fn not(self) -> Self {
                self.complement()
            }
        }

        impl FromStr for $name {
            type Err = ParseFlagsError;

            /// Reads what `Display` prints: C names and numbers in hex, joined by `|`, in any
            /// order. The name of every constant of this architecture is known.
            fn from_str(text: &str) -> Result<Self, ParseFlagsError> {
                let mut flags = Self(0);
                for word in text.split('|') {
                    let error = |why| ParseFlagsError::new(stringify!($name), word, why);
                    let flag = Self::from_word(word)$(.or_else(|| $form(word)))?;
                    let flag = flag.ok_or_else(|| error(Why::Unknown))?;
                    $(
                        if flags.contradicts(flag, $field) {
                            return Err(error(Why::Contradicts));
                        }
                    )*
                    flags |= flag;
                }
                Ok(flags)
            }
        }
    };
}

/// Expands to an operator, and the assigning one, by the const function of its meaning.
macro_rules! operator {
    ($name:ident, $op:ident $fn:ident, $assign:ident $assign_fn:ident, $method:ident) => {
        impl core::ops::$op for $name {
            type Output = Self;
            #[inline]
            fn $fn(self, other: Self) -> Self {
                self.$method(other)
            }
        }

        impl core::ops::$assign for $name {
            #[inline]
            fn $assign_fn(&mut self, other: Self) {
                *self = self.$method(other);
            }
        }
    };
}

/// Expands to [`set!`] and `Display` for a type whose bits are all independent.
macro_rules! bits {
    ($name:ident, $arch_names:expr) => {
        set!($name, $arch_names, fields(), "");

        impl fmt::Display for $name {
            /// Prints C names joined by `|`, and what has no name in hex.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut joined = Joined::new(f);
                let mut rest = *self;
                for (name, flag) in self.iter_names() {
                    joined.push(format_args!("{name}"))?;
                    rest -= flag;
                }
                if rest.0 != 0 {
                    joined.push(format_args!("{:#x}", rest.0))?;
                }
                joined.finish(Self::none())
            }
        }
    };
}

/// Writes parts with `|` between them.
struct Joined<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    empty: bool,
}

impl<'a, 'b> Joined<'a, 'b> {
    fn new(f: &'a mut fmt::Formatter<'b>) -> Self {
        Self { f, empty: true }
    }

    fn push(&mut self, part: fmt::Arguments<'_>) -> fmt::Result {
        if !core::mem::replace(&mut self.empty, false) {
            self.f.write_str("|")?;
        }
        self.f.write_fmt(part)
    }

    /// Writes `empty` where nothing was written at all.
    fn finish(self, empty: &str) -> fmt::Result {
        if self.empty { self.f.write_str(empty) } else { Ok(()) }
    }
}

/// Why a text could not be parsed as flags or advice: which of its words is wrong, and how.
///
/// ```
/// use rawmap::{MapFlags, Prot};
/// let error = "PROT_READ|PROT_WIRTE".parse::<Prot>().unwrap_err();
/// assert_eq!(error.word(), "PROT_WIRTE");
/// assert_eq!(error.to_string(), r#"unknown word "PROT_WIRTE" for Prot"#);
/// let error = "MAP_SHARED|MAP_PRIVATE".parse::<MapFlags>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"word "MAP_PRIVATE" for MapFlags contradicts one before it"#,
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParseFlagsError {
    /// The type that was to be read.
    of: &'static str,
    why: Why,
    /// The word's first bytes, `len` of them, whole characters: there is no allocator to keep more.
    word: [u8; 40],
    len: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Why {
    Unknown,
    Contradicts,
}

impl ParseFlagsError {
    fn new(of: &'static str, word: &str, why: Why) -> Self {
        let mut error = Self { of, why, word: [0; 40], len: 0 };
        let ends = word.char_indices().map(|(start, char)| start + char.len_utf8());
        let len = ends.take_while(|end| *end <= error.word.len()).last().unwrap_or(0);
        error.word[..len].copy_from_slice(&word.as_bytes()[..len]);
        error.len = len as u8;
        error
    }

    /// The word that is wrong, or its first 40 bytes.
    #[must_use]
    pub fn word(&self) -> &str {
        // Whole characters were copied from a `str`, so this is never the default.
        core::str::from_utf8(&self.word[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for ParseFlagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, of) = (self.word(), self.of);
        match self.why {
            Why::Unknown => {
                write!(f, "unknown word {word:?} for {of}")?;
                f.write_str(match word.bytes().next() {
                    Some(b'0'..=b'9') => " (a number is written as 0x…)",
                    Some(_) if !word.contains('_') => " (a name is C's, with its prefix)",
                    _ => "",
                })
            }
            Why::Contradicts => write!(f, "word {word:?} for {of} contradicts one before it"),
        }
    }
}

impl fmt::Debug for ParseFlagsError {
    /// Prints `ParseFlagsError(unknown word "PROT_WIRTE" for Prot)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParseFlagsError({self})")
    }
}

impl core::error::Error for ParseFlagsError {}

open! {
    /// What pages may be used for: the argument `prot` of [`mmap`](crate::mmap) and
    /// [`mprotect`](crate::mprotect).
    ///
    /// `mmap` ignores bits that it doesn't know; `mprotect` refuses them with EINVAL. The kernel
    /// can't forbid what the hardware can't tell apart. On every architecture here, memory that may
    /// be written may also be read. Memory that may only be executed can be read on x86_64 where
    /// the CPU has no protection keys, and on aarch64 where it has no FEAT_PAN3; on riscv64 it
    /// can't.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, mmap(2), mprotect(2).
    ///
    /// ```
    /// use rawmap::Prot;
    /// let rw = Prot::READ | Prot::WRITE;
    /// assert!(rw.contains(Prot::WRITE) && rw - Prot::WRITE == Prot::READ);
    /// assert_eq!(rw.to_string(), "PROT_READ|PROT_WRITE");
    /// assert_eq!("PROT_READ|PROT_WRITE|0x8000".parse(), Ok(rw | Prot::from_bits(0x8000)));
    /// assert_eq!(rw.iter_names().next(), Some(("PROT_READ", Prot::READ)));
    /// ```
    Prot(usize) {
        /// `PROT_NONE`: no access; touching a page is SIGSEGV.
        NONE "PROT_NONE" = 0;
        /// `PROT_READ`: the pages may be read.
        READ "PROT_READ" = 1;
        /// `PROT_WRITE`: the pages may be written, and read too. On riscv64, /proc/pid/maps shows
        /// the right to read from Linux 7.0 on.
        WRITE "PROT_WRITE" = 2;
        /// `PROT_EXEC`: the pages may be executed. For a file on a file system that is mounted
        /// noexec, EPERM (`mmap`) or EACCES (`mprotect`).
        EXEC "PROT_EXEC" = 4;
        /// `PROT_SEM`: for atomic operations. The kernel accepts it, and it has no effect on any
        /// architecture of this crate.
        SEM "PROT_SEM" = 8;
        /// `PROT_GROWSDOWN` (`mprotect` only): the change also applies to all pages below the
        /// range, down to the start of a mapping that grows down.
        GROWSDOWN "PROT_GROWSDOWN" = 0x0100_0000;
        /// `PROT_GROWSUP` (`mprotect` only): the same up to the end of a mapping that grows up. No
        /// architecture of this crate has such mappings, so it is EINVAL.
        GROWSUP "PROT_GROWSUP" = 0x0200_0000;
    }
}
bits!(Prot, arch::PROT_NAMES);

open! {
    /// What kind of mapping [`mmap`](crate::mmap) makes, and how: its argument `flags`.
    ///
    /// Two parts are fields, not bits. The low four bits are the *sharing* (`MAP_TYPE`): exactly
    /// one of [`SHARED`](Self::SHARED), [`PRIVATE`](Self::PRIVATE),
    /// [`SHARED_VALIDATE`](Self::SHARED_VALIDATE) and [`DROPPABLE`](Self::DROPPABLE). Bits 26 to 31
    /// are log2 of the *huge-page size*. As bits, `SHARED` or-ed with `PRIVATE` would be
    /// `SHARED_VALIDATE`, and 2 MiB or-ed with 1 GiB would be 2 GiB, a mapping of a kind that
    /// nobody asked for. So the operators treat each field as one value:
    ///
    /// | | bits | a field |
    /// |---|---|---|
    /// | `a \| b` | the bits of both | the value of the one that has it set; if both do and differ, all ones, which **every kernel refuses** with EINVAL (a size only with `HUGETLB`) |
    /// | `a - b` | the bits of `a` that `b` lacks | the value of `a`; 0 if `b` has the same value, or all ones |
    /// | `a ^ b` | the bits of just one | the value of `(a - b) \| (b - a)` |
    /// | `contains`, `intersects` | compare bits | compare values: the same or not |
    /// | `a & b`, `!a` | as usual | treat it as bits too, for masks such as [`TYPE`](Self::TYPE) |
    ///
    /// [`sharing`](Self::sharing) and [`huge_log2`](Self::huge_log2) read the fields;
    /// [`with_sharing`](Self::with_sharing) and [`with_huge_log2`](Self::with_huge_log2) replace
    /// what they hold.
    ///
    /// The kernel ignores bits without a meaning, except with `SHARED_VALIDATE` on a file, where it
    /// answers EOPNOTSUPP. That is the only way to ask whether it knows a flag.
    ///
    /// Source: `include/uapi/linux/mman.h`, `include/uapi/asm-generic/mman-common.h` and `mman.h`,
    /// mmap(2).
    ///
    /// ```
    /// use rawmap::MapFlags;
    /// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::huge(21);
    /// assert_eq!(flags.sharing(), MapFlags::PRIVATE);
    /// assert_eq!(flags.huge_log2(), 21);
    /// assert_eq!(
    ///     flags.to_string(),
    ///     "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT",
    /// );
    /// // The sharing can't be both, and is not a third:
    /// assert_eq!((MapFlags::SHARED | MapFlags::PRIVATE).to_string(), "0xf");
    /// ```
    MapFlags(usize) {
        /// `MAP_FILE`: no flag at all. A mapping is one of a file unless it is `ANONYMOUS`.
        FILE "MAP_FILE" = 0;
        /// `MAP_SHARED`: writes go to the file, and to every other mapping of it at once. With
        /// [`ANONYMOUS`](Self::ANONYMOUS): memory that child processes share. A file must be open
        /// for writing if the mapping is to be written, else EACCES.
        SHARED "MAP_SHARED" = 1;
        /// `MAP_PRIVATE`: writes go to a copy of the page that nobody else sees, and never to the
        /// file. A page that was not written yet shows later changes of the file on Linux, but
        /// POSIX leaves that open.
        PRIVATE "MAP_PRIVATE" = 2;
        /// `MAP_SHARED_VALIDATE` (Linux 4.15): as `SHARED`, but the kernel refuses flags that it or
        /// the file system doesn't know with EOPNOTSUPP, and
        /// [`FIXED_NOREPLACE`](Self::FIXED_NOREPLACE) too. It is for files; EINVAL with
        /// `ANONYMOUS`.
        SHARED_VALIDATE "MAP_SHARED_VALIDATE" = 3;
        /// `MAP_DROPPABLE` (Linux 6.11): private anonymous memory that the kernel may drop under
        /// memory pressure; then it reads as zeroes. It is never swapped, is not in core dumps, and
        /// reads as zeroes in a forked child. EINVAL before 6.11.
        DROPPABLE "MAP_DROPPABLE" = 8;
        /// `MAP_FIXED`: place exactly at `addr`, **replacing whatever is mapped there**.
        ///
        /// If something is mapped there, the kernel unmaps it and reports nothing, so the flag is
        /// sound only over memory that the caller owns. To get an error instead, use
        /// [`FIXED_NOREPLACE`](Self::FIXED_NOREPLACE).
        FIXED "MAP_FIXED" = 0x10;
        /// `MAP_ANONYMOUS`: memory without a file, which reads as zeroes. The kernel ignores `fd`
        /// (pass [`NO_FD`](crate::NO_FD)), but `offset` must still be a multiple of the page size.
        ///
        /// With [`SHARED`](Self::SHARED) (since Linux 2.4), a process shares the memory with the
        /// children that it forks later. Unrelated processes can't reach it: they need a file, or a
        /// memfd whose descriptor one passes to the other.
        ANONYMOUS "MAP_ANONYMOUS" = 0x20;
        /// `MAP_NORESERVE`: the kernel does not [count](crate#granules-and-what-is-counted) the
        /// mapping. Ignored under strict accounting (`vm.overcommit_memory` 2).
        NORESERVE "MAP_NORESERVE" = 0x4000;
        /// `MAP_POPULATE` (Linux 2.5.46): make the pages resident at once. The kernel doesn't
        /// report a failure to do so; [`Advice::POPULATE_WRITE`] does.
        POPULATE "MAP_POPULATE" = 0x8000;
        /// `MAP_NONBLOCK` (Linux 2.5.46): turns `POPULATE` off. Before 2.6.23 it kept `POPULATE`
        /// from reading from disk.
        NONBLOCK "MAP_NONBLOCK" = 0x1_0000;
        /// `MAP_GROWSDOWN`: the mapping grows down when the page below it is touched, as the
        /// main stack does. Private anonymous memory only, else EINVAL.
        GROWSDOWN "MAP_GROWSDOWN" = 0x100;
        /// `MAP_DENYWRITE`: the kernel accepts it and **ignores** it. Long ago, a process that
        /// wrote to the file got ETXTBSY.
        DENYWRITE "MAP_DENYWRITE" = 0x800;
        /// `MAP_EXECUTABLE`: the kernel accepts it and ignores it.
        EXECUTABLE "MAP_EXECUTABLE" = 0x1000;
        /// `MAP_LOCKED`: lock the pages as `mlock` does, and try to make them resident. The call
        /// succeeds even if that fails. EAGAIN over RLIMIT_MEMLOCK, EPERM where that is 0.
        LOCKED "MAP_LOCKED" = 0x2000;
        /// `MAP_STACK`: the memory is for a thread's stack. Since Linux 6.7 that keeps transparent
        /// huge pages away; before, it had no effect.
        STACK "MAP_STACK" = 0x2_0000;
        /// `MAP_HUGETLB` (Linux 2.6.32): use pages of the huge-page pool. The kernel rounds the
        /// length up to whole huge pages, and a fixed address must be a multiple of their size.
        /// ENOMEM where the pool has too few.
        HUGETLB "MAP_HUGETLB" = 0x4_0000;
        /// `MAP_SYNC` (Linux 4.15): with `SHARED_VALIDATE` and a DAX file, what was written can
        /// still be found in the file after a crash. EOPNOTSUPP for other files. With another
        /// sharing, most file systems ignore it, and those that can be on DAX storage answer
        /// EOPNOTSUPP.
        SYNC "MAP_SYNC" = 0x8_0000;
        /// `MAP_FIXED_NOREPLACE` (Linux 4.17): place exactly at `addr`, or answer EEXIST if
        /// anything is mapped there. Kernels before 4.17, and QEMU user mode before 8.1, take the
        /// address for a hint, so compare the address that comes back. With `SHARED_VALIDATE` on a
        /// file it is EOPNOTSUPP.
        FIXED_NOREPLACE "MAP_FIXED_NOREPLACE" = 0x10_0000;
        /// `MAP_UNINITIALIZED` (Linux 2.6.33): don't clear the pages. Only some kernels without an
        /// MMU do so; others ignore it. It is the lowest bit of the huge-page size field, and with
        /// `HUGETLB` is part of the size.
        UNINITIALIZED "MAP_UNINITIALIZED" = 0x400_0000;
        /// `MAP_HUGE_16KB`. Like the constants that follow, it is the size field only;
        /// [`huge_pages`](Self::huge_pages) and [`huge`](Self::huge) add `HUGETLB`.
        HUGE_16KB "MAP_HUGE_16KB" = 14 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_64KB`.
        HUGE_64KB "MAP_HUGE_64KB" = 16 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_512KB`.
        HUGE_512KB "MAP_HUGE_512KB" = 19 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_1MB`.
        HUGE_1MB "MAP_HUGE_1MB" = 20 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_2MB`.
        HUGE_2MB "MAP_HUGE_2MB" = 21 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_8MB`.
        HUGE_8MB "MAP_HUGE_8MB" = 23 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_16MB`.
        HUGE_16MB "MAP_HUGE_16MB" = 24 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_32MB`.
        HUGE_32MB "MAP_HUGE_32MB" = 25 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_256MB`.
        HUGE_256MB "MAP_HUGE_256MB" = 28 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_512MB`.
        HUGE_512MB "MAP_HUGE_512MB" = 29 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_1GB`.
        HUGE_1GB "MAP_HUGE_1GB" = 30 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_2GB`.
        HUGE_2GB "MAP_HUGE_2GB" = 31 << Self::HUGE_SHIFT;
        /// `MAP_HUGE_16GB`.
        HUGE_16GB "MAP_HUGE_16GB" = 34 << Self::HUGE_SHIFT;
    }
}
set!(
    MapFlags,
    arch::MAP_NAMES,
    fields(Self::TYPE.0, Self::HUGE_MASK << Self::HUGE_SHIFT) or Self::from_size,
    "The two fields are taken whole, as [the type's page](MapFlags) says."
);

impl MapFlags {
    /// `MAP_TYPE`: the mask of the sharing field.
    #[doc(alias = "MAP_TYPE")]
    pub const TYPE: Self = Self(0xf);
    /// `MAP_HUGE_SHIFT`: where the huge-page size field begins.
    #[doc(alias = "MAP_HUGE_SHIFT")]
    pub const HUGE_SHIFT: u32 = 26;
    /// `MAP_HUGE_MASK`: the huge-page size field's bits, before the shift.
    #[doc(alias = "MAP_HUGE_MASK")]
    pub const HUGE_MASK: usize = 0x3f;

    /// The sharing field alone, to compare with `SHARED`, `PRIVATE`, `SHARED_VALIDATE` or
    /// `DROPPABLE`.
    #[must_use]
    #[inline]
    pub const fn sharing(self) -> Self {
        self.intersection(Self::TYPE)
    }

    /// These flags with the sharing of `sharing` in place of their own.
    ///
    /// ```
    /// use rawmap::MapFlags;
    /// let flags = (MapFlags::PRIVATE | MapFlags::ANONYMOUS).with_sharing(MapFlags::SHARED);
    /// assert_eq!(flags, MapFlags::SHARED | MapFlags::ANONYMOUS);
    /// ```
    #[must_use]
    #[inline]
    pub const fn with_sharing(self, sharing: Self) -> Self {
        Self(self.0 & !Self::TYPE.0 | sharing.0 & Self::TYPE.0)
    }

    /// log2 of the huge-page size in bytes, which the size field holds; 0 is the system's default.
    /// Without [`HUGETLB`](Self::HUGETLB) the field has no meaning.
    #[must_use]
    #[inline]
    pub const fn huge_log2(self) -> u32 {
        (self.0 >> Self::HUGE_SHIFT & Self::HUGE_MASK) as u32
    }

    /// These flags with `log2` in the size field, in place of what is there. `HUGETLB` stays as it
    /// is. A number that the field can't hold becomes 63, which every kernel refuses.
    #[must_use]
    #[inline]
    pub const fn with_huge_log2(self, log2: u32) -> Self {
        let log2 = if log2 as usize > Self::HUGE_MASK { Self::HUGE_MASK } else { log2 as usize };
        Self(self.0 & !(Self::HUGE_MASK << Self::HUGE_SHIFT) | log2 << Self::HUGE_SHIFT)
    }

    /// [`HUGETLB`](Self::HUGETLB) with pages of 2 to the power `log2` bytes; 0 is the system's
    /// default size. A number that the field can't hold becomes 63, which every kernel refuses.
    /// [`huge_pages`](Self::huge_pages) takes the size in bytes.
    #[must_use]
    #[inline]
    pub const fn huge(log2: u32) -> Self {
        Self::HUGETLB.with_huge_log2(log2)
    }

    /// [`HUGETLB`](Self::HUGETLB) with pages of `bytes` bytes; `None` unless that is a power of two
    /// from 2 on. /sys/kernel/mm/hugepages lists the sizes that the kernel has; `mmap` with another
    /// one is EINVAL.
    ///
    /// ```
    /// use rawmap::MapFlags;
    /// const HUGE: MapFlags = MapFlags::huge_pages(2 << 20).unwrap();
    /// assert_eq!(HUGE, MapFlags::HUGETLB | MapFlags::HUGE_2MB);
    /// assert_eq!(MapFlags::huge_pages(3 << 20), None);
    /// ```
    #[must_use]
    #[inline]
    pub const fn huge_pages(bytes: usize) -> Option<Self> {
        // log2 of 1 would be the default size.
        if bytes.is_power_of_two() && bytes > 1 {
            Some(Self::huge(bytes.trailing_zeros()))
        } else {
            None
        }
    }

    /// What `21<<MAP_HUGE_SHIFT` says.
    fn from_size(word: &str) -> Option<Self> {
        let digits = word.strip_suffix("<<MAP_HUGE_SHIFT")?;
        let decimal = digits.bytes().all(|digit| digit.is_ascii_digit());
        let log2 = digits.parse().ok().filter(|log2| decimal && *log2 <= Self::HUGE_MASK as u32)?;
        Some(Self::FILE.with_huge_log2(log2))
    }

    /// Whether both set this field, and not to the same.
    const fn contradicts(self, other: Self, field: usize) -> bool {
        self.0 & field != 0 && other.0 & field != 0 && (self.0 ^ other.0) & field != 0
    }
}

impl fmt::Display for MapFlags {
    /// Prints C names joined by `|`, the size field as `21<<MAP_HUGE_SHIFT`, and what has no name
    /// in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut joined = Joined::new(f);
        let sharing = self.sharing();
        let others = self.with_sharing(Self::FILE).with_huge_log2(0);
        match Self::names().find(|(_, value)| *value == sharing) {
            _ if sharing.is_empty() => {}
            Some((name, _)) => joined.push(format_args!("{name}"))?,
            None => joined.push(format_args!("{:#x}", sharing.0))?,
        }
        let mut rest = others;
        for (name, flag) in others.iter_names() {
            joined.push(format_args!("{name}"))?;
            rest -= flag;
        }
        if rest.0 != 0 {
            joined.push(format_args!("{:#x}", rest.0))?;
        }
        match self.huge_log2() {
            0 => {}
            1 if !self.contains(Self::HUGETLB) => joined.push(format_args!("MAP_UNINITIALIZED"))?,
            log2 => joined.push(format_args!("{log2}<<MAP_HUGE_SHIFT"))?,
        }
        joined.finish(Self::none())
    }
}

open! {
    /// How [`msync`](crate::msync) writes back: its argument `flags`.
    ///
    /// `SYNC` and `ASYNC` exclude each other (EINVAL). No flag means the same as `ASYNC`. Bits
    /// without a name are EINVAL.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, msync(2).
    ///
    /// ```
    /// use rawmap::MsyncFlags;
    /// let flags = MsyncFlags::SYNC | MsyncFlags::INVALIDATE;
    /// assert_eq!(flags.to_string(), "MS_SYNC|MS_INVALIDATE");
    /// ```
    MsyncFlags(i32) {
        /// `MS_SYNC`: write the range to the file, and return when that is done.
        SYNC "MS_SYNC" = 4;
        /// `MS_ASYNC`: do nothing. Since Linux 2.6.19 the kernel tracks dirty pages, and writes
        /// them in its own time.
        ASYNC "MS_ASYNC" = 1;
        /// `MS_INVALIDATE`: EBUSY where pages of the range are locked. Otherwise it has no effect,
        /// since all mappings of a file agree on Linux.
        INVALIDATE "MS_INVALIDATE" = 2;
    }
}
bits!(MsyncFlags, &[]);

open! {
    /// How [`mremap`](crate::mremap) resizes or moves: its argument `flags`. Without a flag
    /// (`MremapFlags::default()`) it resizes in place, and never moves.
    ///
    /// Bits without a name are EINVAL.
    ///
    /// Source: `include/uapi/linux/mman.h`, mremap(2).
    ///
    /// ```
    /// use rawmap::MremapFlags;
    /// let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
    /// assert_eq!(flags.to_string(), "MREMAP_MAYMOVE|MREMAP_FIXED");
    /// assert!(MremapFlags::default().is_empty());
    /// ```
    MremapFlags(usize) {
        /// `MREMAP_MAYMOVE`: move the mapping where it can't grow in place.
        MAYMOVE "MREMAP_MAYMOVE" = 1;
        /// `MREMAP_FIXED` (with `MAYMOVE`): move the mapping to exactly `new_addr`, **replacing
        /// whatever is mapped there**.
        FIXED "MREMAP_FIXED" = 2;
        /// `MREMAP_DONTUNMAP` (Linux 5.7, with `MAYMOVE`, and equal lengths): leave the old range
        /// mapped and empty. Without `FIXED`, `new_addr` is a hint then.
        DONTUNMAP "MREMAP_DONTUNMAP" = 4;
    }
}
bits!(MremapFlags, &[]);

open! {
    /// How [`mlock2`](crate::mlock2) locks: its argument `flags`.
    ///
    /// Bits without a name are EINVAL.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, mlock2(2).
    MlockFlags(i32) {
        /// `MLOCK_ONFAULT` (Linux 4.4): lock each page when it is first touched.
        ONFAULT "MLOCK_ONFAULT" = 1;
    }
}
bits!(MlockFlags, &[]);

open! {
    /// What [`mlockall`](crate::mlockall) locks: its argument `flags`.
    ///
    /// No flag, `ONFAULT` alone, and bits without a name are EINVAL.
    ///
    /// Source: `include/uapi/asm-generic/mman.h`, mlockall(2).
    ///
    /// ```
    /// use rawmap::MlockAllFlags;
    /// let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE;
    /// assert_eq!(flags.to_string(), "MCL_CURRENT|MCL_FUTURE");
    /// ```
    MlockAllFlags(i32) {
        /// `MCL_CURRENT`: everything that is mapped now.
        CURRENT "MCL_CURRENT" = 1;
        /// `MCL_FUTURE`: everything that will be mapped.
        FUTURE "MCL_FUTURE" = 2;
        /// `MCL_ONFAULT` (Linux 4.4, with one of the others): each page when it is first touched.
        ONFAULT "MCL_ONFAULT" = 4;
    }
}
bits!(MlockAllFlags, &[]);

open! {
    /// The argument `flags` of [`mseal`](crate::mseal). Up to Linux 6.18 no flag is defined, and
    /// any bit is EINVAL.
    ///
    /// Source: `mm/mseal.c`.
    MsealFlags(usize) {}
}
bits!(MsealFlags, &[]);

open! {
    /// What [`madvise`](crate::madvise) is told: its argument `advice`. It is one value, not a set
    /// of bits.
    ///
    /// Advice that the kernel doesn't know is EINVAL. `madvise(null, 0, advice)` tells whether the
    /// kernel knows it, and needs no mapping.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, madvise(2).
    ///
    /// ```
    /// use rawmap::Advice;
    /// assert_eq!(Advice::DONTNEED.to_string(), "MADV_DONTNEED");
    /// assert_eq!("MADV_DONTNEED".parse(), Ok(Advice::DONTNEED));
    /// assert_eq!(Advice::from_bits(77).to_string(), "0x4d");
    /// ```
    Advice(i32) {
        /// `MADV_NORMAL`: the default read-ahead.
        NORMAL "MADV_NORMAL" = 0;
        /// `MADV_RANDOM`: no read-ahead.
        RANDOM "MADV_RANDOM" = 1;
        /// `MADV_SEQUENTIAL`: much read-ahead, and pages may be dropped soon after.
        SEQUENTIAL "MADV_SEQUENTIAL" = 2;
        /// `MADV_WILLNEED`: start to read the pages in. EBADF for anonymous memory on a kernel
        /// without swap.
        WILLNEED "MADV_WILLNEED" = 3;
        /// `MADV_DONTNEED`: drop the pages at once. Private anonymous memory reads as zeroes
        /// afterwards, private file memory as the file; **shared memory keeps its contents**.
        /// EINVAL for locked pages ([`DONTNEED_LOCKED`](Self::DONTNEED_LOCKED)).
        DONTNEED "MADV_DONTNEED" = 4;
        /// `MADV_FREE` (Linux 4.5): the kernel may drop the pages at any time until they are
        /// written again. Until then they read as before or as zeroes. Private anonymous memory
        /// only, else EINVAL.
        FREE "MADV_FREE" = 8;
        /// `MADV_REMOVE` (Linux 2.6.16): punch a hole in the file under a shared writable mapping.
        /// It also frees shared anonymous memory. EINVAL for locked memory and where there is no
        /// file; EACCES for a private mapping and where the file was opened for reading only.
        REMOVE "MADV_REMOVE" = 9;
        /// `MADV_DONTFORK` (Linux 2.6.16): a forked child doesn't get the range.
        DONTFORK "MADV_DONTFORK" = 10;
        /// `MADV_DOFORK` (Linux 2.6.16): undoes `DONTFORK`.
        DOFORK "MADV_DOFORK" = 11;
        /// `MADV_MERGEABLE` (Linux 2.6.32): let KSM merge equal pages. EINVAL on a kernel without
        /// KSM.
        MERGEABLE "MADV_MERGEABLE" = 12;
        /// `MADV_UNMERGEABLE` (Linux 2.6.32): undoes `MERGEABLE`.
        UNMERGEABLE "MADV_UNMERGEABLE" = 13;
        /// `MADV_HUGEPAGE` (Linux 2.6.38): use transparent huge pages. EINVAL on a kernel without
        /// them.
        HUGEPAGE "MADV_HUGEPAGE" = 14;
        /// `MADV_NOHUGEPAGE` (Linux 2.6.38): use no transparent huge pages. EINVAL on a kernel
        /// without them.
        NOHUGEPAGE "MADV_NOHUGEPAGE" = 15;
        /// `MADV_DONTDUMP` (Linux 3.4): leave the range out of core dumps.
        DONTDUMP "MADV_DONTDUMP" = 16;
        /// `MADV_DODUMP` (Linux 3.4): undoes `DONTDUMP`.
        DODUMP "MADV_DODUMP" = 17;
        /// `MADV_WIPEONFORK` (Linux 4.14): a forked child reads zeroes. Private anonymous memory
        /// only, else EINVAL.
        WIPEONFORK "MADV_WIPEONFORK" = 18;
        /// `MADV_KEEPONFORK` (Linux 4.14): undoes `WIPEONFORK`.
        KEEPONFORK "MADV_KEEPONFORK" = 19;
        /// `MADV_COLD` (Linux 5.4): reclaim these pages first.
        COLD "MADV_COLD" = 20;
        /// `MADV_PAGEOUT` (Linux 5.4): reclaim these pages now.
        PAGEOUT "MADV_PAGEOUT" = 21;
        /// `MADV_POPULATE_READ` (Linux 5.14): make the pages resident as a read would, and report
        /// what fails (EFAULT, ENOMEM, EHWPOISON).
        POPULATE_READ "MADV_POPULATE_READ" = 22;
        /// `MADV_POPULATE_WRITE` (Linux 5.14): make the pages resident as a write would, and
        /// report what fails.
        POPULATE_WRITE "MADV_POPULATE_WRITE" = 23;
        /// `MADV_DONTNEED_LOCKED` (Linux 5.18): `DONTNEED` for locked pages too.
        DONTNEED_LOCKED "MADV_DONTNEED_LOCKED" = 24;
        /// `MADV_COLLAPSE` (Linux 6.1): make transparent huge pages of the range now.
        COLLAPSE "MADV_COLLAPSE" = 25;
        /// `MADV_HWPOISON` (Linux 2.6.32, privileged): treat the pages as broken memory.
        HWPOISON "MADV_HWPOISON" = 100;
        /// `MADV_SOFT_OFFLINE` (Linux 2.6.33, privileged): take the pages out of use, keeping
        /// their contents elsewhere.
        SOFT_OFFLINE "MADV_SOFT_OFFLINE" = 101;
        /// `MADV_GUARD_INSTALL` (Linux 6.13): drop the pages, and make touching them SIGSEGV,
        /// without splitting the mapping.
        GUARD_INSTALL "MADV_GUARD_INSTALL" = 102;
        /// `MADV_GUARD_REMOVE` (Linux 6.13): undoes `GUARD_INSTALL`.
        GUARD_REMOVE "MADV_GUARD_REMOVE" = 103;
    }
}

impl Advice {
    fn names() -> impl Iterator<Item = (&'static str, Self)> {
        Self::NAMES.iter().copied()
    }
}

impl fmt::Display for Advice {
    /// Prints the C name, or the number in hex where it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::names().find(|(_, advice)| advice == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl FromStr for Advice {
    type Err = ParseFlagsError;

    /// Reads what `Display` prints: a C name or a number in hex.
    fn from_str(word: &str) -> Result<Self, ParseFlagsError> {
        Self::from_word(word).ok_or_else(|| ParseFlagsError::new("Advice", word, Why::Unknown))
    }
}
