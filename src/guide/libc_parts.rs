//! Functions that compiled code calls by name, and that
//! otherwise come from a libc or the unwinder. They are
//! short, not fast.

use core::mem::MaybeUninit;

/// # Safety
/// As C's memcpy.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    for n in 0..len {
        // SAFETY: both are `len` bytes long.
        unsafe { copy_byte(to.add(n), from.add(n)) };
    }
    to
}

/// Copies a byte, which may be one that was never written.
///
/// # Safety
/// `from` can be read, and `to` written.
unsafe fn copy_byte(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's promise. Any byte is a value.
    unsafe { to.cast::<MaybeUninit<u8>>().write(from.cast::<MaybeUninit<u8>>().read()) };
}

/// # Safety
/// As C's memmove.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: no byte is written before it is read.
        return unsafe { memcpy(to, from, len) };
    }
    for n in (0..len).rev() {
        // SAFETY: as for memcpy.
        unsafe { copy_byte(to.add(n), from.add(n)) };
    }
    to
}

/// # Safety
/// As C's memset.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    for n in 0..len {
        // SAFETY: it is `len` bytes long.
        unsafe { to.add(n).write(byte as u8) };
    }
    to
}

/// # Safety
/// As C's memcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    for n in 0..len {
        // SAFETY: both are `len` bytes long.
        let (a, b) = unsafe { (a.add(n).read(), b.add(n).read()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As the older C libraries' bcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise is memcmp's.
    unsafe { memcmp(a, b, len) }
}

/// # Safety
/// As C's strlen.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: a zero follows.
    while unsafe { text.add(len).read() } != 0 {
        len += 1;
    }
    len
}

/// Named by the unwinding tables that come with the
/// prebuilt core and alloc. Nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the prebuilt alloc, where it would go on.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("nothing unwinds here")
}
