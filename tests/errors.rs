//! The errors: each that the manual pages of the calls give and a test can provoke.
//!
//! Not among them: what takes a broken disk or broken memory (EIO, EHWPOISON), a machine out of
//! memory or files (ENFILE, `mincore`'s and `mlock`'s EAGAIN), a swap file (`mmap`'s ETXTBSY), or a
//! signal that kills the caller (EINTR).
mod common;
use common::*;
use rawmap::*;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

const PRIVATE: MapFlags = MapFlags::PRIVATE;
const SHARED: MapFlags = MapFlags::SHARED;
const FIXED: MapFlags = MapFlags::FIXED;
const MAYMOVE: MremapFlags = MremapFlags::MAYMOVE;

/// A length that becomes 0 when it is rounded up to whole pages.
const WRAPS: usize = usize::MAX;

/// The longest whole number of pages: from any address on, it wraps.
fn longest() -> usize {
    WRAPS - (page() - 1)
}

/// Three pages of private memory of which the middle one is not mapped; for [`alone`] only, where
/// nobody else maps anything there, and after all other mappings, which would fill the hole.
fn holed() -> *mut u8 {
    let map = anonymous(3 * page(), RW);
    // SAFETY: a page of ours that nothing refers to.
    unsafe { munmap(map.add(page()), page()) }.unwrap();
    map
}

/// A file of a page, open for reading only, and for writing only.
fn read_only_and_write_only() -> (File, File) {
    let (path, file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let opened = (File::open(&path).unwrap(), File::options().write(true).open(&path).unwrap());
    std::fs::remove_file(path).unwrap();
    opened
}

/// Does `claims` as a user without any right, who may lock so many bytes.
#[track_caller]
fn as_a_user_who_may_lock(bytes: usize, claims: impl FnOnce()) {
    alone(|| {
        limit(libc::RLIMIT_MEMLOCK, bytes as u64);
        give_up_rights();
        claims();
    });
}

/// Ends the test where there is no mseal(2), and says why.
macro_rules! need_mseal {
    () => {
        // SAFETY: a range of length 0 holds no memory.
        match unsafe { mseal(null_mut(), 0, MsealFlags::default()) } {
            Err(Errno::ENOSYS) if emulator().is_some() => return departure!("there is no mseal"),
            Err(Errno::ENOSYS) if kernel() < (6, 10) => return skip!("mseal came with Linux 6.10"),
            Err(Errno::ENOSYS) if mseal_is_filtered() => return skip!("a filter hides mseal"),
            known => assert_eq!(known, Ok(())),
        }
    };
}

/// Ends the test where the kernel has no huge-page pool (not even an empty one), and says why.
macro_rules! need_hugetlb {
    () => {
        match huge_page() {
            Some(bytes) => bytes,
            None => return skip!("the kernel has no huge-page pool (CONFIG_HUGETLB_PAGE)"),
        }
    };
}

// ---- The call itself ----

#[test]
fn a_call_that_the_kernel_lacks_is_enosys() {
    // SAFETY: no call has this number.
    let lacking = unsafe { arch::syscall0(4000) };
    assert_eq!(Errno::decode(lacking), Err(Errno::ENOSYS));
}

// ---- mmap ----

#[test]
fn mmap_of_no_open_file_is_ebadf_whatever_else_is_wrong() {
    let path_only =
        std::os::unix::fs::OpenOptionsExt::custom_flags(File::options().read(true), libc::O_PATH)
            .open("/")
            .unwrap();
    for fd in [NO_FD, i32::MAX, i32::MIN, path_only.as_raw_fd()] {
        // SAFETY: nothing is mapped.
        unsafe {
            refused!(EBADF, mmap(null_mut(), page(), Prot::READ, PRIVATE, fd, 0));
            refused!(
                EBADF, mmap(null_mut(), page(), Prot::READ, MapFlags::FILE, fd, 0),
                qemu _ => Err(Errno::EINVAL), "the descriptor is looked at last"
            );
            refused!(
                EBADF, mmap(null_mut(), 0, Prot::READ, PRIVATE, fd, 0),
                qemu _ => Err(Errno::EINVAL), "the descriptor is looked at last"
            );
            refused!(
                EBADF, mmap(at(1), page(), Prot::READ, PRIVATE | FIXED, fd, 0),
                qemu _ => Err(Errno::EINVAL), "the descriptor is looked at last"
            );
        }
    }
}

#[test]
fn mmap_of_length_zero_is_einval() {
    refused!(EINVAL, map(&file_of_pages(1), 0, Prot::READ, SHARED, 0));
    // SAFETY: nothing is mapped.
    refused!(EINVAL, unsafe { mmap_anonymous(null_mut(), 0, Prot::READ, PRIVATE) });
}

#[test]
fn mmap_at_an_unaligned_offset_is_einval_for_anonymous_memory_and_no_file_too() {
    let file = file_of_pages(1);
    for offset in [1, page() as u64 / 2, page() as u64 + 1, u64::MAX] {
        refused!(EINVAL, map(&file, page(), Prot::READ, SHARED, offset));
        // SAFETY: nothing is mapped.
        unsafe {
            refused!(EINVAL, mmap(null_mut(), page(), Prot::READ, ANON, NO_FD, offset));
            refused!(EINVAL, mmap(null_mut(), page(), Prot::READ, PRIVATE, NO_FD, offset));
        }
    }
}

/// What `mmap` says to a sharing, for a file and for anonymous memory.
fn map_shared_as(sharing: usize) -> Result<(), Errno> {
    let flags = MapFlags::from_bits(sharing);
    let file = map(&file_of_pages(1), page(), Prot::READ, flags, 0).map(drop);
    if flags != MapFlags::DROPPABLE {
        // SAFETY: nothing is mapped, or a new mapping.
        let anonymous = unsafe { mmap_anonymous(null_mut(), page(), Prot::READ, flags) };
        assert_eq!(anonymous.map(drop), file);
    }
    file
}

#[test]
fn mmap_without_a_sharing_or_with_an_unknown_one_is_einval() {
    for sharing in [0, 4, 7, 8, 11, 12, 15] {
        refused!(EINVAL, map_shared_as(sharing));
    }
    // These have the two low bits of a known one.
    for sharing in [5, 6, 9, 10, 13, 14] {
        refused!(
            EINVAL, map_shared_as(sharing),
            qemu ..8 => Ok(()), "two bits of the sharing are ignored"
        );
    }
}

#[test]
fn mmap_anonymous_with_shared_validate_is_einval() {
    let flags = MapFlags::SHARED_VALIDATE;
    // SAFETY: nothing is mapped.
    refused!(EINVAL, unsafe { mmap_anonymous(null_mut(), page(), Prot::READ, flags) });
}

#[test]
fn mmap_fixed_at_an_unaligned_address_is_einval() {
    let map = anonymous(2 * page(), RW);
    for offset in [1, page() / 2, page() - 1] {
        let place = |fixed| {
            // SAFETY: nothing is mapped, or (by QEMU) something elsewhere.
            unsafe { mmap_anonymous(map.add(offset), page(), RW, PRIVATE | fixed) }
        };
        refused!(EINVAL, place(FIXED));
        refused!(
            EINVAL, place(MapFlags::FIXED_NOREPLACE),
            qemu ..8 => Ok(()), "FIXED_NOREPLACE is a hint"
        );
    }
}

#[test]
fn mmap_growsdown_of_shared_memory_or_a_file_is_einval() {
    let file = file_of_pages(1);
    refused!(EINVAL, map(&file, page(), RW, SHARED | MapFlags::GROWSDOWN, 0));
    refused!(EINVAL, map(&file, page(), RW, PRIVATE | MapFlags::GROWSDOWN, 0));
    // SAFETY: nothing is mapped.
    refused!(EINVAL, unsafe {
        mmap_anonymous(null_mut(), page(), RW, SHARED | MapFlags::GROWSDOWN)
    });
}

#[test]
fn mmap_hugetlb_of_an_ordinary_file_or_an_unknown_size_is_einval() {
    refused!(EINVAL, map(&file_of_pages(1), page(), RW, SHARED | MapFlags::HUGETLB, 0));
    let unknown = PRIVATE | MapFlags::huge(63);
    // SAFETY: nothing is mapped: no machine has a pool of so many bytes.
    let got = unsafe { mmap_anonymous(null_mut(), 1 << 44, Prot::NONE, unknown) };
    refused!(EINVAL, got, qemu 8.. => Err(Errno::ENOMEM), "the size of huge pages is dropped");
}

#[test]
fn mmap_of_a_file_that_is_not_open_for_reading_is_eacces() {
    let (_, write_only) = read_only_and_write_only();
    for prot in [Prot::NONE, Prot::READ, Prot::WRITE] {
        let map = |sharing| map(&write_only, page(), prot, sharing, 0);
        refused!(EACCES, map(PRIVATE));
        refused!(EACCES, map(SHARED));
        refused!(
            EACCES, map(MapFlags::SHARED_VALIDATE),
            qemu ..8 => Err(Errno::EINVAL), "SHARED_VALIDATE is not known"
        );
    }
}

#[test]
fn mmap_shared_for_writing_of_a_file_open_for_reading_is_eacces_and_private_is_fine() {
    let (read_only, _) = read_only_and_write_only();
    refused!(EACCES, map(&read_only, page(), RW, SHARED, 0));
    refused!(
        EACCES, map(&read_only, page(), RW, MapFlags::SHARED_VALIDATE, 0),
        qemu ..8 => Err(Errno::EINVAL), "SHARED_VALIDATE is not known"
    );
    map(&read_only, page(), RW, PRIVATE, 0).unwrap();
}

#[test]
fn mmap_shared_of_an_append_only_file_open_for_writing_is_eacces() {
    let file = file_of_pages(1);
    let set = |flags: libc::c_int| {
        // SAFETY: the call reads an int.
        let set = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &flags) };
        (set == 0).then_some(()).ok_or_else(std::io::Error::last_os_error)
    };
    if let Err(error) = set(0x20 /* FS_APPEND_FL */) {
        return skip!("no file can be made append-only here: {error}");
    }
    for prot in [Prot::READ, RW] {
        refused!(EACCES, map(&file, page(), prot, SHARED, 0));
    }
    map(&file, page(), RW, PRIVATE, 0).unwrap();
    set(0).unwrap();
}

