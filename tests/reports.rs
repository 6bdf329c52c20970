//! What people reported as bugs of allocators, runtimes and drivers' libraries, each made small: what was
//! to happen there happens here.
mod common;
use common::*;
use rawmap::{
    Backing, DualMapping, Errno, MapFlags, MapOptions, Mapping, Mode, MremapFlags, PageAlloc, Prot,
    Purged, Raw, Reservation, Sharing, Stack, Word, arch, mmap_anonymous, mprotect, mremap, munmap,
};
use std::alloc::{GlobalAlloc, Layout};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A mapping of a descriptor's memory that others write too.
fn shared_of(file: &impl AsRawFd, len: usize, offset: u64) -> Result<Mapping<Raw>, rawmap::Error> {
    MapOptions::new(len).file_raw(lent(file), offset, RW, Sharing::Shared)
}

/// Resident pages of the process. Allocates nothing, so that it can be asked when nothing can be mapped.
fn resident_pages() -> usize {
    let mut text = [0_u8; 128];
    // SAFETY: reads as much as there is room for.
    let len = unsafe {
        let fd = libc::open(c"/proc/self/statm".as_ptr(), libc::O_RDONLY);
        let len = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        usize::try_from(len).unwrap()
    };
    let text = std::str::from_utf8(&text[..len]).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Makes as many mappings as the process may have, until none can be split any more. They are left.
fn use_up_mappings() {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let len = 2 * most.trim().parse::<usize>().unwrap() * page();
    // SAFETY: new memory, of which every other page is protected otherwise.
    unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let filler = mmap_anonymous(null_mut(), len, Prot::NONE, flags).unwrap();
        let refused = (0..len / page())
            .step_by(2)
            .find_map(|n| mprotect(filler.add(n * page()), page(), Prot::READ).err());
        assert_eq!(refused, Some(Errno::ENOMEM));
    }
}

/// A just-in-time compiler in a service that systemd starts with MemoryDenyWriteExecute.
#[test]
fn code_memory_is_had_where_writable_memory_may_not_become_executable() {
    const PR_SET_MDWE: i32 = 65;
    alone(|| {
        // SAFETY: a plain call; it is for this child.
        if unsafe { libc::prctl(PR_SET_MDWE, 1, 0, 0, 0) } != 0 {
            return skip!("no PR_SET_MDWE (Linux 6.3): {}", std::io::Error::last_os_error());
        }
        let mut code = DualMapping::new(1).unwrap();
        code.write(0, RETURN_42).unwrap();
        code.publish(..).unwrap();
        assert_eq!(running(code.run_ptr().cast_mut()), End::Exit(42));
    });
}

/// An allocator at the limit of mappings: what was given back by halves stayed resident, or a shrinking
/// `realloc` copied to new memory and kept the old one too.
#[test]
fn a_block_that_can_not_be_cut_shrinks_in_place_and_costs_no_more_than_before() {
    if emulator().is_some() {
        return skip!("the emulator makes mappings of its own");
    }
    alone(|| {
        let layout = Layout::from_size_align(4 * MIB, 4096).unwrap();
        // SAFETY: the size is not 0, and each block is used with its layout.
        unsafe {
            let blocks: [*mut u8; 6] = std::array::from_fn(|_| PageAlloc.alloc(layout));
            for block in blocks {
                block.write_bytes(1, layout.size());
            }
            use_up_mappings();
            let before = resident_pages();
            let block = PageAlloc.realloc(blocks[2], layout, MIB);
            assert_eq!((block, block.read(), block.add(MIB - 1).read()), (blocks[2], 1, 1));
            let freed = before.saturating_sub(resident_pages());
            assert!(freed >= 2 * MIB / page(), "of 3 MiB {freed} pages are free");
            // Nor does what is freed for good stay resident.
            let before = resident_pages();
            PageAlloc.dealloc(blocks[4], layout);
            let freed = before.saturating_sub(resident_pages());
            assert!(freed >= 3 * MIB / page(), "of 4 MiB {freed} pages are free");
        }
    });
}

