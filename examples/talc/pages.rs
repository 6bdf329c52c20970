//! The source of talc's memory, for programs with the standard library or without. It needs `core`, `rawmap`
//! and talc.
//!
//! talc is behind a lock, so a signal handler must neither allocate nor free. A forked child must not do so
//! either, if another thread may have held the lock at the fork.
#![allow(unreachable_pub)]

use core::alloc::Layout;
use core::ptr::NonNull;
use rawmap::{Mode, Reservation};
use talc::base::{Talc, binning::Binning};
use talc::source::Source;

/// A reservation, of which the heap is the front.
#[derive(Debug)]
pub struct Pages {
    /// Had when the first block is asked for.
    space: Option<Reservation>,
    /// The heap's end as an offset, up to which all is committed; 0 while there is no heap.
    end: usize,
}

impl Pages {
    /// The most that the program may ever use: address space, which costs nothing.
    const MOST: usize = 16 << 30;
    /// How much is committed at once, in bytes: whole pages of any size.
    const STEP: usize = 1 << 20;

    pub const fn new() -> Self {
        Self { space: None, end: 0 }
    }

    /// How many bytes are committed now.
    pub const fn committed(&self) -> usize {
        self.end
    }

    /// The reservation; `None` where there is no room for it.
    fn space(&mut self) -> Option<&Reservation> {
        if self.space.is_none() {
            self.space = Reservation::new(Self::MOST, Mode::Strict).ok();
        }
        self.space.as_ref()
    }
}

// SAFETY: memory is talc's from when it is committed until it is decommitted, behind the end that talc is told.
// Nothing here allocates.
unsafe impl Source for Pages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let end = talc.source.end;
        // The block, what it may be moved by for its alignment, and what talc keeps beside it.
        let need = layout.size().checked_add(layout.align() + 4096).ok_or(())?;
        let more = need.checked_next_multiple_of(Self::STEP).ok_or(())?;
        let new_end = end.checked_add(more).ok_or(())?;
        let space = talc.source.space().ok_or(())?;
        // ENOMEM: there is not so much memory, or not in this reservation.
        space.commit(end..new_end).map_err(|_| ())?;
        let start = space.as_ptr();
        // SAFETY: committed, this allocator's alone, and for good; the heap ends where it ended last, at a whole
        // number of steps.
        unsafe {
            match NonNull::new(start.add(end)).filter(|_| end != 0) {
                None => talc.claim(start, more).ok_or(())?,
                Some(heap_end) => talc.extend(heap_end, start.add(new_end)),
            };
        }
        talc.source.end = new_end;
        Ok(())
    }

    const TRACK_HEAP_END: bool = true;

    unsafe fn resize(&mut self, free: *mut u8, heap_end: *mut u8, _: bool) -> *mut u8 {
        let Some(space) = &self.space else { return heap_end };
        // What is free at the end is kept up to the step after next, so that one block that comes and goes costs
        // no call each time.
        let used = free.addr() - space.as_ptr().addr();
        let keep = used.next_multiple_of(Self::STEP) + Self::STEP;
        if keep + Self::STEP > self.end || space.decommit(keep..self.end).is_err() {
            return heap_end;
        }
        self.end = keep;
        space.as_ptr().wrapping_add(keep)
    }
}