#[test]
fn mprotect_for_more_than_the_file_was_opened_for_is_eacces() {
    let (read_only, _) = read_only_and_write_only();
    let shared = map(&read_only, page(), Prot::READ, SHARED, 0).unwrap();
    // SAFETY: a mapping of ours that nothing refers to.
    refused!(EACCES, unsafe { mprotect(shared, page(), RW) });
}

#[test]
fn code_of_a_noexec_file_system_is_eperm_for_mmap_and_eacces_for_mprotect() {
    let mounted = in_child(|| {
        let folder =
            std::ffi::CString::new(std::env::temp_dir().into_os_string().into_encoded_bytes());
        let folder = folder.unwrap();
        // SAFETY: plain calls with C strings; what they mount, only this child sees.
        let mounted = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE)
                && mount(c"none", &folder, c"tmpfs", libc::MS_NOEXEC)
        };
        if !mounted {
            return 1;
        }
        alone(|| {
            let file = file_of_pages(1);
            for sharing in [PRIVATE, SHARED] {
                let code = map(&file, page(), Prot::READ | Prot::EXEC, sharing, 0);
                refused!(
                    EPERM, code,
                    qemu _ => Ok(()), "noexec does not bind the emulator, which only reads code"
                );
                let data = map(&file, page(), Prot::READ, sharing, 0).unwrap();
                // SAFETY: a mapping of ours that nothing refers to.
                let code = unsafe { mprotect(data, page(), Prot::READ | Prot::EXEC) };
                refused!(
                    EACCES, code,
                    qemu _ => Ok(()), "noexec does not bind the emulator, which only reads code"
                );
            }
        });
        0
    });
    match mounted {
        End::Exit(1) => skip!("no file system can be mounted here: it takes root's rights"),
        end => assert_eq!(end, OK),
    }
}