/// The rings of an io_uring, which its driver maps.
fn uring() -> Option<Mapping<Raw>> {
    const IO_URING_SETUP: usize = 425;
    let mut params = [0_u32; 30];
    let out = Word::ptr(params.as_mut_ptr().cast());
    // SAFETY: the kernel fills the 120 bytes of parameters; the descriptor is new and ours.
    let ring = unsafe {
        let made = arch::syscall2(Word::int(8), out, IO_URING_SETUP);
        OwnedFd::from_raw_fd(Errno::decode(made).ok()?.bits() as i32)
    };
    Some(shared_of(&ring, page(), 0).unwrap())
}

/// MADV_DONTNEED of an io_uring's memory unmaps it from the page tables for good.
#[test]
fn a_drivers_memory_is_not_purged() {
    let Some(mut ring) = uring() else {
        return skip!("no io_uring here");
    };
    let said = ring.purge(..).unwrap_err().to_string();
    assert_eq!(said, "Mapping::purge: the memory of a shared file is the file's; see punch_hole");
    assert_eq!(reading(ring.as_ptr()), OK);
}

/// Runtimes of green threads ended at half of vm.max_map_count, since each guard splits a mapping.
#[test]
fn there_may_be_forty_thousand_stacks() {
    if emulator().is_some() || kernel() < (6, 13) {
        return skip!("the kernel has no MADV_GUARD_INSTALL");
    }
    alone(|| {
        let mut stacks = Vec::with_capacity(40_000);
        for _ in 0..40_000 {
            stacks.push(Stack::new(16 * KIB).unwrap());
        }
        for stack in &stacks {
            // SAFETY: the topmost byte, and nobody runs on it.
            unsafe { stack.top().sub(1).write(1) };
        }
        for stack in [&stacks[0], &stacks[20_000], &stacks[39_999]] {
            assert_eq!(writing(stack.bottom().wrapping_sub(1)), SEGV);
        }
    });
}

/// A detached thread that frees its own stack: between that and its end there is no stack to use.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_thread_unmaps_the_stack_that_it_stands_on_and_ends() {
    extern "C" fn end(bottom: *mut u8, len: usize) -> ! {
        // SAFETY: nothing but this frame is there, and it is not used any more: the calls are inlined
        // instructions. The number is that of `exit`.
        unsafe {
            core::arch::asm!(
                "syscall", "mov edi, eax", "neg edi", "mov eax, 60", "syscall",
                in("rax") arch::nr::MUNMAP, in("rdi") bottom, in("rsi") len, options(noreturn),
            )
        }
    }
    let ended = in_child(|| {
        let stack = Stack::new(64 * KIB).unwrap();
        let top = stack.top();
        let parts = stack.into_raw().into_raw_parts();
        // SAFETY: an aligned top of a stack that nobody runs on, and a function that does not return.
        unsafe {
            core::arch::asm!(
                "mov rsp, {}", "call {}", in(reg) top, sym end,
                in("rdi") parts.start.as_ptr(), in("rsi") parts.len, options(noreturn),
            )
        }
    });
    assert_eq!(ended, OK);
}

/// Purging what was taken apart and put together again forgot that it was shared, and freed nothing.
#[test]
fn shared_memory_that_comes_back_from_its_parts_is_purged_as_shared_memory() {
    let shared = MapOptions::new(1).raw(RW, Sharing::Shared).unwrap();
    let parts = shared.into_raw_parts();
    assert_eq!(parts.backing, Backing::SharedAnonymous);
    // SAFETY: given up by the lines above.
    let mut back: Mapping<Raw> = unsafe { Mapping::from_raw_parts(parts) }.unwrap();
    // SAFETY: ours, and it can be written and read.
    let byte = unsafe {
        back.as_ptr().write(5);
        assert_eq!(back.purge(..), Ok(Purged::Zeroes));
        back.as_ptr().read()
    };
    answers!(0, byte, qemu ..11 => 5, "MADV_REMOVE does nothing, and succeeds");
}

