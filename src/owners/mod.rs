//! Owners: types that hold page ranges and give them back. No safe program can break memory with them,
//! whatever it does.
//!
//! They check every range, undo the earlier steps when a later one fails, and return errors that carry the
//! call. Each says which calls it makes. Nothing is kept in statics but what is the same for the whole
//! process: the page size, where the main thread's stack may grow, and whether guards work.
//!
//! # What they rest on
//! - **The kernel chose the place, or an owner holds it.** No safe function takes an address. The ground that
//!   the main thread's stack may grow into is left alone (`process.rs`).
//! - **A slice has a page behind each byte**, or the kernel's ordinary promise of one.
//! - **What is given back is gone**, and what the kernel does not take back costs no memory, if it is
//!   private (`place.rs`).
//! - **A failed step undoes the earlier ones.** A refused `mremap` over a place may already have unmapped it:
//!   the place is then nobody's until it is taken again by what replaces nothing.
//!
//! # What they take for granted of the language
//! Memory that a call maps is an allocation like any other, and its address may be used for all of it, since
//! it comes from an `asm!` that the compiler does not see through. Pages that a call moves are a new
//! allocation at the new address. Two allocations that come to lie side by side may be joined, by a pointer
//! that is passed through an empty `asm!`; so may memory that is mapped at two addresses be used through
//! both, with such an `asm!` between.
//!
//! # What they take for granted of the kernel
//! What `process.rs` says of the stack. And that a kernel before 6.12, which unmaps before it maps, does not run
//! out of memory for its own bookkeeping just between the two, when a part of a reservation is given back, while
//! another thread maps something at that very place.
//!
//! # Fork and signals
//! A child has a copy of the owner and of private memory, and what it drops, it unmaps in its own address
//! space only. Nothing here locks or allocates, so all of it may be called in a signal handler, as long as no
//! owner is used that the handler interrupted.

mod access;
mod beyond;
mod descriptor;
#[cfg(doctest)]
mod does_not_compile;
mod dual;
mod error;
mod front;
mod huge;
mod mapping;
mod options;
mod page_alloc;
mod place;
mod pool;
mod process;
mod queue;
mod range;
mod reservation;
mod ring;
mod stack;
mod words;

pub use access::{Access, Executable, Raw, ReadOnly, ReadWrite};
pub use descriptor::{AsDescriptor, Fd};
pub use dual::DualMapping;
pub use error::{Error, Refused};
pub use front::Front;
pub use huge::HugePages;
pub use mapping::{Backing, Guarded, Mapping, Purged, RawParts, Sealed};
pub use options::{MapOptions, Place, Sharing};
pub use page_alloc::PageAlloc;
pub use pool::{Chunk, Pool, PooledStack, StackPool};
pub use process::{page_size, prepare, set_auxv};
pub use queue::Queue;
pub use reservation::{Mode, Reservation};
pub use ring::Ring;
pub use stack::Stack;
pub use words::{Atomic, Words};