/// mount(2); tells whether it worked.
///
/// # Safety
/// What is mounted is seen by nobody who would mind.
unsafe fn mount(
    what: &std::ffi::CStr,
    place: &std::ffi::CStr,
    kind: &std::ffi::CStr,
    flags: libc::c_ulong,
) -> bool {
    let (what, place, kind) = (what.as_ptr(), place.as_ptr(), kind.as_ptr());
    // SAFETY: C strings, and the caller's promise.
    unsafe { libc::mount(what, place, kind, flags, std::ptr::null()) == 0 }
}

#[test]
fn mmap_shared_for_writing_of_a_write_sealed_memfd_is_eperm() {
    for seal in [libc::F_SEAL_WRITE, libc::F_SEAL_FUTURE_WRITE] {
        let sealed = memfd(page() as u64);
        // SAFETY: a plain call.
        assert_eq!(unsafe { libc::fcntl(sealed.as_raw_fd(), libc::F_ADD_SEALS, seal) }, 0);
        refused!(EPERM, map(&sealed, page(), RW, SHARED, 0));
        map(&sealed, page(), RW, PRIVATE, 0).unwrap();
    }
}

#[test]
fn mmap_below_mmap_min_addr_is_eperm_for_a_user_and_gives_root_the_null_pointer() {
    let lowest = std::fs::read_to_string("/proc/sys/vm/mmap_min_addr").unwrap();
    // SAFETY: nothing is mapped at 0, and who finds something there is the child.
    let at_zero = || unsafe { mmap_anonymous(null_mut(), page(), RW, PRIVATE | FIXED) };
    let user = || {
        give_up_rights();
        refused!(EPERM, at_zero());
    };
    if lowest.trim() == "0" {
        skip!("vm.mmap_min_addr is 0");
    } else {
        alone(user);
    }
    if !has_right(CAP_SYS_RAWIO) {
        return skip!("the half of it about root: this is not root, or root without CAP_SYS_RAWIO");
    }
    alone(|| {
        assert_eq!(at_zero(), Ok(null_mut()));
        // SAFETY: the page at 0 is ours.
        unsafe { munmap(null_mut(), page()) }.unwrap();
    });
}

#[test]
fn mmap_longer_than_the_address_space_is_enomem() {
    for len in [WRAPS, longest(), 1 << 62] {
        // SAFETY: nothing is mapped.
        refused!(ENOMEM, unsafe { mmap_anonymous(null_mut(), len, Prot::NONE, PRIVATE) });
    }
}

#[test]
fn mmap_over_the_limit_of_the_address_space_is_enomem() {
    alone(|| {
        limit(libc::RLIMIT_AS, page() as u64);
        for prot in [Prot::NONE, RW] {
            // SAFETY: nothing is mapped, or a new mapping.
            let got = unsafe { mmap_anonymous(null_mut(), 16 * page(), prot, PRIVATE) };
            refused!(ENOMEM, got, qemu _ => Ok(()), "RLIMIT_AS is not applied");
        }
    });
}

#[test]
fn mmap_of_private_writable_memory_over_the_limit_of_data_is_enomem() {
    alone(|| {
        limit(libc::RLIMIT_DATA, page() as u64);
        for (prot, sharing, counts) in
            [(RW, PRIVATE, true), (Prot::READ, PRIVATE, false), (RW, SHARED, false)]
        {
            // SAFETY: nothing is mapped, or a new mapping.
            let got = unsafe { mmap_anonymous(null_mut(), 16 * page(), prot, sharing) };
            if counts {
                refused!(ENOMEM, got, qemu _ => Ok(()), "RLIMIT_DATA is not applied");
            } else {
                got.unwrap();
            }
        }
    });
}

#[test]
fn mmap_at_an_offset_that_no_file_has_is_eoverflow() {
    let file = file_of_pages(1);
    for offset in [1 << 63, longest() as u64] {
        refused!(EOVERFLOW, map(&file, page(), Prot::READ, SHARED, offset));
    }
    let last = i64::MAX as u64 & !(page() as u64 - 1);
    refused!(EOVERFLOW, map(&file, 2 * page(), Prot::READ, SHARED, last));
}

#[test]
fn mmap_fixed_noreplace_of_a_range_with_any_mapped_page_is_eexist() {
    alone(|| {
        let map = holed();
        let flags = PRIVATE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: only the hole may be mapped.
        unsafe {
            refused!(
                EEXIST, mmap_anonymous(map, page(), RW, flags),
                qemu ..8 => Ok(()), "FIXED_NOREPLACE is a hint"
            );
            refused!(
                EEXIST, mmap_anonymous(map, 3 * page(), RW, flags),
                qemu ..8 => Ok(()), "FIXED_NOREPLACE is a hint"
            );
            refused!(
                EEXIST, mmap_anonymous(map.add(page()), 2 * page(), RW, flags),
                qemu ..8 => Ok(()), "FIXED_NOREPLACE is a hint"
            );
            assert_eq!(mmap_anonymous(map.add(page()), page(), RW, flags), Ok(map.add(page())));
        }
    });
}

#[test]
fn mmap_of_what_is_no_memory_is_enodev_but_eio_for_some_files_of_proc() {
    let open = |path| File::open(path).unwrap();
    let (pipe, _) = std::io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    for sharing in [PRIVATE, SHARED] {
        for unmappable in [&open("/"), &pipe, &open("/proc/self/status")] {
            refused!(ENODEV, map(unmappable, page(), Prot::READ, sharing, 0));
        }
        // Not a process's own: fs/proc/inode.c, proc_reg_mmap.
        refused!(EIO, map(&open("/proc/version"), page(), Prot::READ, sharing, 0));
    }
}

