//! Other people's allocators and guest memory on top of the crate, each through its own trait: the
//! adapters are what a user of both would write. All pass the same stress test.

mod common;
#[path = "../examples/allocator/heap.rs"]
mod heap;
#[path = "../examples/allocator/stress.rs"]
mod stress;

use common::{RW, emulator, memfd, page};
use rawmap::{
    Backing, Fd, MapFlags, MapOptions, Mapping, Mode, PageAlloc, PageSize, Prot, Raw, RawParts,
    Reservation, Sharing,
};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::{NonNull, null_mut};
use std::sync::Mutex;

/// Under an emulator less: it takes its time.
fn rounds() -> usize {
    if emulator().is_some() { 400 } else { 4_000 }
}

/// An allocator that needs `&mut`, made one for all threads. The lock is the test's, not the crate's.
struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    fn new(allocator: T) -> Self {
        Self(Mutex::new(allocator))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}

/// dlmalloc's trait has addresses and lengths, and so have the raw functions: a line each.
#[test]
fn dlmalloc_runs_on_the_raw_functions() {
    stress::blocks(&heap::Heap, rounds());
    heap::Heap.trim();
}

/// rlsf's source: mappings of its own, grown where they are, unmapped with the allocator.
struct ForRlsf(PageSize);

impl ForRlsf {
    /// The mapping that a pool is.
    ///
    /// # Safety
    /// The pool is one of `alloc`, of whole pages, and nobody else makes an owner of it.
    unsafe fn mapping(&self, pool: NonNull<[u8]>) -> Mapping<Raw> {
        let parts = RawParts {
            start: pool.cast(),
            len: pool.len(),
            granule: self.0,
            backing: Backing::Anonymous,
        };
        // SAFETY: private anonymous memory, which the kernel placed; the rest is the caller's promise.
        unsafe { Mapping::from_raw_parts(parts) }.expect("it was a mapping")
    }
}

// SAFETY: a pool is a mapping, whole pages, and is given back only once.
unsafe impl rlsf::FlexSource for ForRlsf {
    unsafe fn alloc(&mut self, min_size: usize) -> Option<NonNull<[u8]>> {
        let len = self.0.round_up(min_size)?;
        Some(MapOptions::new(len).anonymous().ok()?.leak().into())
    }

    unsafe fn realloc_inplace_grow(&mut self, pool: NonNull<[u8]>, len: usize) -> Option<usize> {
        let len = self.0.round_up(len)?;
        // SAFETY: a pool from `alloc`, which goes back to rlsf below, whatever happens.
        let mut map = unsafe { self.mapping(pool) };
        let grown = map.resize_in_place(len);
        let len = map.into_raw_parts().len;
        grown.is_ok().then_some(len)
    }

    unsafe fn dealloc(&mut self, pool: NonNull<[u8]>) {
        // SAFETY: a mapping from `alloc`, of which nobody has a pointer any more.
        drop(unsafe { self.mapping(pool) });
    }

    fn supports_dealloc(&self) -> bool {
        true
    }

    fn supports_realloc_inplace_grow(&self) -> bool {
        true
    }

    fn min_align(&self) -> usize {
        4096 // every page size is a multiple
    }
}

type Tlsf<S> = rlsf::FlexTlsf<S, u32, u32, 32, 32>;

// SAFETY: rlsf's functions have the same contract.
unsafe impl<S: rlsf::FlexSource> GlobalAlloc for Locked<Tlsf<S>> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.lock().allocate(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above; no block is null.
        unsafe { self.lock().deallocate(NonNull::new_unchecked(ptr), layout.align()) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(layout) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        // SAFETY: as above.
        let moved = unsafe { self.lock().reallocate(NonNull::new_unchecked(ptr), layout) };
        moved.map_or(null_mut(), NonNull::as_ptr)
    }
}

#[test]
fn rlsf_runs_on_mappings_that_grow_in_place() {
    stress::blocks(&Locked::new(Tlsf::new(ForRlsf(PageSize::find().unwrap()))), rounds());
}

#[test]
fn rlsf_takes_page_alloc_as_it_is() {
    let source = rlsf::GlobalAllocAsFlexSource::<PageAlloc, 4096>(PageAlloc);
    stress::blocks(&Locked::new(Tlsf::new(source)), rounds());
}

/// talc's source: one reservation, of which the heap takes more and more, and gives back what is
/// free at its end. What is not claimed is not committed either.
#[derive(Debug)]
struct ForTalc {
    space: Reservation,
    /// The heap's end, as an offset; 0 while there is none. Up to the next step, all is committed.
    end: usize,
}

