//! Flags and constants: the words of the memory calls that are not addresses or lengths.
//!
//! Each type is the integer that the kernel's own definition of the call takes (`unsigned long`
//! is `usize`, `int` is `i32`), and is open: bits without a name are kept, passed on and printed
//! in hex, so that a new kernel's flag works at once through `from_bits`. Names print in the order
//! in which strace prints them, which is the order in which they stand here.

use crate::{Word, arch};
use core::fmt;

/// Expands to a transparent newtype over the kernel's integer with its constants, the plain const
/// functions, and a table of the constants' Linux names for `Debug`.
macro_rules! open {
    (
        $(#[$doc:meta])*
        $name:ident($int:ty), $prefix:literal {
            $($(#[$const_doc:meta])* $const:ident = $value:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($int);

        impl $name {
            $($(#[$const_doc])* pub const $const: Self = Self($value);)*

            /// Linux's names of the constants above.
            const NAMES: &'static [($int, &'static str)] =
                &[$(($value, concat!($prefix, stringify!($const)))),*];

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
        }
    };
}

/// Expands to what a type of independent bits has beside [`open!`]: const set operations, and the
/// operators `|`, `&`, `!` and `|=` that call them.
macro_rules! operators {
    ($name:ident) => {
        impl $name {
            /// `self | other`, in const code too.
            #[must_use]
            #[inline]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// `self & other`, in const code too.
            #[must_use]
            #[inline]
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// `!self`, in const code too: every bit flipped, named or not.
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
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            #[inline]
            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl core::ops::BitOrAssign for $name {
            #[inline]
            fn bitor_assign(&mut self, other: Self) {
                *self = self.union(other);
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = Self;
            #[inline]
            fn bitand(self, other: Self) -> Self {
                self.intersection(other)
            }
        }

        impl core::ops::Not for $name {
            type Output = Self;
            #[inline]
            fn not(self) -> Self {
                self.complement()
            }
        }
    };
}

/// Expands to `contains` and `Debug` for a type whose bits are all independent.
macro_rules! bits {
    ($name:ident, $arch_names:expr, $empty:literal) => {
        operators!($name);

        impl $name {
            /// Whether every bit of `other` is set in `self`.
            #[must_use]
            #[inline]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl fmt::Debug for $name {
            /// Prints Linux's names joined by `|`, and what has no name in hex.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut joined = Joined::new(f);
                let mut rest = self.0;
                for &(bit, name) in Self::NAMES.iter().chain($arch_names) {
                    if bit != 0 && rest & bit == bit {
                        joined.push(format_args!("{name}"))?;
                        rest &= !bit;
                    }
                }
                if rest != 0 {
                    joined.push(format_args!("{rest:#x}"))?;
                }
                joined.finish($empty)
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

open! {
    /// What a page may be used for: the `prot` of [`mmap`](crate::mmap) and
    /// [`mprotect`](crate::mprotect).
    ///
    /// `mmap` ignores bits it doesn't know; `mprotect` refuses them with EINVAL. What the hardware
    /// can't tell apart, the kernel can't refuse: on x86_64 a page that may be written or executed
    /// may also be read, unless the CPU has protection keys (then execute-only is real). On riscv64
    /// execute-only is real, on aarch64 where the CPU has FEAT_PAN3; on both, write implies read.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, mmap(2), mprotect(2).
    ///
    /// ```
    /// use rawmap::Prot;
    /// let rw = Prot::READ | Prot::WRITE;
    /// assert!(rw.contains(Prot::WRITE));
    /// assert_eq!(format!("{rw:?}"), "PROT_READ|PROT_WRITE");
    /// assert_eq!(format!("{:?}", rw | Prot::from_bits(0x8000)), "PROT_READ|PROT_WRITE|0x8000");
    /// ```
    Prot(usize), "PROT_" {
        /// `PROT_NONE`: no access; touching the page is SIGSEGV.
        NONE = 0;
        /// `PROT_READ`: may be read.
        READ = 1;
        /// `PROT_WRITE`: may be written; and read, on every processor here. On riscv64 since Linux 7
        /// /proc/pid/maps says so too.
        WRITE = 2;
        /// `PROT_EXEC`: may be executed. On a file system mounted noexec, EPERM (`mmap`) or
        /// EACCES (`mprotect`).
        EXEC = 4;
        /// `PROT_SEM`: for atomic operations; accepted, and without effect on every architecture
        /// of this crate.
        SEM = 8;
        /// `PROT_GROWSDOWN` (`mprotect` only): apply from the start of a mapping that grows down.
        GROWSDOWN = 0x0100_0000;
        /// `PROT_GROWSUP` (`mprotect` only): apply to the end of a mapping that grows up. No
        /// architecture of this crate has such mappings: EINVAL.
        GROWSUP = 0x0200_0000;
    }
}
bits!(Prot, arch::PROT_NAMES, "PROT_NONE");

open! {
    /// What kind of mapping [`mmap`](crate::mmap) makes, and how.
    ///
    /// Two parts are fields, not bits. The low four bits are the *sharing* (`MAP_TYPE`): exactly
    /// one of [`SHARED`](Self::SHARED), [`PRIVATE`](Self::PRIVATE) (old texts know these two only),
    /// [`SHARED_VALIDATE`](Self::SHARED_VALIDATE) and [`DROPPABLE`](Self::DROPPABLE). Bits 26 to
    /// 31 are log2 of the *huge-page size*. [`contains`](Self::contains) compares a field whole.
    ///
    /// Bits without a meaning are ignored by the kernel, except with `SHARED_VALIDATE` on a file,
    /// which answers EOPNOTSUPP: the only way to ask whether a flag is known.
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
    ///     format!("{flags:?}"),
    ///     "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT",
    /// );
    /// ```
    MapFlags(usize), "MAP_" {
        /// `MAP_SHARED`: writes go to the file, and to every other mapping of it at once. With
        /// [`ANONYMOUS`](Self::ANONYMOUS): memory that child processes share. A file must be open
        /// for writing if the mapping is to be written, else EACCES.
        SHARED = 1;
        /// `MAP_PRIVATE`: writes go to a copy of the page that nobody else sees, and never to
        /// the file. Whether a page that was not yet written shows later changes of the file is
        /// unspecified (on Linux it does).
        PRIVATE = 2;
        /// `MAP_SHARED_VALIDATE` (Linux 4.15): as `SHARED`, but flags that the kernel or the file
        /// system doesn't know are refused with EOPNOTSUPP, and so is
        /// [`FIXED_NOREPLACE`](Self::FIXED_NOREPLACE). For files; EINVAL with `ANONYMOUS`.
        SHARED_VALIDATE = 3;
        /// `MAP_DROPPABLE` (Linux 6.11): private anonymous memory that the kernel may drop, and
        /// then reads as zeroes, under memory pressure; never in a core dump, never swapped,
        /// wiped in a forked child. EINVAL before 6.11.
        DROPPABLE = 8;
        /// `MAP_FIXED`: place exactly at `addr`, **replacing whatever is mapped there**.
        ///
        /// Old texts say that the mapping "is abandoned" if the address is taken. It isn't: what
        /// was there is unmapped without a word, and that is why the flag is safe only over
        /// memory one owns. What old texts describe is
        /// [`FIXED_NOREPLACE`](Self::FIXED_NOREPLACE).
        FIXED = 0x10;
        /// `MAP_ANONYMOUS`: no file; memory that reads as zeroes. `fd` is ignored (pass
        /// [`NO_FD`](crate::NO_FD)); `offset` must still be a multiple of the page size.
        ///
        /// Old texts say that anonymous memory "can't be shared with other processes". With
        /// [`SHARED`](Self::SHARED) it is, since Linux 2.4: between parent and child over fork.
        /// Unrelated processes, for which old texts recommend it, need a file, or a memfd whose
        /// descriptor is passed.
        ANONYMOUS = 0x20;
        /// `MAP_NORESERVE`: reserve no swap space (commit charge) for the mapping; ignored under
        /// strict accounting (`vm.overcommit_memory` 2).
        NORESERVE = 0x4000;
        /// `MAP_POPULATE` (Linux 2.5.46): make the pages resident at once. Failures to do so are
        /// not reported; [`Advice::POPULATE_WRITE`] reports them.
        POPULATE = 0x8000;
        /// `MAP_NONBLOCK` (Linux 2.5.46): with `POPULATE`, don't read from disk; since 2.6.23 it
        /// turns `POPULATE` off.
        NONBLOCK = 0x1_0000;
        /// `MAP_GROWSDOWN`: the mapping grows down when the page below it is touched, as the
        /// main stack does. Private anonymous memory only, else EINVAL.
        GROWSDOWN = 0x100;
        /// `MAP_DENYWRITE`: accepted and **ignored**, as it has been since Linux 2.x; old texts
        /// say that other writes to the file are refused (ETXTBSY), and they are not.
        DENYWRITE = 0x800;
        /// `MAP_EXECUTABLE`: accepted and ignored.
        EXECUTABLE = 0x1000;
        /// `MAP_LOCKED`: lock the pages as `mlock` does, and try to make them resident; the call
        /// succeeds even when they can't be. EAGAIN over RLIMIT_MEMLOCK, EPERM where that is 0.
        LOCKED = 0x2000;
        /// `MAP_STACK`: for a thread's stack. Since Linux 6.7 it keeps transparent huge pages
        /// away; before, it had no effect.
        STACK = 0x2_0000;
        /// `MAP_HUGETLB` (Linux 2.6.32): pages of the huge-page pool. Length and address are
        /// counted in huge pages; ENOMEM where the pool is too small.
        HUGETLB = 0x4_0000;
        /// `MAP_SYNC` (Linux 4.15): with `SHARED_VALIDATE` and a DAX file: what was written stays
        /// reachable in the file after a crash. EOPNOTSUPP for other files; with another sharing,
        /// ignored by most file systems, and EOPNOTSUPP on those that can be on DAX storage.
        SYNC = 0x8_0000;
        /// `MAP_FIXED_NOREPLACE` (Linux 4.17): place exactly at `addr`, or answer EEXIST if
        /// anything is mapped there. Kernels before 4.17, and QEMU user mode before 8.1, take it
        /// for a hint: compare the address that comes back. With `SHARED_VALIDATE` on a file,
        /// EOPNOTSUPP.
        FIXED_NOREPLACE = 0x10_0000;
        /// `MAP_UNINITIALIZED` (Linux 2.6.33): don't clear the pages. Only kernels without an MMU
        /// that are configured so honour it; ignored elsewhere. It is the lowest bit of the
        /// huge-page size field, and means that with `HUGETLB`.
        UNINITIALIZED = 0x400_0000;
    }
}
operators!(MapFlags);

impl MapFlags {
    /// `MAP_FILE`: no flag at all. A mapping is of a file unless it is `ANONYMOUS`.
    pub const FILE: Self = Self(0);
    /// `MAP_TYPE`: the mask of the sharing field.
    pub const TYPE: Self = Self(0xf);
    /// `MAP_HUGE_SHIFT`: where the huge-page size field begins.
    pub const HUGE_SHIFT: u32 = 26;
    /// `MAP_HUGE_MASK`: the huge-page size field's bits, before the shift.
    pub const HUGE_MASK: usize = 0x3f;

    /// `MAP_HUGE_16KB` (like each of these, the size field only; [`huge`](Self::huge) adds
    /// `HUGETLB`).
    pub const HUGE_16KB: Self = Self::huge_field(14);
    /// `MAP_HUGE_64KB`.
    pub const HUGE_64KB: Self = Self::huge_field(16);
    /// `MAP_HUGE_512KB`.
    pub const HUGE_512KB: Self = Self::huge_field(19);
    /// `MAP_HUGE_1MB`.
    pub const HUGE_1MB: Self = Self::huge_field(20);
    /// `MAP_HUGE_2MB`.
    pub const HUGE_2MB: Self = Self::huge_field(21);
    /// `MAP_HUGE_8MB`.
    pub const HUGE_8MB: Self = Self::huge_field(23);
    /// `MAP_HUGE_16MB`.
    pub const HUGE_16MB: Self = Self::huge_field(24);
    /// `MAP_HUGE_32MB`.
    pub const HUGE_32MB: Self = Self::huge_field(25);
    /// `MAP_HUGE_256MB`.
    pub const HUGE_256MB: Self = Self::huge_field(28);
    /// `MAP_HUGE_512MB`.
    pub const HUGE_512MB: Self = Self::huge_field(29);
    /// `MAP_HUGE_1GB`.
    pub const HUGE_1GB: Self = Self::huge_field(30);
    /// `MAP_HUGE_2GB`.
    pub const HUGE_2GB: Self = Self::huge_field(31);
    /// `MAP_HUGE_16GB`.
    pub const HUGE_16GB: Self = Self::huge_field(34);

    const fn huge_field(log2: usize) -> Self {
        Self(log2 << Self::HUGE_SHIFT)
    }

    /// [`HUGETLB`](Self::HUGETLB) with pages of 2 to the power `log2` bytes; 0 is the system's
    /// default size. What the field can't hold becomes 63, which every kernel refuses.
    #[must_use]
    #[inline]
    pub const fn huge(log2: u32) -> Self {
        let log2 = if log2 as usize > Self::HUGE_MASK { Self::HUGE_MASK } else { log2 as usize };
        Self::HUGETLB.union(Self::huge_field(log2))
    }

    /// log2 of the huge-page size in bytes, as the size field has it: 0 for the system's default.
    /// Without [`HUGETLB`](Self::HUGETLB) it means nothing.
    #[must_use]
    #[inline]
    pub const fn huge_log2(self) -> u32 {
        (self.0 >> Self::HUGE_SHIFT & Self::HUGE_MASK) as u32
    }

    /// The sharing alone: to be compared with `SHARED`, `PRIVATE`, `SHARED_VALIDATE` or
    /// `DROPPABLE`.
    #[must_use]
    #[inline]
    pub const fn sharing(self) -> Self {
        self.intersection(Self::TYPE)
    }

    /// Whether every bit of `other` is set in `self`, and each field that `other` sets is the
    /// same in `self`.
    ///
    /// ```
    /// use rawmap::MapFlags;
    /// // 3, of which 1 is a part as a number but not as a sharing:
    /// assert!(!MapFlags::SHARED_VALIDATE.contains(MapFlags::SHARED));
    /// ```
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
            && (other.sharing().is_empty() || self.sharing().0 == other.sharing().0)
            && (other.huge_log2() == 0 || self.huge_log2() == other.huge_log2())
    }
}

impl fmt::Debug for MapFlags {
    /// Prints Linux's names joined by `|`, the size field as `21<<MAP_HUGE_SHIFT`, and what has
    /// no name in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = Self::TYPE.0 | Self::HUGE_MASK << Self::HUGE_SHIFT;
        let mut joined = Joined::new(f);
        match self.sharing() {
            Self::FILE => {}
            Self::SHARED => joined.push(format_args!("MAP_SHARED"))?,
            Self::PRIVATE => joined.push(format_args!("MAP_PRIVATE"))?,
            Self::SHARED_VALIDATE => joined.push(format_args!("MAP_SHARED_VALIDATE"))?,
            Self::DROPPABLE => joined.push(format_args!("MAP_DROPPABLE"))?,
            other => joined.push(format_args!("{:#x}", other.0))?,
        }
        let mut rest = self.0 & !fields;
        for &(bit, name) in Self::NAMES.iter().chain(arch::MAP_NAMES) {
            if bit & fields == 0 && rest & bit == bit {
                joined.push(format_args!("{name}"))?;
                rest &= !bit;
            }
        }
        if rest != 0 {
            joined.push(format_args!("{rest:#x}"))?;
        }
        match self.huge_log2() {
            0 => {}
            1 if !self.contains(Self::HUGETLB) => joined.push(format_args!("MAP_UNINITIALIZED"))?,
            log2 => joined.push(format_args!("{log2}<<MAP_HUGE_SHIFT"))?,
        }
        joined.finish("MAP_FILE")
    }
}

open! {
    /// How [`msync`](crate::msync) writes back.
    ///
    /// `SYNC` and `ASYNC` exclude each other (EINVAL); neither is as `ASYNC`. Bits without a name
    /// are EINVAL.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, msync(2).
    MsyncFlags(i32), "MS_" {
        /// `MS_SYNC`: write the range to the file, and return when that is done.
        SYNC = 4;
        /// `MS_ASYNC`: do nothing; the kernel tracks dirty pages and writes them in its own time
        /// (since Linux 2.6.19).
        ASYNC = 1;
        /// `MS_INVALIDATE`: EBUSY where pages of the range are locked; else without effect, since
        /// Linux's mappings of a file always agree.
        INVALIDATE = 2;
    }
}
bits!(MsyncFlags, &[], "0");

open! {
    /// How [`mremap`](crate::mremap) resizes or moves.
    ///
    /// Bits without a name are EINVAL.
    ///
    /// Source: `include/uapi/linux/mman.h`, mremap(2).
    MremapFlags(usize), "MREMAP_" {
        /// `MREMAP_MAYMOVE`: move the mapping where it can't grow in place.
        MAYMOVE = 1;
        /// `MREMAP_FIXED` (with `MAYMOVE`): move it to exactly `new_addr`, **replacing whatever is
        /// mapped there**.
        FIXED = 2;
        /// `MREMAP_DONTUNMAP` (Linux 5.7, with `MAYMOVE`, and equal lengths): leave the old range
        /// mapped and empty. `new_addr` is a hint then, even without `FIXED`.
        DONTUNMAP = 4;
    }
}
bits!(MremapFlags, &[], "0");

open! {
    /// How [`mlock2`](crate::mlock2) locks.
    ///
    /// Bits without a name are EINVAL.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, mlock2(2).
    MlockFlags(i32), "MLOCK_" {
        /// `MLOCK_ONFAULT` (Linux 4.4): lock each page when it is first touched.
        ONFAULT = 1;
    }
}
bits!(MlockFlags, &[], "0");

open! {
    /// What [`mlockall`](crate::mlockall) locks.
    ///
    /// No flag, `ONFAULT` alone, and bits without a name are EINVAL.
    ///
    /// Source: `include/uapi/asm-generic/mman.h`, mlockall(2).
    MlockAllFlags(i32), "MCL_" {
        /// `MCL_CURRENT`: everything that is mapped now.
        CURRENT = 1;
        /// `MCL_FUTURE`: everything that will be mapped.
        FUTURE = 2;
        /// `MCL_ONFAULT` (Linux 4.4, with one of the others): each page when it is first touched.
        ONFAULT = 4;
    }
}
bits!(MlockAllFlags, &[], "0");

open! {
    /// The flags of [`mseal`](crate::mseal): none is defined up to Linux 6.18, and any bit is
    /// EINVAL.
    ///
    /// Source: `mm/mseal.c`.
    MsealFlags(usize), "MSEAL_" {}
}
bits!(MsealFlags, &[], "0");

open! {
    /// What [`madvise`](crate::madvise) is told. Not bits: one value, one advice.
    ///
    /// An advice that the kernel doesn't know is EINVAL. `madvise(null, 0, advice)` tells whether
    /// it is known, without a mapping.
    ///
    /// Source: `include/uapi/asm-generic/mman-common.h`, madvise(2).
    ///
    /// ```
    /// use rawmap::Advice;
    /// assert_eq!(format!("{:?}", Advice::DONTNEED), "MADV_DONTNEED");
    /// assert_eq!(format!("{:?}", Advice::from_bits(77)), "0x4d");
    /// ```
    Advice(i32), "MADV_" {
        /// `MADV_NORMAL`: the default read-ahead.
        NORMAL = 0;
        /// `MADV_RANDOM`: no read-ahead.
        RANDOM = 1;
        /// `MADV_SEQUENTIAL`: much read-ahead, and pages may be dropped soon after.
        SEQUENTIAL = 2;
        /// `MADV_WILLNEED`: start reading. EBADF for anonymous memory on a kernel without swap.
        WILLNEED = 3;
        /// `MADV_DONTNEED`: drop the pages at once. Private anonymous memory reads as zeroes
        /// afterwards, private file memory as the file; **shared memory keeps its contents**.
        /// EINVAL for locked pages ([`DONTNEED_LOCKED`](Self::DONTNEED_LOCKED)).
        DONTNEED = 4;
        /// `MADV_FREE` (Linux 4.5): the kernel may drop the pages until they are next written;
        /// till then they read as before or as zeroes. Private anonymous memory only, else EINVAL.
        FREE = 8;
        /// `MADV_REMOVE` (Linux 2.6.16): punch a hole in the file under a shared writable mapping:
        /// the way to free shared memory. EINVAL for locked memory and where there is no file,
        /// EACCES for a private mapping and where the file was opened for reading only.
        REMOVE = 9;
        /// `MADV_DONTFORK` (Linux 2.6.16): a forked child doesn't get the range.
        DONTFORK = 10;
        /// `MADV_DOFORK` (Linux 2.6.16): undoes `DONTFORK`.
        DOFORK = 11;
        /// `MADV_MERGEABLE` (Linux 2.6.32): let KSM merge equal pages. EINVAL without KSM.
        MERGEABLE = 12;
        /// `MADV_UNMERGEABLE` (Linux 2.6.32): undoes `MERGEABLE`.
        UNMERGEABLE = 13;
        /// `MADV_HUGEPAGE` (Linux 2.6.38): use transparent huge pages. EINVAL without them.
        HUGEPAGE = 14;
        /// `MADV_NOHUGEPAGE` (Linux 2.6.38): don't.
        NOHUGEPAGE = 15;
        /// `MADV_DONTDUMP` (Linux 3.4): leave the range out of core dumps.
        DONTDUMP = 16;
        /// `MADV_DODUMP` (Linux 3.4): undoes `DONTDUMP`.
        DODUMP = 17;
        /// `MADV_WIPEONFORK` (Linux 4.14): a forked child reads zeroes. Private anonymous memory
        /// only, else EINVAL.
        WIPEONFORK = 18;
        /// `MADV_KEEPONFORK` (Linux 4.14): undoes `WIPEONFORK`.
        KEEPONFORK = 19;
        /// `MADV_COLD` (Linux 5.4): reclaim these pages first.
        COLD = 20;
        /// `MADV_PAGEOUT` (Linux 5.4): reclaim these pages now.
        PAGEOUT = 21;
        /// `MADV_POPULATE_READ` (Linux 5.14): make the pages resident as a read would, and report
        /// what fails (EFAULT, ENOMEM, EHWPOISON).
        POPULATE_READ = 22;
        /// `MADV_POPULATE_WRITE` (Linux 5.14): make the pages resident as a write would, and
        /// report what fails.
        POPULATE_WRITE = 23;
        /// `MADV_DONTNEED_LOCKED` (Linux 5.18): `DONTNEED` for locked pages too.
        DONTNEED_LOCKED = 24;
        /// `MADV_COLLAPSE` (Linux 6.1): make transparent huge pages of the range now.
        COLLAPSE = 25;
        /// `MADV_HWPOISON` (Linux 2.6.32, privileged): treat the pages as broken memory.
        HWPOISON = 100;
        /// `MADV_SOFT_OFFLINE` (Linux 2.6.33, privileged): take the pages out of use, keeping
        /// their contents elsewhere.
        SOFT_OFFLINE = 101;
        /// `MADV_GUARD_INSTALL` (Linux 6.13): drop the pages, and make touching them SIGSEGV,
        /// without splitting the mapping.
        GUARD_INSTALL = 102;
        /// `MADV_GUARD_REMOVE` (Linux 6.13): undoes `GUARD_INSTALL`.
        GUARD_REMOVE = 103;
    }
}

impl fmt::Debug for Advice {
    /// Prints Linux's name, or the number in hex where it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(value, _)| *value == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// Expands to the argument word of a type over `unsigned long`.
macro_rules! word_unsigned {
    ($($name:ident)*) => {$(
        impl $name {
            #[inline]
            pub(crate) const fn word(self) -> Word {
                Word::int(self.0)
            }
        }
    )*};
}

/// Expands to the argument word of a type over `int`.
macro_rules! word_signed {
    ($($name:ident)*) => {$(
        impl $name {
            #[inline]
            pub(crate) const fn word(self) -> Word {
                Word::signed(self.0)
            }
        }
    )*};
}

word_unsigned!(Prot MapFlags MremapFlags MsealFlags);
word_signed!(MsyncFlags MlockFlags MlockAllFlags Advice);
