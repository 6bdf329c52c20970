//! What a mapping's type promises of its bytes: [`Raw`], [`ReadOnly`], [`ReadWrite`], [`Executable`].

/// What a mapping's type promises of its bytes. It is one of [`Raw`], [`ReadOnly`], [`ReadWrite`] and
/// [`Executable`].
///
/// ```
/// use rawmap::{Access, MapOptions, Mapping, Prot, Sharing};
/// fn unmapped_when_dropped<A: Access>(map: &Mapping<A>) -> usize {
///     map.mapped_len()
/// }
/// let page = rawmap::page_size()?.bytes();
/// assert_eq!(unmapped_when_dropped(&MapOptions::new(1).anonymous()?), page);
/// let queue = MapOptions::new(1).raw(Prot::READ | Prot::WRITE, Sharing::Shared)?;
/// assert_eq!(unmapped_when_dropped(&queue), page);
/// # Ok::<(), rawmap::Error>(())
/// ```
pub trait Access: sealed::Sealed {}

pub(super) mod sealed {
    /// Implemented for the four kinds of access only.
    pub trait Sealed {
        /// The bytes are lent as a slice.
        const LENT: bool;
        /// They are lent as a slice that can be written.
        const WRITABLE: bool;
    }
}

/// The type promises nothing of the bytes: the mapping may have any protection and any sharing, and is reached
/// by raw pointers.
///
/// ```
/// use rawmap::{MapOptions, Mapping, Prot, Raw, Sharing};
/// use std::sync::atomic::{AtomicU32, Ordering};
/// let queue: Mapping<Raw> = MapOptions::new(4).raw(Prot::READ | Prot::WRITE, Sharing::Shared)?;
/// // SAFETY: the first word of `queue`, which outlives it;
/// // whoever shares it uses atomics too.
/// let tail = unsafe { AtomicU32::from_ptr(queue.as_ptr().cast()) };
/// assert_eq!(tail.fetch_add(1, Ordering::Relaxed), 0);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum Raw {}

/// Every byte can be read, and nobody writes it: the mapping derefs to `&[u8]`.
///
/// ```
/// use rawmap::{MapOptions, Mapping, ReadOnly};
/// let mut table = MapOptions::new(16).anonymous()?;
/// table.fill(7);
/// let table: Mapping<ReadOnly> = table.make_read_only()?;
/// assert_eq!(table.first_chunk(), Some(&[7; 16]));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum ReadOnly {}

/// Only the owner reads and writes the bytes, and it can read and write each: the mapping derefs to `&mut
/// [u8]`.
///
/// ```
/// use rawmap::{MapOptions, Mapping, ReadWrite};
/// let mut digits: Mapping<ReadWrite> = MapOptions::new(4).anonymous()?;
/// digits.copy_from_slice(&[3, 1, 4, 1]);
/// digits.sort();
/// assert_eq!(digits[..], [1, 1, 3, 4]);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum ReadWrite {}

/// Every byte can be read and run, and nobody writes it: the mapping derefs to `&[u8]`. To call its code takes
/// `unsafe`. Code that was moved ([`resize`](crate::Mapping::resize), [`place`](crate::Reservation::place))
/// must be [published](crate::Mapping::publish) again before it is run.
///
/// ```
/// use rawmap::{Executable, MapOptions, Mapping};
/// // A function that returns 42, for x86_64: mov eax, 42; ret.
/// let code = &[0xb8, 42, 0, 0, 0, 0xc3];
/// # // mov w0, 42; ret. li a0, 42; ret.
/// # let code: &[u8] = match std::env::consts::ARCH {
/// #     "aarch64" => &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
/// #     "riscv64" => &[0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0, 0],
/// #     _ => code,
/// # };
/// let mut memory = MapOptions::new(4096).anonymous()?;
/// memory[..code.len()].copy_from_slice(code);
/// let memory: Mapping<Executable> = memory.make_executable()?;
/// // SAFETY: `code` is a C function without arguments that
/// // returns 42, and `memory` outlives the call.
/// let answer: extern "C" fn() -> i32 = unsafe { std::mem::transmute(memory.as_ptr()) };
/// assert_eq!(answer(), 42);
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub enum Executable {}

impl sealed::Sealed for Raw {
    const LENT: bool = false;
    const WRITABLE: bool = false;
}
impl sealed::Sealed for ReadOnly {
    const LENT: bool = true;
    const WRITABLE: bool = false;
}
impl sealed::Sealed for ReadWrite {
    const LENT: bool = true;
    const WRITABLE: bool = true;
}
impl sealed::Sealed for Executable {
    const LENT: bool = true;
    const WRITABLE: bool = false;
}
impl Access for Executable {}
impl Access for Raw {}
impl Access for ReadOnly {}
impl Access for ReadWrite {}
