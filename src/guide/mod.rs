//! Chapters about what concerns more than one item.
//!
//! - [`allocators`]: for authors of allocators. Which owner is for which job, what giving memory back costs, and what
//!   can fail.
//! - [`files`]: for programs that map files. What can go wrong at once and later, and a function that maps a file, or
//!   reads it where it can't be mapped.
//! - [`jit`]: for compilers that run the code that they write.
//! - [`no_libc`]: for programs without a libc, such as runtimes, loaders and the first program of a machine.
//! - [`miri`]: for crates on top of this one whose tests run under Miri.
//! - [`coming_from`]: for programmers who know rustix, libc, nix, memmap2, mmap-rs or region, and look for a name.

#[doc = include_str!("allocators.md")]
pub mod allocators {}

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("jit.md")]
pub mod jit {}

#[doc = include_str!("no_libc.md")]
///
/// # A whole program
/// This program maps memory, and prints hello from there. Its package has this crate as its only dependency,
/// `panic = "abort"` in its profiles, the `build.rs` above, and on aarch64 and riscv64 the flags above. First
/// comes its `main.rs`, and then `libc_parts.rs`, which every such program needs. `ci/freestanding.sh`, in the
/// repository, builds and runs it on each architecture. `examples/freestanding`, also there, is a larger
/// program, with an allocator, its arguments and a file.
///
/// ```ignore (it is built with other flags, by ci/freestanding.sh)
#[doc = include_str!("bare.rs")]
/// ```
///
/// ```ignore (as above)
#[doc = include_str!("libc_parts.rs")]
/// ```
pub mod no_libc {}

#[doc = include_str!("miri.md")]
pub mod miri {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}
