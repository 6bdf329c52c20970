#![doc = include_str!("../README.md")]
//!
//! ## Where to begin
//!
//! | for | see |
//! |---|---|
//! | one system call | [`mmap`], [`munmap`], [`mprotect`], [`msync`], [`mremap`], [`madvise`] and the rest |
//! | its flags | [`Prot`], [`MapFlags`], [`MsyncFlags`], [`MremapFlags`], [`Advice`] |
//! | its errors | [`Errno`] |
//! | a call as a value, and what the kernel will say | [`Call`], [`Operation`], [`Kernel`], [`Refusal`], [`Reason`], [`RULES`] |
//! | memory or a file, given back when it is dropped | [`MapOptions`], [`Mapping`] |
//! | what may be done with its bytes | [`ReadWrite`], [`ReadOnly`], [`Executable`], [`Raw`] |
//! | bytes that grow and never move | [`Front`] |
//! | address space, used by ranges or cut into pieces | [`Reservation`] |
//! | an allocator's blocks | [`PageAlloc`], [`Pool`] |
//! | memory that others write at the same time | [`Words`] |
//! | code | [`Mapping::make_executable`], [`DualMapping`] |
//! | special shapes | [`Ring`], [`Stack`], [`StackPool`] |
//! | what went wrong with an owner | [`Error`], [`Refused`] |
//! | programs without a libc, or with a filter | [`set_auxv`], [`prepare`], [`Fd`] |
//! | any other system call | [`arch`], [`Word`] |
#![no_std]

#[path = "../arch/mod.rs"]
pub mod arch;
mod call;
mod check;
mod errno;
mod flags;
pub mod guide;
mod owners;
mod page_size;
mod raw;
#[cfg(feature = "std")]
mod std_types;
mod word;

pub use arch::Arch;
pub use call::{Call, Operation};
pub use check::{Kernel, RULES, Reason, Refusal, Rule, Rules, Step, Versions};
pub use errno::{Errno, ErrnoSet};
pub use flags::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags,
    ParseFlagsError, Prot,
};
pub use owners::{
    Access, AsDescriptor, Atomic, Backing, Chunk, DualMapping, Error, Executable, Fd, Front,
    Guarded, MapOptions, Mapping, Mode, PageAlloc, Place, Pool, PooledStack, Purged, Raw, RawParts,
    ReadOnly, ReadWrite, Refused, Reservation, Ring, Sealed, Sharing, Stack, StackPool, Words,
    page_size, prepare, set_auxv,
};
pub use page_size::PageSize;
pub use raw::{
    MAP_FAILED, NO_FD, RawFd, madvise, mincore, mlock, mlock2, mlockall, mmap, mmap_anonymous,
    mprotect, mremap, mseal, msync, munlock, munlockall, munmap,
};
#[cfg(feature = "std")]
pub use std_types::mmap_file;
pub use word::Word;
