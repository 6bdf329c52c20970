//! How Rust code without a libc talks to Linux about memory.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[path = "../arch/mod.rs"]
pub mod arch;
mod call;
mod check;
mod errno;
mod flags;
mod owners;
mod page_size;
mod raw;
#[cfg(feature = "std")]
mod std_types;
mod word;

pub use call::{Call, Operation};
pub use check::{Limits, Reason, Refusal};
pub use errno::Errno;
pub use flags::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot,
};
pub use owners::{
    Access, Cursor, DualMapping, Error, Guarded, MapOptions, Mapping, Mode, PageAlloc, Placed,
    Purged, Raw, ReadOnly, ReadWrite, Reservation, Ring, Sealed, Stack, set_page_size,
};
pub use page_size::PageSize;
pub use raw::{
    MAP_FAILED, NO_FD, RawFd, madvise, mincore, mlock, mlock2, mlockall, mmap, mmap_anonymous,
    mprotect, mremap, mseal, msync, munlock, munlockall, munmap,
};
#[cfg(feature = "std")]
pub use std_types::mmap_file;
pub use word::Word;
