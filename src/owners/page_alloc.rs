//! [`PageAlloc`]: an allocator whose every block is a mapping of its own.

use crate::call::Call;
use crate::flags::{MapFlags, MremapFlags};
use crate::owners::error::issue;
use crate::owners::mapping::{Backing, RW};
use crate::owners::place::{self, give_back, rounded};
use crate::owners::process::{grows_into_stack_ground, page_size};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

/// An allocator that maps whole pages for each block. It is for large blocks, and as the source of memory for
/// other allocators.
///
/// [The guide to allocators](crate::guide::allocators) says what to use for small blocks.
///
/// A block takes up at least a page, and costs a call to allocate and another to free. But it grows by
/// `mremap`, which moves pages and copies nothing, so that a `Vec` grows to gigabytes without a copy. Zeroed
/// memory costs no more than other memory.
///
/// | operation | calls |
/// |---|---|
/// | `alloc`, `alloc_zeroed` | 1 `mmap`; for an alignment of more than a page, those of [`MapOptions::align`](crate::MapOptions::align) |
/// | `dealloc` | 1 `munmap` |
/// | `realloc` to less | 0 if the number of pages stays, else 1 `munmap` |
/// | `realloc` to more | 0 if the number of pages stays, else 1 `mremap`; where that is refused (the alignment is more than a page and there is no room behind the block, or parts of it differ by advice), those of `alloc` and `dealloc`, and a copy |
///
/// It has no state and takes no lock. So it may be used from several threads, from a signal handler that
/// interrupted it, and in a forked child. It returns a null pointer if it fails, as `GlobalAlloc` asks, and
/// also for size 0, which callers of `GlobalAlloc` never pass. Where the kernel refuses to unmap a block (the
/// process has as many mappings as it may have), the memory is freed nevertheless, but the address space is
/// not.
///
/// ```
/// use rawmap::PageAlloc;
/// use std::alloc::{GlobalAlloc, Layout};
/// let layout = Layout::from_size_align(100_000, 1 << 20).unwrap();
/// // SAFETY: the size isn't 0, and the block is freed with its
/// // own layout.
/// unsafe {
///     let block = PageAlloc.alloc_zeroed(layout);
///     assert!(!block.is_null() && block.addr() % (1 << 20) == 0);
///     assert_eq!(block.add(99_999).read(), 0);
///     PageAlloc.dealloc(block, layout);
/// }
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct PageAlloc;

/// Whole pages for `size` bytes, if there are so many.
fn pages(size: usize) -> Option<usize> {
    rounded("PageAlloc::alloc", size, page_size().ok()?).ok()
}

fn alloc(layout: Layout) -> Option<*mut u8> {
    let len = pages(layout.size()).filter(|len| *len != 0)?;
    let block =
        place::aligned("PageAlloc::alloc", len, layout.align(), RW, MapFlags::default()).ok()?;
    Some(block.into_raw_parts().start.as_ptr())
}

// SAFETY: blocks are mappings of their own, at least as long as asked for (a layout's size is at most
// isize::MAX) and aligned to the page, or to the alignment above it; null where there is none.
unsafe impl GlobalAlloc for PageAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        alloc(layout).unwrap_or(null_mut())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // New mappings are zeroes.
        alloc(layout).unwrap_or(null_mut())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(len) = pages(layout.size()).filter(|len| *len != 0) {
            // SAFETY: by the caller's promise the block is of this layout, and unused.
            unsafe { give_back(block, len, Backing::Anonymous) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (Some(old), Some(new)) = (pages(layout.size()), pages(size)) else {
            return null_mut();
        };
        if old == new {
            return block;
        }
        if 0 < new && new < old {
            let tail = block.wrapping_add(new);
            // SAFETY: by the caller's promise the block is of this layout, and what is behind its new size is
            // unused.
            unsafe { give_back(tail, old - new, Backing::Anonymous) };
            return block;
        }
        // Where the kernel may let it grow in place, it does not look at the stack's distance.
        let (end, new_end) = (block.addr() + old, block.addr().saturating_add(new));
        if grows_into_stack_ground(end, new_end) == Ok(false) {
            let movable = page_size().is_ok_and(|page| layout.align() <= page.bytes());
            let flags = if movable { MremapFlags::MAYMOVE } else { MremapFlags::default() };
            // SAFETY: by the caller's promise the block is of this layout, and nothing refers to it but what
            // comes back.
            if let Ok(grown) = unsafe { issue(Call::mremap(block, old, new, flags, null_mut())) } {
                return grown;
            }
        }
        // It must move to a place that is aligned, or the kernel holds it in several parts.
        let Ok(layout_new) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        let Some(copy) = alloc(layout_new) else { return null_mut() };
        // SAFETY: two blocks of their own, of at least the smaller size; and of the old one nothing is used
        // any more.
        unsafe {
            copy.copy_from_nonoverlapping(block, layout.size().min(size));
            give_back(block, old, Backing::Anonymous);
        }
        copy
    }
}