impl ForTalc {
    /// How much is taken and given back at once, in bytes: whole pages of any size.
    const STEP: usize = 1 << 20;

    fn new(len: usize, mode: Mode) -> Self {
        Self { space: Reservation::new(len, mode).unwrap(), end: 0 }
    }
}

// SAFETY: memory is talc's from when it is committed until it is decommitted behind the heap's end.
unsafe impl talc::source::Source for ForTalc {
    fn acquire<B: talc::base::binning::Binning>(
        talc: &mut talc::base::Talc<Self, B>,
        layout: Layout,
    ) -> Result<(), ()> {
        let (start, end) = (talc.source.space.as_ptr(), talc.source.end);
        let committed = end.next_multiple_of(Self::STEP);
        let more = (layout.size() + layout.align()).next_multiple_of(Self::STEP) + Self::STEP;
        talc.source.space.commit(committed..committed + more).map_err(|_| ())?;
        // SAFETY: committed just now, and up to there before; `end` is what talc said.
        let new_end = unsafe {
            match NonNull::new(start.add(end)).filter(|_| end != 0) {
                None => talc.claim(start, more).ok_or(())?,
                Some(end) => talc.extend(end, start.add(committed + more)),
            }
        };
        talc.source.end = new_end.addr().get() - start.addr();
        Ok(())
    }

    const TRACK_HEAP_END: bool = true;

    unsafe fn resize(&mut self, free: *mut u8, end: *mut u8, whole: bool) -> *mut u8 {
        let keep = (free.addr() - self.space.as_ptr().addr() + 1).next_multiple_of(Self::STEP);
        let committed = self.end.next_multiple_of(Self::STEP);
        if whole || keep >= committed || self.space.decommit(keep..committed).is_err() {
            return end;
        }
        self.end = keep;
        self.space.as_ptr().wrapping_add(keep)
    }
}

// SAFETY: talc's functions have the same contract.
unsafe impl<S: talc::source::Source> GlobalAlloc
    for Locked<talc::base::Talc<S, talc::DefaultBinning>>
{
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.lock().allocate(layout) }.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.lock().deallocate(ptr, layout) }
    }
}

#[test]
fn talc_runs_on_a_reservation_of_either_mode() {
    for mode in [Mode::Strict, Mode::Overcommit] {
        let heap = Locked::new(talc::base::Talc::new(ForTalc::new(1 << 30, mode)));
        stress::blocks(&heap, rounds());
        // Of many MiB, all that is free was given back.
        assert_eq!(heap.lock().source.end, ForTalc::STEP, "{mode:?}");
    }
}

#[test]
fn talc_takes_page_alloc_as_it_is() {
    let source = talc::source::GlobalAllocSource::new(PageAlloc);
    stress::blocks(&Locked::new(talc::base::Talc::new(source)), rounds());
}

/// allocator-api2's trait is `GlobalAlloc` with slices: its grow is PageAlloc's realloc, and so a
/// vector of it grows by mremap.
#[derive(Clone, Copy, Debug)]
struct ForApi2;

fn slice(ptr: *mut u8, len: usize) -> Result<NonNull<[u8]>, allocator_api2::alloc::AllocError> {
    let start = NonNull::new(ptr).ok_or(allocator_api2::alloc::AllocError)?;
    Ok(NonNull::slice_from_raw_parts(start, len))
}

// SAFETY: PageAlloc's blocks fit their layouts and live until they are freed, wherever the value
// of this type is moved; size 0, which it does not take, is a block of one byte.
unsafe impl allocator_api2::alloc::Allocator for ForApi2 {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, allocator_api2::alloc::AllocError> {
        // SAFETY: the size isn't 0.
        slice(unsafe { PageAlloc.alloc(at_least_one(layout)) }, layout.size())
    }