#[test]
fn mmap_shared_validate_with_what_is_not_known_is_eopnotsupp() {
    let file = file_of_pages(1);
    let validate = MapFlags::SHARED_VALIDATE;
    // Bits without a name; MAP_SYNC, which only files on persistent memory know; FIXED_NOREPLACE,
    // which is not in LEGACY_MAP_MASK, and so can't be asked for with SHARED_VALIDATE at all.
    let named = [MapFlags::SYNC, MapFlags::FIXED_NOREPLACE].map(MapFlags::bits);
    alone(|| {
        // Not at the null address: FIXED_NOREPLACE would ask for it, and only root may have it.
        // SAFETY: an address in memory of ours, and nothing is mapped there.
        let hole = unsafe { holed().add(page()) };
        for flag in [0x200, 0x400, 0x20_0000, 0x200_0000, 1 << 31].into_iter().chain(named) {
            let flags = validate | MapFlags::from_bits(flag);
            // SAFETY: as above.
            let got = unsafe { mmap(hole, page(), RW, flags, file.as_raw_fd(), 0) };
            refused!(EOPNOTSUPP, got, qemu ..8 => Err(Errno::EINVAL), "SHARED_VALIDATE is not known");
        }
    });
    let got = map(&file, page(), RW, validate | MapFlags::from_bits(1 << 40), 0);
    match qemu() {
        Some(..8) => refused!(EINVAL, got),
        _ => refused!(EOPNOTSUPP, got, qemu 8.. => Ok(()), "flags above the 32nd bit are dropped"),
    }
}

// ---- munmap ----

#[test]
fn munmap_of_length_zero_is_einval() {
    let map = anonymous(page(), RW);
    // SAFETY: nothing is unmapped.
    refused!(EINVAL, unsafe { munmap(map, 0) });
}

#[test]
fn munmap_of_an_unaligned_address_is_einval() {
    let map = anonymous(2 * page(), RW);
    for offset in [1, page() / 2] {
        // SAFETY: nothing is unmapped.
        refused!(EINVAL, unsafe { munmap(map.add(offset), page()) });
    }
}

#[test]
fn munmap_of_what_wraps_or_leaves_the_address_space_is_einval() {
    let map = anonymous(page(), RW);
    let beyond = at(16 * page()).map_addr(usize::wrapping_neg);
    // SAFETY: nothing is unmapped.
    unsafe {
        refused!(EINVAL, munmap(map, WRAPS));
        refused!(EINVAL, munmap(map, longest()));
        refused!(EINVAL, munmap(beyond, page()));
    }
}

#[test]
fn munmap_and_mprotect_of_part_of_a_huge_page_are_einval() {
    let huge = need_hugetlb!();
    let flags = PRIVATE | MapFlags::HUGETLB | MapFlags::NORESERVE;
    // SAFETY: a new mapping, which nothing refers to; without pages, nobody touches it.
    unsafe {
        let map = match mmap_anonymous(null_mut(), huge, RW, flags) {
            Err(Errno::EINVAL) if qemu_before(8) => return departure!("there are no huge pages"),
            map => map.unwrap(),
        };
        refused!(EINVAL, munmap(map, page()));
        refused!(EINVAL, munmap(map.add(page()), huge - page()));
        refused!(EINVAL, mprotect(map, page(), Prot::READ));
        assert_eq!(munmap(map, huge), Ok(()));
    }
}

// ---- mprotect ----

#[test]
fn mprotect_of_an_unaligned_address_is_einval_even_of_no_page() {
    let map = anonymous(2 * page(), RW);
    for len in [0, 1, page()] {
        // SAFETY: nothing changes.
        refused!(EINVAL, unsafe { mprotect(map.add(1), len, Prot::READ) });
    }
}

#[test]
fn mprotect_to_an_unknown_protection_is_einval() {
    let map = anonymous(page(), RW);
    for unknown in [0x40, 0x8000, 0x80_0000, 1 << 31] {
        // SAFETY: nothing changes.
        refused!(EINVAL, unsafe { mprotect(map, page(), Prot::READ | Prot::from_bits(unknown)) });
    }
}

#[test]
fn mprotect_of_a_mapping_that_does_not_grow_as_if_it_did_is_einval() {
    let map = anonymous(page(), RW);
    // SAFETY: nothing changes.
    unsafe {
        refused!(EINVAL, mprotect(map, page(), Prot::READ | Prot::GROWSDOWN));
        refused!(EINVAL, mprotect(map, page(), Prot::READ | Prot::GROWSUP));
        refused!(EINVAL, mprotect(map, page(), Prot::READ | Prot::GROWSDOWN | Prot::GROWSUP));
    }
}

#[test]
fn mprotect_of_a_length_that_wraps_is_enomem() {
    let map = anonymous(page(), RW);
    for len in [WRAPS, longest()] {
        // SAFETY: nothing changes.
        refused!(ENOMEM, unsafe { mprotect(map, len, Prot::READ) });
    }
}

#[test]
fn mprotect_over_a_hole_is_enomem_and_changes_the_pages_before_it() {
    alone(|| {
        let map = holed();
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            refused!(ENOMEM, mprotect(map.add(page()), page(), Prot::READ));
            refused!(ENOMEM, mprotect(map, 3 * page(), Prot::READ));
        }
        if emulator().is_some() {
            // It changes the pages before the hole, but not its record of them.
            return departure!("a write to the pages before the hole faults for ever");
        }
        assert_eq!(writing(map), SEGV);
        assert_eq!(writing(map.wrapping_add(2 * page())), OK);
    });
}

// ---- msync ----

#[test]
fn msync_with_an_unknown_flag_or_both_sync_and_async_is_einval() {
    let map = anonymous(page(), RW);
    let both = MsyncFlags::SYNC | MsyncFlags::ASYNC;
    for flags in [both, MsyncFlags::from_bits(8), MsyncFlags::from_bits(i32::MIN)] {
        // SAFETY: msync changes no memory.
        refused!(EINVAL, unsafe { msync(map, page(), flags) });
    }
}

#[test]
fn msync_of_an_unaligned_address_is_einval_even_of_no_page() {
    let map = anonymous(2 * page(), RW);
    for len in [0, 1, page()] {
        // SAFETY: msync changes no memory.
        refused!(EINVAL, unsafe { msync(map.add(1), len, MsyncFlags::SYNC) });
    }
}

