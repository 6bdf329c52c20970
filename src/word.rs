//! The word: what goes into and comes out of a system call's registers.

use core::{fmt, ptr};

/// One argument or result of a system call: 64 bits, kept as a pointer.
///
/// Being a pointer, a word carries provenance: memory that a call maps may be used through the word
/// that the call returns. An integer goes in without provenance, and comes out as its bits.
///
/// ```
/// use rawmap::Word;
/// assert_eq!(Word::int(4096).bits(), 4096);
/// assert_eq!(Word::signed(-1).bits(), usize::MAX);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Word(*mut u8);

// SAFETY: a word is a plain value; nothing is reached through it without `unsafe`.
unsafe impl Send for Word {}
// SAFETY: a word is a plain value, and has no interior that a shared reference could change.
unsafe impl Sync for Word {}

impl Word {
    /// All bits zero: the null pointer, the number 0.
    pub const ZERO: Self = Self(ptr::null_mut());

    /// The word that holds a pointer, with its provenance.
    #[must_use]
    #[inline]
    pub const fn ptr(ptr: *mut u8) -> Self {
        Self(ptr)
    }

    /// The word that holds an unsigned integer.
    #[must_use]
    #[inline]
    pub const fn int(int: usize) -> Self {
        Self(ptr::without_provenance_mut(int))
    }

    /// The word that holds a C `int`, sign-extended as a C compiler does it.
    #[must_use]
    #[inline]
    pub const fn signed(int: i32) -> Self {
        Self::int(int as isize as usize)
    }

    /// The word as a pointer.
    #[must_use]
    #[inline]
    pub const fn as_ptr(self) -> *mut u8 {
        self.0
    }

    /// The word's bits, without provenance.
    ///
    /// Like `addr` of a pointer, it can't be called in a constant: where an object lies isn't known
    /// before the program runs. A constant that makes a word of an integer has that integer
    /// already.
    #[must_use]
    #[inline]
    pub fn bits(self) -> usize {
        self.0.addr()
    }

    /// The word's bits, for the const functions of this crate. In const evaluation, the word must
    /// have been made from an integer or a null pointer, or the compiler says that it wasn't.
    #[inline]
    pub(crate) const fn const_bits(self) -> usize {
        union Bits {
            word: Word,
            bits: usize,
        }
        // SAFETY: both fields are one word of initialised bytes, and any bytes are a `usize`.
        // This is `<*mut u8>::addr`, which can't be called in const functions.
        unsafe { Bits { word: self }.bits }
    }
}

impl fmt::Debug for Word {
    /// Prints the bits in hex: `0x1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.bits())
    }
}
