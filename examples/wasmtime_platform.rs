//! The virtual memory half of wasmtime's custom platform, without a libc: the functions that
//! `wasmtime-platform.h` declares, for a wasmtime that is built with `--cfg wasmtime_custom_platform` (feature
//! `custom-virtual-memory`). The other half, signals and a word for each thread, is not here.
//!
//! The functions are C's, and take and return addresses. So they make raw calls; only the first one uses an
//! owner, which lets the kernel choose the place, and then gives up the mapping.
//!
//! `cargo run --example wasmtime_platform` plays wasmtime for a moment.

use rawmap::{Errno, MapFlags, MapOptions, Prot, Sharing, mmap_anonymous, mprotect, munmap};

/// `WASMTIME_PROT_READ`, `_WRITE`, `_EXEC`: 1, 2 and 4, as Linux has them.
const fn prot(flags: u32) -> Prot {
    Prot::from_bits((flags & 7) as usize)
}

/// 0, or the error's number.
fn code<T>(result: Result<T, Errno>) -> i32 {
    result.map_or_else(Errno::raw, |_| 0)
}

/// Maps `size` bytes of zeroes, wherever there is room; not counted, as most of it is never used.
#[unsafe(no_mangle)]
pub extern "C" fn wasmtime_mmap_new(size: usize, prot_flags: u32, ret: &mut *mut u8) -> i32 {
    let mapped = MapOptions::new(size).noreserve().raw(prot(prot_flags), Sharing::Private);
    code(mapped.map(|it| *ret = it.into_raw_parts().start.as_ptr()).map_err(|error| error.errno()))
}

/// Makes a range zeroes again, with other rights.
///
/// # Safety
/// The range is of [`wasmtime_mmap_new`], and nobody uses what it holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasmtime_mmap_remap(addr: *mut u8, size: usize, prot_flags: u32) -> i32 {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    // SAFETY: what is replaced is the caller's.
    code(unsafe { mmap_anonymous(addr, size, prot(prot_flags), flags) })
}

/// Unmaps a range.
///
/// # Safety
/// As [`wasmtime_mmap_remap`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasmtime_munmap(addr: *mut u8, size: usize) -> i32 {
    // SAFETY: the range is the caller's.
    code(unsafe { munmap(addr, size) })
}

/// Sets what a range may be used for.
///
/// # Safety
/// The range is of [`wasmtime_mmap_new`], and who uses it minds the rights.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasmtime_mprotect(addr: *mut u8, size: usize, prot_flags: u32) -> i32 {
    // SAFETY: the range is the caller's.
    code(unsafe { mprotect(addr, size, prot(prot_flags)) })
}

/// The page size in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn wasmtime_page_size() -> usize {
    // It fails only where a filter answers for the kernel, and then no other call here works either.
    rawmap::page_size().map_or(4096, rawmap::PageSize::bytes)
}

/// An image of a linear memory's first contents, to be mapped over many of them.
#[allow(non_camel_case_types)]
pub enum wasmtime_memory_image {}

/// There are no images here, which would be memory files: wasmtime then copies what a memory begins with.
#[unsafe(no_mangle)]
pub extern "C" fn wasmtime_memory_image_new(
    _ptr: *const u8,
    _len: usize,
    ret: &mut *mut wasmtime_memory_image,
) -> i32 {
    *ret = std::ptr::null_mut();
    0
}

/// Never called, as there is no image.
#[unsafe(no_mangle)]
pub extern "C" fn wasmtime_memory_image_map_at(
    _image: *mut wasmtime_memory_image,
    _addr: *mut u8,
    _len: usize,
) -> i32 {
    Errno::ENOSYS.raw()
}

/// Never called, as there is no image.
#[unsafe(no_mangle)]
pub extern "C" fn wasmtime_memory_image_free(_image: *mut wasmtime_memory_image) {}

/// What wasmtime does with a linear memory: reserves, makes its first pages accessible, grows, resets, and
/// lets go.
fn main() {
    const SPACE: usize = 1 << 30;
    const WASM_PAGE: usize = 64 << 10;
    const RW: u32 = 3;
    let ok = |code: i32| assert_eq!(code, 0, "{:?}", Errno::from_raw(code));
    assert!(WASM_PAGE % wasmtime_page_size() == 0);
    let (mut memory, mut image) = (std::ptr::null_mut(), std::ptr::null_mut());
    ok(wasmtime_mmap_new(SPACE, 0, &mut memory));
    ok(wasmtime_memory_image_new(memory, 0, &mut image));
    assert!(image.is_null());
    // SAFETY: a mapping of this program's own, of which what is accessible is used, until it is unmapped.
    unsafe {
        for pages in 1..=16 {
            ok(wasmtime_mprotect(memory, pages * WASM_PAGE, RW));
            let last = memory.add(pages * WASM_PAGE - 1);
            assert_eq!(last.read(), 0);
            last.write(7);
        }
        ok(wasmtime_mmap_remap(memory, 16 * WASM_PAGE, 0));
        ok(wasmtime_mprotect(memory, 16 * WASM_PAGE, RW));
        assert!((1..=16).all(|pages| memory.add(pages * WASM_PAGE - 1).read() == 0));
        ok(wasmtime_munmap(memory, SPACE));
        assert_eq!(wasmtime_munmap(memory.add(1), SPACE), Errno::EINVAL.raw());
    }
    println!("reserved {SPACE} bytes, grew by 16 pages of {WASM_PAGE}, reset, and let go");
}
