//! Chapters: what concerns more than one item.

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("no_libc.md")]
///
/// # A whole program
/// With the `build.rs` above, `panic = "abort"` and nothing else but this crate, it says hello from memory that it
/// maps. It is built and run on each architecture by `ci/freestanding.sh`, in the repository, where
/// `examples/freestanding` is a larger one, with an allocator, its arguments and a file.
///
/// ```ignore (it is built with other flags, by ci/freestanding.sh)
#[doc = include_str!("bare.rs")]
/// ```
pub mod no_libc {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("jit.md")]
pub mod jit {}

#[doc = include_str!("miri.md")]
pub mod miri {}
