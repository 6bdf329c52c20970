//! [`PageAlloc`]: an allocator whose every block is a mapping of its own.

use super::error::made;
use super::page_size;
use crate::{Call, MapFlags, MremapFlags, Prot};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{null_mut, without_provenance_mut};

/// An allocator that maps whole pages for each block: for large blocks, and as the floor under
/// other allocators.
///
/// A block costs at least a page, and a call to get and to free it; but it grows by `mremap`, which
/// moves pages and copies nothing, so a `Vec` grows to gigabytes without a copy. Zeroed memory costs
/// nothing more.
///
/// | operation | calls |
/// |---|---|
/// | `alloc`, `alloc_zeroed` | 1 `mmap`; aligned above a page, up to 2 `munmap` more |
/// | `dealloc` | 1 `munmap` |
/// | `realloc` | 0 within the same pages, else 1 `mremap`; where that is refused (aligned above a page and no room behind it, or the block's parts differ by advice): as `alloc` and `dealloc`, and a copy |
///
/// It has no state and takes no lock, so it may be used from several threads, from a signal handler
/// that interrupted it, and in a forked child. A failure is a null pointer, as `GlobalAlloc` has it;
/// so is a block of size 0, which `GlobalAlloc`'s callers never ask for, but other traits' do.
///
/// ```
/// use rawmap::PageAlloc;
/// use std::alloc::{GlobalAlloc, Layout};
/// let layout = Layout::from_size_align(100_000, 1 << 20).unwrap();
/// // SAFETY: the size isn't 0, and the block is freed with its own layout.
/// unsafe {
///     let block = PageAlloc.alloc_zeroed(layout);
///     assert!(!block.is_null() && block.addr() % (1 << 20) == 0);
///     assert_eq!(block.add(99_999).read(), 0);
///     PageAlloc.dealloc(block, layout);
/// }
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct PageAlloc;

const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Whole pages for `size` bytes, if there are so many.
fn pages(size: usize) -> Option<usize> {
    page_size().ok()?.round_up(size)
}

fn map(len: usize) -> Option<*mut u8> {
    // SAFETY: a new mapping, in place of nothing.
    unsafe { made(Call::mmap_anonymous(null_mut(), len, RW, MapFlags::PRIVATE)) }.ok()
}

/// # Safety
/// The range must be mapped, and nothing may refer to it.
unsafe fn unmap(addr: *mut u8, len: usize) {
    if len != 0 {
        // SAFETY: the caller's promise. If the kernel refuses (too many mappings), it stays mapped.
        let _ = unsafe { made(Call::munmap(addr, len)) };
    }
}

fn alloc(layout: Layout) -> Option<*mut u8> {
    let page = page_size().ok()?.bytes();
    let len = pages(layout.size()).filter(|len| *len != 0)?;
    if layout.align() <= page {
        return map(len);
    }
    let slack = layout.align() - page;
    let base = map(len.checked_add(slack)?)?;
    let head = base.addr().wrapping_neg() & (layout.align() - 1);
    let block = base.wrapping_add(head);
    // SAFETY: both ends of what was mapped just now.
    unsafe {
        unmap(base, head);
        unmap(block.wrapping_add(len), slack - head);
    }
    Some(block)
}

// SAFETY: blocks are mappings of their own, at least as long as asked for (a layout's size is at
// most isize::MAX) and aligned to the page, or to the alignment above it; null where there is none.
unsafe impl GlobalAlloc for PageAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        alloc(layout).unwrap_or(null_mut())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // New mappings are zeroes.
        alloc(layout).unwrap_or(null_mut())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(len) = pages(layout.size()) {
            // SAFETY: by the caller's promise the block is of this layout, and unused.
            unsafe { unmap(block, len) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (Some(old), Some(new)) = (pages(layout.size()), pages(size)) else {
            return null_mut();
        };
        if old == new {
            return block;
        }
        let movable = page_size().is_ok_and(|page| layout.align() <= page.bytes());
        let flags = if movable { MremapFlags::MAYMOVE } else { MremapFlags::default() };
        let null = without_provenance_mut(0);
        // SAFETY: by the caller's promise the block is of this layout, and nothing refers to it
        // but what comes back.
        if let Ok(moved) = unsafe { made(Call::mremap(block, old, new, flags, null)) } {
            return moved;
        }
        // It must move to a place that is aligned, or the kernel holds it in several parts.
        let Ok(layout_new) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        let Some(copy) = alloc(layout_new) else { return null_mut() };
        // SAFETY: two blocks of their own, of at least the smaller size.
        unsafe {
            copy.copy_from_nonoverlapping(block, layout.size().min(size));
            unmap(block, old);
        }
        copy
    }
}
