//! Linux's memory-mapping system calls, without a libc: inline stubs for x86_64, aarch64 and riscv64, the
//! crate's own constants, exact errors, and on top of them *owners*, types with which no safe program can break
//! memory.
//!
//! The crate is `no_std`, and has no dependencies and no build script. Nothing here takes a lock, or memory
//! from a heap (`alloc`): an allocator or a signal handler may use all of it. The crate has three layers (raw
//! functions, calls as values, owners), and each can be used without those above it.
//!
//! # Memory and files as slices
//! [`MapOptions`] describes a mapping, and its last method makes it: a [`Mapping`] that derefs to `&mut [u8]`
//! or to `&[u8]`, or is reached by raw pointers. It is unmapped when it is dropped.
//!
//! ```
//! use rawmap::MapOptions;
//! let mut memory = MapOptions::new(1 << 20).anonymous()?;
//! memory[..5].copy_from_slice(b"hello");
//! memory.resize(1 << 30)?; // pages may move; nothing is copied
//!
//! // A file, with the feature `std`:
//! let file = std::fs::File::open("Cargo.toml")?;
//! # use std::os::fd::AsRawFd;
//! # // SAFETY: `file` stays open.
//! # let file = unsafe { rawmap::Fd::borrow_raw(file.as_raw_fd()) };
//! // SAFETY: nobody writes or truncates it while it is mapped.
//! let text = unsafe { MapOptions::whole().file(&file, 0)? };
//! assert!(text.split(|byte| *byte == b'\n').count() > 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Allocators and arenas
//! A [`Reservation`] is address space of which several threads at once may commit, purge and decommit ranges. A
//! [`Front`] grows and never moves; a [`Pool`] hands out aligned chunks without a call; [`PageAlloc`] maps each
//! block, and grows it by `mremap`. [`guide::allocators`] says which one is for which job.
//!
//! ```
//! use rawmap::{Front, Mode, Reservation};
//! let mut table = Front::reserve(1 << 36)?; // address space, and no memory
//! table.resize(100)?; // a `&mut [u8]` of 100 bytes, whose address stays
//! table[99] = 1;
//!
//! let heap = Reservation::new(1 << 36, Mode::Strict)?;
//! heap.commit(..1 << 20)?; // this MiB can be read and written now
//! heap.decommit(..1 << 20)?; // and now it takes no memory
//! # Ok::<(), rawmap::Error>(())
//! ```
//!
//! ```no_run
//! #[global_allocator]
//! static HEAP: rawmap::PageAlloc = rawmap::PageAlloc; // pages for each block
//! # fn main() {}
//! ```
//!
//! # Code that is generated
//! [`Mapping::make_executable`] turns bytes into code, and takes care of the instruction cache. A
//! [`DualMapping`] is written through one view and run through another. This works also where the system
//! forbids that written memory becomes executable.
//!
//! ```
//! // A function that returns 42, for x86_64: mov eax, 42; ret.
//! let code = &[0xb8, 42, 0, 0, 0, 0xc3];
//! # // mov w0, 42; ret. li a0, 42; ret.
//! # let code: &[u8] = match std::env::consts::ARCH {
//! #     "aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
//! #     "riscv64" => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
//! #     _ => code,
//! # };
//! let mut memory = rawmap::MapOptions::new(4096).anonymous()?;
//! memory[..code.len()].copy_from_slice(code);
//! let memory = memory.make_executable()?;
//! // SAFETY: `code` is a C function without arguments that
//! // returns 42.
//! let answer: extern "C" fn() -> i32 = unsafe { std::mem::transmute(memory.as_ptr()) };
//! assert_eq!(answer(), 42);
//! # Ok::<(), rawmap::Error>(())
//! ```
//!
//! # Kernels in userspace, tracers, sandboxes
//! A [`Call`] is a system call as a value. A program reads it from a seccomp notification or a ptrace stop,
//! prints it as strace does, sends it elsewhere, or makes it. [`Call::check`] says what a kernel of a given
//! version, architecture and page size will answer to it, and why.
//!
//! ```
//! use rawmap::{Arch, Call, Errno, Kernel, MapFlags, PageSize, Prot};
//! let call = Call::mmap(core::ptr::null_mut(), 1, Prot::READ, MapFlags::SHARED, 3, 4096);
//! assert_eq!(call.to_string(), "mmap(NULL, 1, PROT_READ, MAP_SHARED, 3, 0x1000)");
//! let large_pages = Kernel::new(Arch::Aarch64, PageSize::new(16 << 10).unwrap());
//! assert_eq!(call.check(&large_pages).unwrap_err().errno(), Errno::EINVAL);
//! ```
//!
//! # Runtimes, and programs that want the call itself
//! The raw functions make one system call each: [`mmap`], [`munmap`], [`mprotect`], [`msync`], [`mremap`],
//! [`madvise`], [`mincore`], [`mlock`], [`mlock2`], [`munlock`], [`mlockall`], [`munlockall`], [`mseal`]. They
//! compile to what one would write by hand, need no relocation, thread-local or `errno`, and are `unsafe`. The
//! stubs in [`arch`] make any other call.
//!
//! ```
//! use rawmap::{MapFlags, Prot, mmap_anonymous, mprotect, munmap};
//! // SAFETY: a new mapping, which nothing else refers to, and
//! // which isn't used after munmap.
//! unsafe {
//!     let rw = Prot::READ | Prot::WRITE;
//!     let memory = mmap_anonymous(core::ptr::null_mut(), 1 << 16, rw, MapFlags::PRIVATE)?;
//!     memory.write(42);
//!     mprotect(memory, 1 << 16, Prot::READ)?;
//!     assert_eq!(memory.read(), 42);
//!     munmap(memory, 1 << 16)?;
//! }
//! # Ok::<(), rawmap::Errno>(())
//! ```
//!
//! # Which type for which job
//! | for | see |
//! |---|---|
//! | memory, or a file, given back when it is dropped | [`MapOptions`], [`Mapping`] |
//! | what may be done with a mapping's bytes | [`ReadWrite`], [`ReadOnly`], [`Executable`], [`Raw`] |
//! | bytes that grow and never move | [`Front`] |
//! | address space, used by ranges or cut into pieces | [`Reservation`] |
//! | an allocator | [`guide::allocators`] |
//! | blocks of one size | [`Pool`], [`Chunk`] |
//! | blocks that are whole pages | [`PageAlloc`] |
//! | memory that others write at the same time | [`Words`] |
//! | a buffer that wraps around in one piece | [`Ring`], [`Queue`] |
//! | stacks with a guard | [`Stack`], [`StackPool`], [`PooledStack`] |
//! | code | [`Mapping::make_executable`], [`DualMapping`], [`guide::jit`] |
//! | why an owner's operation failed | [`Error`], [`Refused`] |
//! | huge pages | [`MapOptions::transparent_huge`], [`HugePages`] |
//! | flags and advice | [`Prot`], [`MapFlags`], [`MsyncFlags`], [`MremapFlags`], [`Advice`] |
//! | the error of a raw call | [`Errno`] |
//! | a call as a value, and what a kernel says to it | [`Call`], [`Operation`], [`Kernel`], [`Refusal`], [`RULES`] |
//! | programs without a libc, or with a filter | [`set_auxv`], [`prepare`], [`Fd`], [`guide::no_libc`] |
//! | files that shrink, directories, /proc | [`guide::files`] |
//! | the name that another crate has for something | [`guide::coming_from`] |
//! | tests under Miri | [`guide::miri`] |
//!
//! # Granules, and what is counted
//! The *granule* of a mapping is the size of its pages: the page size, which is 4 KiB on most machines, or the
//! size of its huge pages. Only whole granules can be unmapped, protected, purged or split off.
//!
//! Memory is *counted* when the kernel has promised pages for it (`Committed_AS` in /proc/meminfo), whether the
//! pages are there yet or not. How much the kernel promises depends on `vm.overcommit_memory`: with 0 and 1
//! nearly all that programs ask for, and with 2 (strict accounting) no more than the machine has. Private
//! memory that was mapped inaccessible is not counted until it is made writable. What is mapped with
//! `MAP_NORESERVE` is counted under strict accounting only.
//!
//! # When not to use it
//! - You have `std` and want to read a file on any system: use [memmap2](https://docs.rs/memmap2).
//! - You need other system calls too: use [rustix](https://docs.rs/rustix).
//! - Your target is not 64-bit Linux on one of the three architectures.
//!
//! # What is outside of the promise
//! Safe code can reach all memory of a process in a few ways that no crate can prevent. A program that uses one
//! of them answers for what it does there, [as with the standard library][std]:
//! - Files of `/proc`, which open without `unsafe`. A write to `/proc/self/mem` changes any byte. A write to a
//!   file in `/proc/self/map_files` changes mapped bytes too, and truncating it takes their pages away
//!   (SIGBUS). `/proc/self/fd`, as `pidfd_getfd` of the own process, matters for a moment only: where `mremap`
//!   is refused, a ring or a dual mapping is made of a memory file, and a thread that opens that file by its
//!   number and maps it before it is sealed can write to it for good.
//! - A function that forks without being `unsafe`: parent and child then share the bytes of rings and dual
//!   mappings.
//! - A tracer (`ptrace`, `process_vm_writev`); a thread that registers memory with `userfaultfd`; a function
//!   that closes a descriptor which it doesn't own, by its number.
//! - A filter (seccomp) that answers in the kernel's stead. It may refuse any call with any error. But it must
//!   not answer "done" to a call that was not made, nor, where memory is merged, EINVAL to `MADV_UNMERGEABLE`
//!   (the answer of a kernel without KSM).
//! - Something else mounted, linked or seen by `chroot` in the place of `/proc`. Where `PR_GET_AUXV` is refused
//!   (before Linux 6.4, or by a filter), the owners read `/proc/self/auxv`, if that lies on a proc file system
//!   or an emulator provides it. Where `mremap` is refused, they read `/proc/sys/vm/overcommit_memory`.
//! - An emulator. QEMU's user mode before 11 ignores most advice and answers that it was done; so locked memory
//!   does not read as zeroes there after it was purged, reset or decommitted.
//!
//! The owners rely on three things that they can't check. The kernel keeps its distance between the main
//! thread's stack and accessible memory (the boot option `stack_guard_gap` is not 0). Where no mapping below
//! the main thread's stack would stop its growth, as in some static programs, nobody raises the stack's limit
//! later and then fills the address space ([`prepare`]). And when part of a reservation is given back to a
//! kernel before 6.12, which unmaps the old memory before it maps the new, that kernel does not run out of
//! memory for its own bookkeeping between the two while another thread maps something at that very place.
//!
//! [std]: https://doc.rust-lang.org/std/os/unix/io/index.html#procselfmem-and-similar-os-features
//!
//! # Features
//! No feature is on by default. With `std`, every type that is `AsFd` is [`AsDescriptor`], so that a `&File`
//! can be mapped; [`Errno`] and [`Error`] turn into an `std::io::Error` of their number; and a [`Queue`] reads
//! and writes. The crate needs Rust 1.85 or later.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
    Guarded, HugePages, MapOptions, Mapping, Mode, PageAlloc, Place, Pool, PooledStack, Purged,
    Queue, Raw, RawParts, ReadOnly, ReadWrite, Refused, Reservation, Ring, Sealed, Sharing, Stack,
    StackPool, Words, page_size, prepare, set_auxv,
};
pub use page_size::PageSize;
pub use raw::{
    MAP_FAILED, NO_FD, RawFd, madvise, mincore, mlock, mlock2, mlockall, mmap, mmap_anonymous,
    mprotect, mremap, mseal, msync, munlock, munlockall, munmap,
};
#[cfg(feature = "std")]
pub use std_types::mmap_file;
pub use word::Word;

// The README's examples run as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