#[test]
fn msync_of_what_is_not_mapped_is_enomem_and_so_is_a_length_that_wraps_after_rounding() {
    alone(|| {
        let map = holed();
        for flags in [MsyncFlags::SYNC, MsyncFlags::ASYNC, MsyncFlags::INVALIDATE] {
            // SAFETY: msync changes no memory.
            unsafe {
                refused!(ENOMEM, msync(map, 3 * page(), flags));
                refused!(ENOMEM, msync(map.add(page()), page(), flags));
                refused!(ENOMEM, msync(map, longest(), flags));
                // Rounded up, this is length 0, and that is no error.
                assert_eq!(msync(map, WRAPS, flags), Ok(()));
            }
        }
    });
}

#[test]
fn msync_to_invalidate_what_is_locked_is_ebusy() {
    need_lockable!(64 << 10);
    let map = anonymous(page(), RW);
    // SAFETY: neither call changes memory.
    unsafe {
        mlock(map, page()).unwrap();
        refused!(EBUSY, msync(map, page(), MsyncFlags::SYNC | MsyncFlags::INVALIDATE));
        assert_eq!(msync(map, page(), MsyncFlags::SYNC), Ok(()));
        munlock(map, page()).unwrap();
        assert_eq!(msync(map, page(), MsyncFlags::SYNC | MsyncFlags::INVALIDATE), Ok(()));
    }
}

// ---- mremap ----

#[test]
fn mremap_with_flags_that_make_no_sense_is_einval() {
    let map = anonymous(2 * page(), RW);
    let (fixed, dontunmap) = (MremapFlags::FIXED, MremapFlags::DONTUNMAP);
    let spare = anonymous(page(), RW);
    for flags in [fixed, dontunmap, fixed | dontunmap, MAYMOVE | MremapFlags::from_bits(8)] {
        // SAFETY: nothing changes.
        refused!(EINVAL, unsafe { mremap(map, page(), page(), flags, spare) });
    }
    for (old, new) in [(1, 2), (2, 1)] {
        // SAFETY: nothing changes.
        refused!(EINVAL, unsafe {
            mremap(map, old * page(), new * page(), MAYMOVE | dontunmap, null_mut())
        });
    }
}

#[test]
fn mremap_of_an_unaligned_address_is_einval() {
    let map = anonymous(2 * page(), RW);
    // SAFETY: nothing changes.
    refused!(EINVAL, unsafe { mremap(map.add(1), page(), 2 * page(), MAYMOVE, null_mut()) });
}

#[test]
fn mremap_to_length_zero_is_einval_also_after_rounding() {
    let map = anonymous(page(), RW);
    for len in [0, WRAPS] {
        // SAFETY: nothing changes.
        let got = unsafe { mremap(map, page(), len, MAYMOVE, null_mut()) };
        refused!(EINVAL, got, qemu _ => Err(Errno::ENOMEM), "length 0 counts as one without room");
    }
}

#[test]
fn mremap_from_length_zero_is_einval_for_private_memory() {
    let map = anonymous(page(), RW);
    // SAFETY: nothing changes.
    let got = unsafe { mremap(map, 0, page(), MAYMOVE, null_mut()) };
    refused!(
        EINVAL, got,
        qemu ..11 => Err(Errno::ENOMEM), "a range of no page counts as not mapped"
    );
}

#[test]
fn mremap_fixed_to_where_it_cannot_be_is_einval() {
    let map = anonymous(4 * page(), RW);
    let spare = anonymous(2 * page(), RW);
    let beyond = at(16 * page()).map_addr(usize::wrapping_neg);
    let flags = MAYMOVE | MremapFlags::FIXED;
    // Unaligned; beyond the address space; over the old range in each way.
    for new in [spare.wrapping_add(1), beyond, map, map.wrapping_add(page())] {
        // SAFETY: nothing changes.
        refused!(EINVAL, unsafe { mremap(map, 2 * page(), 2 * page(), flags, new) });
    }
}

#[test]
fn mremap_of_what_is_not_mapped_is_efault() {
    alone(|| {
        let map = holed();
        // SAFETY: nothing changes.
        unsafe {
            let hole = map.add(page());
            refused!(EFAULT, mremap(hole, page(), 2 * page(), MAYMOVE, null_mut()));
            refused!(EFAULT, mremap(map, 3 * page(), 4 * page(), MAYMOVE, null_mut()));
        }
    });
}

#[test]
fn mremap_that_may_not_move_and_cannot_grow_is_enomem() {
    let map = anonymous(2 * page(), RW);
    // SAFETY: nothing changes: the next page is taken.
    unsafe {
        mprotect(map.add(page()), page(), Prot::READ).unwrap();
        let none = MremapFlags::default();
        refused!(ENOMEM, mremap(map, page(), 2 * page(), none, null_mut()));
    }
}

#[test]
fn mremap_over_the_limit_of_the_address_space_is_enomem() {
    alone(|| {
        let map = anonymous(page(), RW);
        limit(libc::RLIMIT_AS, page() as u64);
        // SAFETY: a mapping of ours that nothing refers to.
        let got = unsafe { mremap(map, page(), 2 * page(), MAYMOVE, null_mut()) };
        refused!(ENOMEM, got, qemu _ => Ok(()), "RLIMIT_AS is not applied");
    });
}

#[test]
fn mremap_of_locked_memory_over_the_limit_is_eagain() {
    need_lockable!(64 << 10);
    as_a_user_who_may_lock(page(), || {
        // SAFETY: a new mapping, which nothing refers to.
        unsafe {
            let map = mmap_anonymous(null_mut(), page(), RW, PRIVATE | MapFlags::LOCKED).unwrap();
            refused!(EAGAIN, mremap(map, page(), 2 * page(), MAYMOVE, null_mut()));
        }
    });
}

// ---- madvise ----

#[test]
fn madvise_that_is_not_known_is_einval_even_of_no_page() {
    let map = anonymous(page(), RW);
    for advice in [5, 77, 1000, -1].map(Advice::from_bits) {
        // SAFETY: nothing changes.
        unsafe {
            refused!(
                EINVAL, madvise(map, 0, advice),
                qemu _ => Ok(()), "any advice about no page is fine"
            );
            refused!(
                EINVAL, madvise(map, page(), advice),
                qemu ..11 => Ok(()), "unknown advice is fine"
            );
        }
    }
}