    fn allocate_zeroed(
        &self,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, allocator_api2::alloc::AllocError> {
        self.allocate(layout)
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { PageAlloc.dealloc(ptr.as_ptr(), at_least_one(layout)) }
    }

    unsafe fn grow(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, allocator_api2::alloc::AllocError> {
        assert_eq!(old.align(), new.align(), "no collection changes it");
        let size = at_least_one(new).size();
        // SAFETY: the caller's promise; the new size is not less, and not 0.
        let grown = unsafe { PageAlloc.realloc(ptr.as_ptr(), at_least_one(old), size) };
        slice(grown, new.size())
    }
}

fn at_least_one(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size().max(1), layout.align()).expect("one byte")
}

/// The other way round, to put it under the same stress.
struct FromApi2<A>(A);

// SAFETY: the trait's functions have the same contract.
unsafe impl<A: allocator_api2::alloc::Allocator> GlobalAlloc for FromApi2<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.allocate(layout).map_or(null_mut(), |block| block.as_ptr().cast())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.0.allocate_zeroed(layout).map_or(null_mut(), |block| block.as_ptr().cast())
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above; no block is null.
        unsafe { self.0.deallocate(NonNull::new_unchecked(ptr), layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        // SAFETY: as above.
        let moved = unsafe {
            let ptr = NonNull::new_unchecked(ptr);
            if size < layout.size() {
                self.0.shrink(ptr, layout, new)
            } else {
                self.0.grow(ptr, layout, new)
            }
        };
        moved.map_or(null_mut(), |block| block.as_ptr().cast())
    }
}

#[test]
fn allocator_api2_runs_on_page_alloc() {
    stress::blocks(&FromApi2(ForApi2), rounds());
}

#[test]
fn a_vector_and_a_box_of_allocator_api2_live_in_mappings_of_their_own() {
    let mut numbers = allocator_api2::vec::Vec::new_in(ForApi2);
    numbers.extend(0..1_000_000u64);
    assert_eq!(numbers.as_ptr().addr() % page(), 0);
    assert!(numbers.iter().zip(0..).all(|(number, n)| *number == n));
    let boxed = allocator_api2::boxed::Box::new_in([7u8; 100], ForApi2);
    assert_eq!(boxed.as_ptr().addr() % page(), 0);
    assert_eq!(*boxed, [7; 100]);
}

/// A guest's memory is a mapping that outlives the region: vm-memory borrows it, and unmaps nothing.
fn region(
    map: &Mapping<Raw>,
    prot: Prot,
    flags: MapFlags,
    base: u64,
) -> vm_memory::GuestRegionMmap {
    let (prot, flags) = (prot.bits() as i32, flags.bits() as i32);
    // SAFETY: mapped, with this protection and these flags; the caller keeps it.
    let region = unsafe { vm_memory::MmapRegion::build_raw(map.as_ptr(), map.len(), prot, flags) };
    vm_memory::GuestRegionMmap::new(region.unwrap(), vm_memory::GuestAddress(base)).unwrap()
}

#[test]
fn vm_memory_reads_and_writes_a_guest_region_on_a_mapping() {
    use std::os::fd::AsRawFd;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
    let len = 16 * page();
    let file = memfd(len as u64);
    // SAFETY: `file` stays open.
    let fd = unsafe { Fd::borrow_raw(file.as_raw_fd()) };
    let map = || MapOptions::whole().file_raw(fd, 0, RW, Sharing::Shared).unwrap();
    let (ram, device) = (map(), map());
    let private = MapOptions::new(2 * page()).raw(RW, Sharing::Private).unwrap();

    let guest = GuestMemoryMmap::from_regions(vec![
        region(&ram, RW, MapFlags::SHARED, 0x8000_0000),
        region(&private, RW, common::ANON, 0x1_0000_0000),
    ])
    .unwrap();
    assert_eq!(guest.num_regions(), 2);
    assert_eq!(guest.find_region(GuestAddress(0x8000_0000)).unwrap().len(), len as u64);

    // What the guest writes, a device sees in its own mapping, and the other way round.
    guest.write_slice(b"from the guest", GuestAddress(0x8000_0010)).unwrap();
    // SAFETY: within the mapping, which nobody writes at the same time.
    let seen = unsafe { std::slice::from_raw_parts(device.as_ptr().add(0x10), 14) };
    assert_eq!(seen, b"from the guest");
    let word = len - 8;
    // SAFETY: the last word of the mapping, aligned.
    unsafe { device.as_ptr().add(word).cast::<u64>().write_volatile(0x0123_4567_89ab_cdef) };
    let read: u64 = guest.read_obj(GuestAddress(0x8000_0000 + word as u64)).unwrap();
    assert_eq!(read, 0x0123_4567_89ab_cdef);

    // The other region; its neighbours are not guest memory.
    let end = 0x1_0000_0000 + 2 * page() as u64;
    guest.write_obj(42u32, GuestAddress(end - 4)).unwrap();
    assert_eq!(guest.read_obj::<u32>(GuestAddress(end - 4)).unwrap(), 42);
    assert!(guest.write_obj(42u32, GuestAddress(end - 3)).is_err());
    assert!(guest.read_obj::<u8>(GuestAddress(0x8000_0000 + len as u64)).is_err());

    // A region borrows: after it, the memory is there, and is unmapped by its owner.
    drop(guest);
    // SAFETY: within the mapping.
    assert_eq!(unsafe { ram.as_ptr().add(0x10).read() }, b'f');
    ram.unmap().unwrap();
}
