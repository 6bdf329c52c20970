//! Chapters: what concerns more than one item.
//!
//! - [`files`]: for whoever maps one. What goes wrong with it, then and later, and a program that maps what can be
//!   mapped, and reads the rest.
//! - [`jit`]: for compilers that run what they write.
//! - [`no_libc`]: for programs without a libc, such as runtimes, loaders and the first program of a machine.
//! - [`miri`]: for crates on top of this one whose tests run under Miri.
//! - [`coming_from`]: for whoever knows rustix, libc, nix, memmap2, mmap-rs or region, and looks for a name.

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("jit.md")]
pub mod jit {}

#[doc = include_str!("no_libc.md")]
///
/// # A whole program
/// With the `build.rs` above, `panic = "abort"` and nothing else but this crate, it says hello from memory that it
/// maps: `main.rs`, and below it `libc_parts.rs`, which every such program needs. It is built and run on each architecture by `ci/freestanding.sh`, in the repository, where
/// `examples/freestanding` is a larger one, with an allocator, its arguments and a file.
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