#[test]
fn madvise_of_an_unaligned_address_or_a_length_that_wraps_is_einval() {
    let map = anonymous(2 * page(), RW);
    // SAFETY: nothing changes.
    unsafe {
        refused!(EINVAL, madvise(map.add(1), page(), Advice::DONTNEED));
        refused!(EINVAL, madvise(map, WRAPS, Advice::DONTNEED));
        refused!(EINVAL, madvise(map, longest(), Advice::DONTNEED));
    }
}

#[test]
fn madvise_to_discard_locked_pages_is_einval() {
    need_lockable!(64 << 10);
    let map = anonymous(page(), RW);
    // SAFETY: locking changes nothing.
    unsafe { mlock(map, page()) }.unwrap();
    // SAFETY: a page of ours that nothing refers to.
    let advise = |advice| unsafe { madvise(map, page(), advice) };
    refused!(EINVAL, advise(Advice::DONTNEED));
    for advice in [Advice::FREE, Advice::COLD, Advice::PAGEOUT] {
        refused!(EINVAL, advise(advice), qemu _ => Ok(()), "{advice:?} does nothing");
    }
    refused!(EINVAL, advise(Advice::GUARD_INSTALL), qemu ..11 => Ok(()), "unknown advice is fine");
    let shared = map_of_shared_page();
    // SAFETY: as above.
    let got = unsafe {
        mlock(shared, page()).unwrap();
        madvise(shared, page(), Advice::REMOVE)
    };
    refused!(EINVAL, got, qemu _ => remove_in_qemu(), "there is no MADV_REMOVE");
}

/// What QEMU says to [`Advice::REMOVE`], whatever it is about.
fn remove_in_qemu() -> Result<(), Errno> {
    if qemu_before(11) { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

fn map_of_shared_page() -> *mut u8 {
    // SAFETY: a new mapping, which nothing refers to.
    unsafe { mmap_anonymous(null_mut(), page(), RW, SHARED) }.unwrap()
}

#[test]
fn madvise_free_and_wipeonfork_are_einval_but_for_private_anonymous_memory() {
    let file = file_of_pages(1);
    let private_file = map(&file, page(), RW, PRIVATE, 0).unwrap();
    let shared_file = map(&file, page(), RW, SHARED, 0).unwrap();
    for memory in [private_file, shared_file, map_of_shared_page()] {
        // SAFETY: a page of ours that nothing refers to.
        unsafe {
            refused!(
                EINVAL, madvise(memory, page(), Advice::FREE),
                qemu _ => Ok(()), "MADV_FREE does nothing"
            );
            refused!(
                EINVAL, madvise(memory, page(), Advice::WIPEONFORK),
                qemu ..8 => Ok(()), "MADV_WIPEONFORK does nothing"
            );
        }
    }
}

#[test]
fn madvise_remove_is_einval_without_a_file_and_eacces_where_it_may_not_be_written() {
    let (read_only, _) = read_only_and_write_only();
    let private = map(&file_of_pages(1), page(), RW, PRIVATE, 0).unwrap();
    let shared = map(&read_only, page(), Prot::READ, SHARED, 0).unwrap();
    // SAFETY: pages of ours that nothing refers to.
    let remove = |at| unsafe { madvise(at, page(), Advice::REMOVE) };
    refused!(
        EINVAL, remove(anonymous(page(), RW)),
        qemu _ => remove_in_qemu(), "there is no MADV_REMOVE"
    );
    for at in [private, shared] {
        refused!(EACCES, remove(at), qemu _ => remove_in_qemu(), "there is no MADV_REMOVE");
    }
}

#[test]
fn madvise_willneed_of_anonymous_memory_is_ebadf_just_where_there_is_no_swap() {
    // CONFIG_SWAP
    let swap = std::fs::exists("/proc/swaps").unwrap();
    let map = anonymous(page(), RW);
    // SAFETY: reading in changes nothing.
    let got = unsafe { madvise(map, page(), Advice::WILLNEED) };
    let linux = if swap { Ok(()) } else { Err(Errno::EBADF) };
    answers!(linux, got);
}

#[test]
fn madvise_over_a_hole_is_enomem_and_does_the_rest() {
    alone(|| {
        let map = holed();
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            let last = map.add(2 * page());
            map.write(1);
            last.write(1);
            refused!(
                ENOMEM, madvise(map.add(page()), page(), Advice::DONTNEED),
                qemu _ => Ok(()), "a hole is no error"
            );
            refused!(
                ENOMEM, madvise(map, 3 * page(), Advice::DONTNEED),
                qemu _ => Ok(()), "a hole is no error"
            );
            answers!(
                (0, 0), (map.read(), last.read()),
                qemu _ => (1, 1), "nothing around a hole is dropped"
            );
        }
    });
}

#[test]
fn madvise_populate_tells_why_it_cannot() {
    alone(|| {
        let none = anonymous(page(), Prot::NONE);
        let read_only = anonymous(page(), Prot::READ);
        let behind = map(&file_of_pages(1), 2 * page(), RW, SHARED, 0).unwrap();
        let map = holed();
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            refused!(
                ENOMEM, madvise(map, 3 * page(), Advice::POPULATE_READ),
                qemu _ => unknown_advice_in_qemu(), "there is no MADV_POPULATE_*"
            );
            refused!(
                EINVAL, madvise(none, page(), Advice::POPULATE_READ),
                qemu _ => unknown_advice_in_qemu(), "there is no MADV_POPULATE_*"
            );
            refused!(
                EINVAL, madvise(read_only, page(), Advice::POPULATE_WRITE),
                qemu _ => unknown_advice_in_qemu(), "there is no MADV_POPULATE_*"
            );
            refused!(
                EFAULT, madvise(behind.add(page()), page(), Advice::POPULATE_READ),
                qemu _ => unknown_advice_in_qemu(), "there is no MADV_POPULATE_*"
            );
        }
    });
}