/// A driver's memory can't grow (VM_DONTEXPAND), which is no reason not to move it. Some drivers don't let
/// it be moved to an address of one's choice (io_uring since Linux 6.5), which the kernel finds out when it
/// has unmapped what lies there.
#[test]
fn a_drivers_memory_is_moved_into_a_place_or_both_stay() {
    alone(|| {
        let Some(mut ring) = uring() else {
            return skip!("no io_uring here");
        };
        let place = Reservation::new(page(), Mode::Strict).unwrap();
        let (from, to, mut space) = (ring.as_ptr(), place.as_ptr(), Space::new());
        match place.place(&mut ring) {
            Ok(()) => assert_eq!((ring.as_ptr(), reading(to)), (to, OK)),
            Err(refused) => {
                assert_eq!((ring.as_ptr(), reading(from)), (from, OK));
                assert_eq!(refused.error().errno(), Errno::EINVAL);
                space.look();
                assert!(
                    space.has(to, page()),
                    "else it is anybody's, and not the owner's to unmap"
                );
                refused.into_owner().unwrap().commit(..).unwrap();
            }
        }
    });
}

/// The rings of an AF_XDP socket lie at offsets up to 6 GiB; libraries for 32 bits cut them.
#[test]
fn an_offset_of_more_than_32_bits_reaches_the_driver() {
    const SOL_XDP: i32 = 283;
    const XDP_UMEM_REG: i32 = 4;
    const RINGS: [i32; 4] = [2, 3, 5, 6];
    // SAFETY: a plain call.
    let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) };
    if socket < 0 {
        return skip!("no AF_XDP socket: {}", std::io::Error::last_os_error());
    }
    // SAFETY: new, and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let set = |option, value: *const u8, len| {
        // SAFETY: `value` points to so many bytes.
        unsafe { libc::setsockopt(socket.as_raw_fd(), SOL_XDP, option, value.cast(), len) }
    };
    let frames = MapOptions::new(MIB).anonymous().unwrap();
    let register = [frames.as_ptr().expose_provenance() as u64, MIB as u64, 4096, 0];
    if set(XDP_UMEM_REG, (&raw const register).cast(), 24) != 0 {
        return skip!("no memory for AF_XDP: {}", std::io::Error::last_os_error());
    }
    let entries = 64_u32;
    for ring in RINGS {
        assert_eq!(set(ring, (&raw const entries).cast(), 4), 0, "ring {ring}");
    }
    for offset in [0, 0x8000_0000, 0x1_0000_0000, 0x1_8000_0000] {
        let ring = shared_of(&socket, page(), offset).unwrap();
        assert_eq!(reading(ring.as_ptr()), OK, "{offset:#x}");
    }
    // No ring there; and the words of the call do not say why.
    let error = shared_of(&socket, page(), 0x2_0000_0000).unwrap_err();
    assert_eq!((error.errno(), error.reason()), (Errno::EINVAL, None));
    assert!(error.to_string().contains("0x200000000") || error.to_string().contains("8589934592"));
}

/// A database that maps more than its file has, and grows the file later.
#[test]
fn what_lies_behind_the_end_of_a_file_says_so_before_it_is_touched() {
    let file = memfd(page() as u64);
    let mut map = shared_of(&file, page(), 0).unwrap();
    // SAFETY: nobody else has mapped the file.
    unsafe { map.resize_file(2 * page()) }.unwrap();
    refused!(EFAULT, map.populate_write(..).map_err(|it| it.errno()),
        qemu ..11 => Ok(()), "MADV_POPULATE_WRITE does nothing, and succeeds");
    file.set_len(2 * page() as u64).unwrap();
    map.populate_write(..).unwrap();
    assert_eq!(writing(map.as_ptr().wrapping_add(2 * page() - 1)), OK);
}

/// A garbage collector moves pages, and catches who still uses the old ones.
#[test]
fn a_moving_collector_leaves_the_old_range_mapped_and_empty() {
    let from = MapOptions::new(MIB).raw(RW, Sharing::Private).unwrap();
    let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    // SAFETY: ours, it can be written, and nothing refers to it; what is moved is unmapped.
    unsafe {
        from.as_ptr().write_bytes(9, MIB);
        match mremap(from.as_ptr(), MIB, MIB, flags, null_mut()) {
            Ok(to) => {
                assert_eq!((from.as_ptr().read(), to.read(), to.add(MIB - 1).read()), (0, 9, 9));
                munmap(to, MIB).unwrap();
            }
            Err(errno) => {
                assert!(emulator().is_some() || kernel() < (5, 7), "{errno}");
                skip!("no MREMAP_DONTUNMAP: {errno}");
            }
        }
    }
}
