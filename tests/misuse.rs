//! What no test may do: Miri must report each of these, and `ci/miri.sh` sees to it. Before each stands
//! what Miri must say.
#![cfg(miri)]

use rawmap::{Advice, MapFlags, MremapFlags, PageSize, Prot};
use rawmap::{madvise, mmap_anonymous, mprotect, mremap, munmap};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};
use std::thread;

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn page() -> usize {
    PageSize::find().unwrap().bytes()
}

/// Two pages of new memory.
fn two_pages(prot: Prot) -> *mut u8 {
    // SAFETY: a new mapping.
    unsafe { mmap_anonymous(null_mut(), 2 * page(), prot, MapFlags::PRIVATE) }.unwrap()
}

/// Expands to one ignored test for each misuse, which does it after its name and what Miri must say were
/// printed.
macro_rules! misuses {
    ($($name:ident($memory:ident: $prot:expr) says $message:literal $misuse:block)*) => {$(
        #[test]
        #[ignore = $message]
        fn $name() {
            let $memory = two_pages($prot);
            // SAFETY: there is none, which is what Miri is to report.
            unsafe { $misuse }
        }
    )*};
}

misuses! {
    memory_is_read_after_munmap(memory: RW) says "has been freed" {
        munmap(memory, 2 * page()).unwrap();
        memory.read();
    }
    memory_is_written_after_munmap(memory: RW) says "has been freed" {
        munmap(memory, 2 * page()).unwrap();
        memory.write(1);
    }
    a_part_is_read_after_munmap(memory: RW) says "write on thread `munmap` and (2) non-atomic read" {
        munmap(memory, page()).unwrap();
        memory.add(page()).read();
        memory.read();
    }
    a_part_is_written_after_munmap(memory: RW) says "write on thread `munmap` and (2) non-atomic write" {
        munmap(memory.add(page()), page()).unwrap();
        memory.write(1);
        memory.add(page()).write(1);
    }
    inaccessible_memory_is_read(memory: Prot::NONE) says "write on thread `PROT_NONE` and (2) non-atomic read" {
        mprotect(memory, page(), RW).unwrap();
        memory.read();
        memory.add(page()).read();
    }
    inaccessible_memory_is_written(memory: RW) says "write on thread `PROT_NONE` and (2) non-atomic write" {
        mprotect(memory, page(), Prot::NONE).unwrap();
        memory.add(page()).write(1);
        memory.write(1);
    }
    read_only_memory_is_written(memory: RW) says "read on thread `not PROT_WRITE` and (2) non-atomic write" {
        mprotect(memory, page(), Prot::READ).unwrap();
        memory.read();
        memory.write(1);
    }
    a_guard_is_read(memory: RW) says "write on thread `MADV_GUARD` and (2) non-atomic read" {
        madvise(memory, page(), Advice::GUARD_INSTALL).unwrap();
        memory.add(page()).read();
        memory.read();
    }
    a_guard_is_written(memory: RW) says "write on thread `MADV_GUARD` and (2) non-atomic write" {
        madvise(memory, page(), Advice::GUARD_INSTALL).unwrap();
        memory.write(1);
    }
    memory_is_read_where_it_was_before_mremap(memory: RW) says "has been freed" {
        let moved = mremap(memory, 2 * page(), 3 * page(), MremapFlags::MAYMOVE, null_mut()).unwrap();
        moved.read();
        memory.read();
    }
    memory_is_read_behind_its_end(memory: RW) says "beyond the end of the allocation" {
        memory.add(2 * page() - 1).read();
        memory.wrapping_add(2 * page()).read();
    }
    a_reference_is_used_after_its_memory_was_dropped(memory: RW) says "forbidden" {
        let byte = &mut *memory;
        *byte = 1;
        madvise(memory, page(), Advice::DONTNEED).unwrap();
        *byte = 2;
    }
    memory_is_unmapped_while_another_thread_uses_it(memory: RW) says "Data race detected" {
        let shared = AtomicPtr::new(memory);
        let written = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                shared.load(Relaxed).write(1);
                written.store(true, Relaxed);
            });
            // So that the write comes first in each run, and is not ordered before munmap.
            while !written.load(Relaxed) {
                thread::yield_now();
            }
            munmap(memory, 2 * page()).unwrap();
        });
    }
    two_threads_write_without_order(memory: RW) says "Data race detected" {
        let shared = AtomicPtr::new(memory);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| shared.load(Relaxed).write(1));
            }
        });
        munmap(memory, 2 * page()).unwrap();
    }
    memory_is_leaked(memory: RW) says "memory leaked" {
        memory.write(1);
    }
}