#[test]
fn madvise_to_break_memory_is_eperm_for_a_user() {
    alone(|| {
        let map = anonymous(page(), RW);
        // SAFETY: a range of length 0; then, without rights, nothing changes.
        unsafe {
            let known = madvise(null_mut(), 0, Advice::HWPOISON).is_ok();
            give_up_rights();
            for advice in [Advice::HWPOISON, Advice::SOFT_OFFLINE] {
                if known {
                    refused!(
                        EPERM, madvise(map, page(), advice),
                        qemu _ => unknown_advice_in_qemu(), "there is no {advice:?}"
                    );
                } else {
                    refused!(EINVAL, madvise(map, page(), advice));
                }
            }
        }
    });
}

// ---- mincore ----

#[test]
fn mincore_of_an_unaligned_address_is_einval_even_of_no_page() {
    let map = anonymous(2 * page(), RW);
    let mut vec = [0; 2];
    for len in [0, page()] {
        // SAFETY: vec has a byte for each page.
        refused!(EINVAL, unsafe { mincore(map.add(1), len, vec.as_mut_ptr()) });
    }
}

#[test]
fn mincore_of_what_is_not_mapped_is_enomem() {
    alone(|| {
        let map = holed();
        let mut vec = [0; 3];
        // SAFETY: vec has a byte for each page; a length without end stops at the first hole.
        unsafe {
            refused!(ENOMEM, mincore(map, 3 * page(), vec.as_mut_ptr()));
            refused!(ENOMEM, mincore(map.add(page()), page(), vec.as_mut_ptr()));
            refused!(ENOMEM, mincore(map, WRAPS, vec.as_mut_ptr()));
        }
    });
}

#[test]
fn mincore_into_a_vector_that_cannot_be_written_is_efault() {
    let map = anonymous(page(), RW);
    let beyond = at(16 * page()).map_addr(usize::wrapping_neg);
    for vec in [null_mut(), anonymous(page(), Prot::READ), anonymous(page(), Prot::NONE), beyond] {
        // SAFETY: the kernel writes where it can, and there it can't.
        refused!(EFAULT, unsafe { mincore(map, page(), vec) });
    }
}

// ---- mlock, mlock2, munlock, mlockall ----

#[test]
fn mlock_and_munlock_of_what_is_not_mapped_are_enomem() {
    need_lockable!(64 << 10);
    alone(|| {
        let map = holed();
        // SAFETY: locking changes no memory.
        unsafe {
            refused!(ENOMEM, mlock(map, 3 * page()));
            refused!(
                ENOMEM, mlock2(map, 3 * page(), MlockFlags::ONFAULT),
                qemu ..11 => Err(Errno::ENOSYS), "there is no mlock2"
            );
            refused!(ENOMEM, mlock(map.add(page()), 1));
            refused!(ENOMEM, munlock(map, 3 * page()));
            refused!(ENOMEM, munlock(map.add(page()), 1));
        }
    });
}

#[test]
fn mlock_of_pages_that_cannot_be_made_resident_is_enomem() {
    need_lockable!(64 << 10);
    let none = anonymous(page(), Prot::NONE);
    let behind = map(&file_of_pages(1), 2 * page(), RW, SHARED, 0).unwrap();
    // SAFETY: locking changes no memory.
    unsafe {
        refused!(ENOMEM, mlock(none, page()));
        refused!(ENOMEM, mlock(behind, 2 * page()));
    }
}

#[test]
fn mlock_and_munlock_of_a_length_that_wraps_are_einval_unless_it_rounds_to_nothing() {
    need_lockable!(64 << 10);
    let map = anonymous(page(), RW);
    // SAFETY: locking changes no memory.
    unsafe {
        refused!(EINVAL, munlock(map, longest()));
        // Rounded up, this is length 0, and that is no error.
        assert_eq!(munlock(map, WRAPS), Ok(()));
        assert_eq!(mlock(map, WRAPS), Ok(()));
        if !has_right(CAP_IPC_LOCK) {
            return skip!("mlock of a length above the limit takes CAP_IPC_LOCK");
        }
        refused!(EINVAL, mlock(map, longest()));
    }
}

#[test]
fn mlock2_with_an_unknown_flag_is_einval() {
    let map = anonymous(page(), RW);
    for flags in [2, -1].map(MlockFlags::from_bits) {
        // SAFETY: locking changes no memory.
        let got = unsafe { mlock2(map, page(), flags) };
        refused!(EINVAL, got, qemu ..11 => Err(Errno::ENOSYS), "there is no mlock2");
    }
}

#[test]
fn mlockall_with_no_unknown_or_only_the_onfault_flag_is_einval() {
    alone(|| {
        // SAFETY: nothing is locked, or (by QEMU) what the child maps from here on.
        let lock = |flags| unsafe { mlockall(MlockAllFlags::from_bits(flags)) };
        for flags in [0, 4, 8] {
            refused!(EINVAL, lock(flags));
        }
        // QEMU drops what it does not know and makes the rest of the call. So CURRENT is not among
        // them: all of a process is more than an ordinary user may lock.
        for flags in [10, -2] {
            refused!(EINVAL, lock(flags), qemu _ => Ok(()), "unknown flags are dropped");
        }
    });
}

#[test]
fn locking_without_the_right_to_lock_anything_is_eperm() {
    as_a_user_who_may_lock(0, || {
        let map = anonymous(page(), RW);
        // SAFETY: nothing changes.
        unsafe {
            refused!(EPERM, mmap_anonymous(null_mut(), page(), RW, PRIVATE | MapFlags::LOCKED));
            refused!(EPERM, mlock(map, page()));
            refused!(
                EPERM, mlock2(map, page(), MlockFlags::ONFAULT),
                qemu ..11 => Err(Errno::ENOSYS), "there is no mlock2"
            );
            refused!(EPERM, mlockall(MlockAllFlags::CURRENT));
        }
    });
}

