//! Chapters: what concerns more than one item.

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("no_libc.md")]
pub mod no_libc {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("jit.md")]
pub mod jit {}

#[doc = include_str!("miri.md")]
pub mod miri {}