#[test]
fn locking_over_the_limit_is_eagain_for_mmap_and_enomem_for_mlock_and_mlockall() {
    need_lockable!(64 << 10);
    as_a_user_who_may_lock(page(), || {
        let map = anonymous(2 * page(), RW);
        // SAFETY: locking changes no memory.
        unsafe {
            refused!(
                EAGAIN,
                mmap_anonymous(null_mut(), 2 * page(), RW, PRIVATE | MapFlags::LOCKED)
            );
            refused!(ENOMEM, mlock(map, 2 * page()));
            refused!(
                ENOMEM, mlock2(map, 2 * page(), MlockFlags::ONFAULT),
                qemu ..11 => Err(Errno::ENOSYS), "there is no mlock2"
            );
            refused!(ENOMEM, mlockall(MlockAllFlags::CURRENT));
            // What will be mapped can be promised to be locked, and then can't.
            assert_eq!(mlockall(MlockAllFlags::FUTURE), Ok(()));
            refused!(
                EAGAIN, mmap_anonymous(null_mut(), 2 * page(), RW, PRIVATE),
                qemu ..8 => Err(Errno::ENOMEM), "it finds no room for its own record first"
            );
        }
    });
}

// ---- mseal ----

#[test]
fn mseal_with_any_flag_is_einval() {
    need_mseal!();
    let map = anonymous(page(), RW);
    for flags in [1, 1 << 31, usize::MAX].map(MsealFlags::from_bits) {
        // SAFETY: nothing is sealed.
        refused!(EINVAL, unsafe { mseal(map, page(), flags) });
    }
}

#[test]
fn mseal_of_an_unaligned_address_or_a_length_that_wraps_is_einval() {
    need_mseal!();
    let map = anonymous(2 * page(), RW);
    // SAFETY: nothing is sealed.
    unsafe {
        refused!(EINVAL, mseal(map.add(1), page(), MsealFlags::default()));
        refused!(EINVAL, mseal(map, WRAPS, MsealFlags::default()));
        refused!(EINVAL, mseal(map, longest(), MsealFlags::default()));
    }
}

#[test]
fn mseal_over_a_hole_is_enomem_and_seals_nothing() {
    need_mseal!();
    alone(|| {
        let map = holed();
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            refused!(ENOMEM, mseal(map, 3 * page(), MsealFlags::default()));
            assert_eq!(munmap(map, page()), Ok(()));
        }
    });
}

#[test]
fn changing_sealed_memory_is_eperm() {
    need_mseal!();
    alone(|| {
        let map = anonymous(3 * page(), RW);
        let other = anonymous(page(), RW);
        let flags = MAYMOVE | MremapFlags::FIXED;
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            let middle = map.add(page());
            middle.write(7);
            mseal(middle, page(), MsealFlags::default()).unwrap();
            refused!(EPERM, munmap(middle, page()));
            refused!(EPERM, munmap(map, 3 * page()));
            refused!(EPERM, mprotect(middle, page(), Prot::READ));
            refused!(EPERM, mmap_anonymous(middle, page(), RW, PRIVATE | FIXED));
            refused!(EPERM, mremap(middle, page(), 2 * page(), MAYMOVE, null_mut()));
            refused!(EPERM, mremap(middle, page(), page(), flags, other));
            refused!(EPERM, mremap(other, page(), page(), flags, middle));
            assert_eq!(middle.read(), 7);
            // Sealing again is no change.
            assert_eq!(mseal(middle, page(), MsealFlags::default()), Ok(()));
        }
    });
}

#[test]
fn discarding_sealed_anonymous_memory_is_eperm_unless_it_may_be_written() {
    need_mseal!();
    alone(|| {
        let sealed = |prot| {
            let map = anonymous(page(), prot);
            // SAFETY: a page of ours that nothing refers to.
            unsafe { mseal(map, page(), MsealFlags::default()) }.unwrap();
            map
        };
        // SAFETY: as above.
        unsafe {
            refused!(EPERM, madvise(sealed(Prot::READ), page(), Advice::DONTNEED));
            assert_eq!(madvise(sealed(RW), page(), Advice::DONTNEED), Ok(()));
            assert_eq!(madvise(sealed(Prot::READ), page(), Advice::RANDOM), Ok(()));
        }
    });
}

// ---- The limit of mappings ----

/// Makes so many mappings that the process may have no more (`vm.max_map_count`).
fn use_up_the_mappings() {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: usize = most.trim().parse().unwrap();
    let map = anonymous((most + 2) * page(), Prot::NONE);
    // Each second page that differs makes two mappings more.
    for n in (1..most).step_by(2) {
        // SAFETY: a page of ours that nothing refers to.
        match unsafe { mprotect(map.add(n * page()), page(), Prot::READ) } {
            Ok(()) => {}
            Err(errno) => return assert_eq!(errno, Errno::ENOMEM),
        }
    }
    panic!("more than {most} mappings");
}

#[test]
fn at_the_limit_of_mappings_what_would_split_one_is_enomem_and_eagain_for_madvise() {
    need_lockable!(64 << 10);
    alone(|| {
        let map = anonymous(3 * page(), RW);
        let locked = anonymous(3 * page(), RW);
        // SAFETY: pages of ours that nothing refers to.
        unsafe {
            mlock(locked, 3 * page()).unwrap();
            let middle = map.add(page());
            use_up_the_mappings();
            // One more than the limit is let through.
            let mapped = [(); 3].map(|()| mmap_anonymous(null_mut(), page(), RW, SHARED));
            refused!(ENOMEM, mapped[2]);
            refused!(ENOMEM, munmap(middle, page()));
            refused!(ENOMEM, mprotect(middle, page(), Prot::READ));
            refused!(ENOMEM, mremap(middle, page(), 2 * page(), MAYMOVE, null_mut()));
            refused!(ENOMEM, mlock(middle, page()));
            refused!(ENOMEM, munlock(locked.add(page()), page()));
            refused!(
                EAGAIN, madvise(middle, page(), Advice::DONTFORK),
                qemu _ => unknown_advice_in_qemu(), "there is no MADV_DONTFORK"
            );
            let sealed = mseal(middle, page(), MsealFlags::default());
            if sealed != Err(Errno::ENOSYS) {
                refused!(ENOMEM, sealed);
            }
        }
    });
}
