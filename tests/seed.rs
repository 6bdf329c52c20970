//! The old manual text that this project began with, statement by statement, in its order.
//!
//! A test's name says the line of the text (a web page's machine-made English: "ing" is "mapping"),
//! and then what Linux does. Its comment quotes the line, and says whether it is true; where it is
//! not, which item's documentation puts it right, and where less than it says is true, what. Each
//! shows no more than its statement: the other files go into depth.
//!
//! Without a test of their own: lines 1, 2, 23, 25, 37 and 40 (the source, headings, a pointer to a
//! book), which state nothing that can be tried, and 31 and 33 to 35, quoted with 32 and 36.
mod common;
use common::*;
use rawmap::{Errno, MAP_FAILED, MapFlags, NO_FD, Prot, RawFd, Word, arch, mmap, munmap};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

const SHARED_ANON: MapFlags = MapFlags::SHARED.union(MapFlags::ANONYMOUS);

/// One page, by `mmap` with these words as they are.
fn try_map(start: *mut u8, prot: Prot, flags: MapFlags, fd: RawFd) -> Result<*mut u8, Errno> {
    // SAFETY: where `flags` has FIXED, the test owns what is there and holds no reference to it.
    unsafe { mmap(start, page(), prot, flags, fd, 0) }
}

/// A new page without a file.
fn new_page(flags: MapFlags) -> *mut u8 {
    try_map(null_mut(), RW, flags, NO_FD).unwrap()
}

/// The first word of a mapping.
fn get(map: *mut u8) -> u32 {
    word(map, 0).load(Ordering::Acquire)
}

fn set(map: *mut u8, value: u32) {
    word(map, 0).store(value, Ordering::Release);
}

/// The first word of a file, by read(2).
fn read(file: &File) -> u32 {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 0).unwrap();
    u32::from_ne_bytes(bytes)
}

/// The word of a file of [`file_of_pages`] before it is changed.
const ONES: u32 = 0x0101_0101;

/// A file of one page, open for reading and writing, and again so that it may do only one of them.
fn open_as(options: &mut std::fs::OpenOptions) -> (File, File) {
    let (path, file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let again = options.open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    (file, again)
}

fn dev_zero() -> File {
    File::options().read(true).write(true).open("/dev/zero").unwrap()
}

/// "1. Map a common file to the memory [...] I/O reading and writing is replaced with memory
/// reading and writing to achieve high performance": true, but that it is faster is true of many
/// small accesses only.
#[test]
fn line03_reading_and_writing_memory_replaces_reading_and_writing_the_file() {
    let file = file_of_pages(1);
    let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    assert_eq!(get(map), ONES);
    set(map, 7);
    assert_eq!(read(&file), 7);
}

/// "2. Anonymous memory ing of special files can provide shared memory space for associated
/// processes": true.
#[test]
fn line04_a_special_file_gives_memory_that_related_processes_share() {
    let map = map(&dev_zero(), page(), RW, MapFlags::SHARED, 0).unwrap();
    let child = in_child(|| {
        set(map, 7);
        0
    });
    assert_eq!((child, get(map)), (OK, 7));
}

/// "3. Provide shared memory space for unrelated processes. A common file is also mapped to the
/// memory": true.
#[test]
fn line05_unrelated_processes_share_memory_through_a_common_file() {
    if let Ok(path) = std::env::var("COMMON_FILE") {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
        assert_eq!(get(map), 7);
        return set(map, 8);
    }
    let (path, file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    set(map, 7);
    let env = [("COMMON_FILE", path.to_str().unwrap())];
    let me = "line05_unrelated_processes_share_memory_through_a_common_file";
    assert_passed(start(&mut exec_self(me, &env)));
    assert_eq!(get(map), 8);
    std::fs::remove_file(path).unwrap();
}

/// "void * MMAP (void * Start, size_t length, int Prot, int flags, int FD, off_t offsize)": true of
/// C libraries. The kernel takes whole words (`Prot`, `MapFlags`), and an offset without a sign.
#[test]
fn line06_the_function_has_these_six_arguments() {
    type Mmap =
        unsafe fn(*mut u8, usize, Prot, MapFlags, RawFd, offset: u64) -> Result<*mut u8, Errno>;
    let function: Mmap = mmap;
    // SAFETY: a new mapping, which nothing else refers to.
    let map = unsafe { function(null_mut(), page(), Prot::READ, ANON, NO_FD, 0) };
    assert_eq!(get(map.unwrap()), 0);
}

/// "It is usually set to null, indicating that the system automatically selects the address": true.
#[test]
fn line07_null_lets_the_system_choose_the_address() {
    let (first, second) = (new_page(ANON), new_page(ANON));
    assert!(!first.is_null() && first != second);
}

/// "Start: the start address of the memory to be mapped": less is true. Without a FIXED flag it is
/// a hint: see [`mmap`].
#[test]
fn line07_start_is_only_a_hint() {
    let taken = new_page(ANON);
    set(taken, 7);
    let other = try_map(taken, RW, ANON, NO_FD).unwrap();
    assert_ne!(other, taken);
    assert_eq!((get(other), get(taken)), (0, 7));
}

/// "The address is returned after the ing is successful": true.
#[test]
fn line07_the_address_is_returned() {
    let map = new_page(ANON);
    assert_eq!(writing(map), OK);
    assert_eq!(map.addr() % page(), 0);
}

/// "Parameter length: maps a large part of the file to the memory" (how large a part): true, in
/// whole pages.
#[test]
fn line08_length_says_how_much_of_the_file_is_mapped() {
    let file = file_of_pages(3);
    let map = map(&file, page() + 1, Prot::READ, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!(get(map), ONES);
    assert_eq!(get(map.wrapping_add(2 * page() - 4)), 2 * ONES);
}

/// "Parameter prot [...] can be a combination of the following methods": true.
#[test]
fn line09_protections_combine() {
    let prot = Prot::READ | Prot::WRITE | Prot::EXEC;
    let map = map(&code_file(), page(), prot, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!((reading(map), writing(map), running(map)), (OK, OK, End::Exit(42)));
}

/// "The prot_exec ing area can be executed": true.
#[test]
fn line10_exec_can_be_executed() {
    let map = map(&code_file(), page(), Prot::EXEC, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!((running(map), writing(map)), (End::Exit(42), SEGV));
}

/// "The prot_read ing area can be read": true.
#[test]
fn line11_read_can_be_read() {
    let map = map(&code_file(), page(), Prot::READ, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!((reading(map), writing(map), running(map)), (OK, SEGV, SEGV));
}

/// "The prot_write ing area can be written": true, and read as well: see [`Prot`].
#[test]
fn line12_write_can_be_written() {
    let map = map(&code_file(), page(), Prot::WRITE, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!((reading(map), writing(map), running(map)), (OK, OK, SEGV));
}

/// "The prot_none ing area cannot be accessed": true.
#[test]
fn line13_none_cannot_be_accessed() {
    let map = map(&code_file(), page(), Prot::NONE, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!((reading(map), writing(map), running(map)), (SEGV, SEGV, SEGV));
}

/// "You must specify map_shared or map_private": true in that one cannot do without a sharing.
#[test]
fn line14_without_a_sharing_it_is_einval() {
    let file = file_of_pages(1);
    assert_eq!(map(&file, page(), RW, MapFlags::FILE, 0), Err(Errno::EINVAL));
    assert_eq!(try_map(null_mut(), RW, MapFlags::ANONYMOUS, NO_FD), Err(Errno::EINVAL));
}

/// The same: wrong in that there are two others: see [`MapFlags`]. One looks like the bits of both
/// together; the flags of both together are refused.
#[test]
fn line14_the_bits_of_both_are_shared_validate() {
    let file = file_of_pages(1);
    let both = MapFlags::SHARED | MapFlags::PRIVATE;
    assert_eq!(map(&file, page(), RW, both, 0), Err(Errno::EINVAL));
    let both = MapFlags::from_bits(MapFlags::SHARED.bits() | MapFlags::PRIVATE.bits());
    assert_eq!(both, MapFlags::SHARED_VALIDATE);
    let map = map(&file, page(), RW, both, 0);
    if qemu_before(10) {
        assert_eq!(map, Err(Errno::EINVAL));
        departure!("SHARED_VALIDATE is EINVAL");
        return;
    }
    set(map.unwrap(), 7);
    assert_eq!(read(&file), 7);
}

/// The same: [`MapFlags::DROPPABLE`] is neither.
#[test]
fn line14_droppable_is_neither_shared_nor_private() {
    let map = try_map(null_mut(), RW, MapFlags::DROPPABLE | MapFlags::ANONYMOUS, NO_FD);
    if emulator().is_some() {
        assert_eq!(map, Err(Errno::EINVAL));
        departure!("DROPPABLE is EINVAL");
    } else if kernel() < (6, 11) {
        assert_eq!(map, Err(Errno::EINVAL));
    } else {
        assert_eq!(writing(map.unwrap()), OK);
    }
}

/// "Map_fixed if the address [...] cannot be mapped successfully, the ing is abandoned": wrong. What
/// is there is replaced: see [`MapFlags::FIXED`].
#[test]
fn line15_fixed_abandons_nothing_but_replaces_what_is_there() {
    let map = new_page(ANON);
    set(map, 7);
    assert_eq!(try_map(map, RW, ANON | MapFlags::FIXED, NO_FD), Ok(map));
    assert_eq!(get(map), 0);
}

/// "And the address is not corrected": true. It is the one that was asked for, or an error.
#[test]
fn line15_fixed_does_not_correct_the_address() {
    let map = new_page(ANON);
    let unaligned = map.wrapping_add(1);
    assert_eq!(try_map(unaligned, RW, ANON | MapFlags::FIXED, NO_FD), Err(Errno::EINVAL));
    assert_eq!(writing(map), OK);
}

/// "This flag is generally not encouraged": true. What the text says of it is true of
/// [`MapFlags::FIXED_NOREPLACE`].
#[test]
fn line15_fixed_noreplace_abandons_the_mapping() {
    let map = new_page(ANON);
    set(map, 7);
    let answer = try_map(map, RW, ANON | MapFlags::FIXED_NOREPLACE, NO_FD);
    if qemu_before(10) {
        assert_ne!(answer.unwrap(), map);
        departure!("FIXED_NOREPLACE is a hint");
    } else {
        assert_eq!(answer, Err(Errno::EEXIST));
    }
    assert_eq!(get(map), 7);
}

/// "Map_shared copies data written to the ing area back to the file": true, and there is nothing to
/// copy: the file's pages are what is mapped.
#[test]
fn line16_shared_writes_go_to_the_file() {
    let file = file_of_pages(1);
    set(map(&file, page(), RW, MapFlags::SHARED, 0).unwrap(), 7);
    assert_eq!(read(&file), 7);
}

/// "And allows other processes mapped to the file to share the data": true.
#[test]
fn line16_shared_writes_are_seen_by_other_processes_that_map_the_file() {
    let file = file_of_pages(1);
    let mine = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    let child = in_child(|| {
        set(map(&file, page(), RW, MapFlags::SHARED, 0).unwrap(), 7);
        0
    });
    assert_eq!((child, get(mine)), (OK, 7));
}

/// "Map_private write operations on the ing area will generate a copy of The ing file": true, of
/// the page.
#[test]
fn line17_a_private_write_makes_a_copy() {
    let file = file_of_pages(1);
    let one = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    let other = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    set(one, 7);
    assert_eq!((get(one), get(other)), (7, ONES));
}

/// "No modifications made to this region will be written back to the original file content": true.
#[test]
fn line17_private_writes_do_not_reach_the_file() {
    let file = file_of_pages(1);
    let map = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    set(map, 7);
    // SAFETY: the mapping is not used again.
    unsafe { munmap(map, page()) }.unwrap();
    assert_eq!(read(&file), ONES);
}

/// "Map_anonymous creates an anonymous ing. The FD parameter is ignored, and files are not
/// involved": true.
#[test]
fn line18_anonymous_ignores_the_fd() {
    let file = file_of_pages(1);
    for fd in [NO_FD, RawFd::MAX, file.as_raw_fd()] {
        let map = try_map(null_mut(), RW, SHARED_ANON, fd).unwrap();
        assert_eq!(get(map), 0);
        set(map, 7);
    }
    assert_eq!(read(&file), ONES);
}

/// "And the ing area cannot be shared with other processes": wrong: see [`MapFlags::ANONYMOUS`].
#[test]
fn line18_anonymous_memory_can_be_shared_with_other_processes() {
    let map = new_page(SHARED_ANON);
    let child = in_child(|| {
        set(map, 7);
        0
    });
    assert_eq!((child, get(map)), (OK, 7));
}

/// "Map_denywrite only allows write operations on the ing area. Other operations that directly write
/// data to the file will be rejected": wrong. It does nothing: see [`MapFlags::DENYWRITE`].
#[test]
fn line19_denywrite_rejects_no_write_to_the_file() {
    let (path, file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let map = map(&file, page(), RW, MapFlags::SHARED | MapFlags::DENYWRITE, 0).unwrap();
    file.write_all_at(&7u32.to_ne_bytes(), 0).unwrap();
    assert_eq!(get(map), 7);
    let again = File::options().write(true).open(&path).unwrap();
    again.write_all_at(&8u32.to_ne_bytes(), 0).unwrap();
    assert_eq!(get(map), 8);
    std::fs::remove_file(path).unwrap();
}

/// "Map_locked locks the ing region, which means the region will not be replaced (SWAp )": true.
#[test]
fn line20_locked_memory_is_resident_and_locked() {
    need_lockable!(64 << 10);
    let map = new_page(ANON | MapFlags::LOCKED);
    assert_eq!(resident(map, 1), [true]);
    // The kernel tells that memory is locked by refusing to invalidate it.
    let invalidate = |map| {
        // SAFETY: msync changes no memory.
        unsafe { rawmap::msync(map, page(), rawmap::MsyncFlags::INVALIDATE) }
    };
    assert_eq!(invalidate(map), Err(Errno::EBUSY));
    assert_eq!(invalidate(new_page(ANON)), Ok(()));
}

/// "Parameter FD: The file descriptor to be mapped to the memory": true.
#[test]
fn line21_fd_says_which_file() {
    let fd = file_of_pages(1);
    let map = try_map(null_mut(), Prot::READ, MapFlags::PRIVATE, fd.as_raw_fd());
    assert_eq!(get(map.unwrap()), ONES);
}

/// "If anonymous memory ing is used, map_anonymous is set in flags, and FD is set to-1": true.
#[test]
fn line21_anonymous_memory_has_fd_minus_one() {
    assert_eq!(NO_FD, -1);
    assert_eq!(get(try_map(null_mut(), RW, ANON, -1).unwrap()), 0);
}

/// "Some systems do not support anonymous memory ing. You can [...] open the/dev/Zero file and map
/// the file to achieve the same effect": true, and Linux has both.
#[test]
fn line21_dev_zero_has_the_same_effect() {
    for map in [map(&dev_zero(), page(), RW, MapFlags::PRIVATE, 0).unwrap(), new_page(ANON)] {
        assert_eq!(get(map), 0);
        set(map, 7);
        assert_eq!(get(map), 7);
    }
}

/// "You can use fopen": wrong. That makes a stream; `mmap` takes the descriptor that the stream has: see [`RawFd`].
#[test]
fn line21_not_the_stream_of_fopen_but_its_descriptor_is_mapped() {
    // SAFETY: both are strings, and the stream stays open.
    let fd = unsafe { libc::fileno(libc::fopen(c"/dev/zero".as_ptr(), c"r+".as_ptr())) };
    assert_eq!(get(try_map(null_mut(), RW, MapFlags::PRIVATE, fd).unwrap()), 0);
}

/// "Offset [...] is usually set to 0, which indicates the correspondence starting from the beginning
/// of the file": true.
#[test]
fn line22_offset_0_is_the_beginning_of_the_file() {
    let file = file_of_pages(2);
    let from = |offset| map(&file, page(), Prot::READ, MapFlags::PRIVATE, offset).unwrap();
    assert_eq!(get(from(0)), ONES);
    assert_eq!(get(from(page() as u64)), 2 * ONES);
}

/// "Offset must be an integer multiple of the page size": true, of the kernel's page size, and
/// without a file too.
#[test]
fn line22_offset_must_be_a_multiple_of_the_page_size() {
    let file = file_of_pages(2);
    for offset in [1, page() as u64 / 2, page() as u64 + 8] {
        let answer = map(&file, page(), Prot::READ, MapFlags::PRIVATE, offset);
        assert_eq!(answer, Err(Errno::EINVAL));
        let answer = map(&file, page(), Prot::READ, ANON, offset);
        assert_eq!(answer, Err(Errno::EINVAL));
    }
}

/// "If the ing is successful, the start address of memory in the ing area is returned": true.
#[test]
fn line24_success_is_the_start_address() {
    let file = file_of_pages(2);
    let map = map(&file, 2 * page(), Prot::READ, MapFlags::PRIVATE, 0).unwrap();
    assert_eq!((get(map), get(map.wrapping_add(page()))), (ONES, 2 * ONES));
}

/// "Otherwise, map_failed (-1) is returned": wrong, but of C. The kernel returns the error: see
/// [`MAP_FAILED`].
#[test]
fn line24_failure_is_not_minus_one_but_the_error() {
    assert_eq!(MAP_FAILED, libc::MAP_FAILED.cast());
    let (len, bits) = (Word::int(page()), Word::int(MapFlags::PRIVATE.bits()));
    let no_fd = Word::signed(NO_FD);
    // SAFETY: nothing is mapped: there is no such file.
    let word = unsafe {
        arch::syscall6(Word::ZERO, len, Word::ZERO, bits, no_fd, Word::ZERO, arch::nr::MMAP)
    };
    assert_ne!(word.as_ptr(), MAP_FAILED);
    assert_eq!(word, Word::signed(-libc::EBADF));
    assert_eq!(Errno::decode(word), Err(Errno::EBADF));
}

/// "The error cause is stored in errno": wrong, but of C. It is returned: see [`Errno`].
#[test]
fn line24_errno_is_not_touched() {
    // SAFETY: this thread's errno.
    let errno = unsafe { &mut *libc::__errno_location() };
    *errno = 0;
    let answer = try_map(null_mut(), RW, MapFlags::PRIVATE, NO_FD);
    assert_eq!((answer, *errno), (Err(Errno::EBADF), 0));
}

/// "The ebadf parameter FD is not a valid file description": true.
#[test]
fn line26_ebadf_is_no_open_file() {
    for fd in [NO_FD, RawFd::MAX] {
        assert_eq!(try_map(null_mut(), RW, MapFlags::PRIVATE, fd), Err(Errno::EBADF));
    }
}

/// "If map_private is used, the file must be readable": true.
#[test]
fn line27_eacces_private_needs_a_readable_file() {
    let (_, writable) = open_as(File::options().write(true));
    assert_eq!(map(&writable, page(), RW, MapFlags::PRIVATE, 0), Err(Errno::EACCES));
}

/// "If map_shared is used, prot_write is required and the file must be writable": wrong. Neither is
/// asked for but where both are: see [`mmap`].
#[test]
fn line27_shared_needs_neither_prot_write_nor_a_writable_file() {
    let (_, readable) = open_as(File::options().read(true));
    let map = map(&readable, page(), Prot::READ, MapFlags::SHARED, 0).unwrap();
    assert_eq!((reading(map), writing(map)), (OK, SEGV));
}

/// The same: true is that a shared mapping that may be written needs a writable file.
#[test]
fn line27_eacces_shared_and_prot_write_need_a_writable_file() {
    let (_, readable) = open_as(File::options().read(true));
    assert_eq!(map(&readable, page(), RW, MapFlags::SHARED, 0), Err(Errno::EACCES));
}

/// The same: and a shared mapping, too, needs a readable file, even if only to be written.
#[test]
fn line27_eacces_shared_needs_a_readable_file() {
    let (_, writable) = open_as(File::options().write(true));
    assert_eq!(map(&writable, page(), Prot::WRITE, MapFlags::SHARED, 0), Err(Errno::EACCES));
}

/// "Either start, length, or offset of the einval parameter is invalid": true, of the start only
/// with a FIXED flag.
#[test]
fn line28_einval_is_an_invalid_start_length_or_offset() {
    let file = file_of_pages(1);
    let start = new_page(ANON).wrapping_add(1);
    assert_eq!(try_map(start, RW, ANON | MapFlags::FIXED, NO_FD), Err(Errno::EINVAL));
    assert!(try_map(start, RW, ANON, NO_FD).is_ok());
    assert_eq!(map(&file, 0, RW, MapFlags::PRIVATE, 0), Err(Errno::EINVAL));
    assert_eq!(map(&file, page(), RW, MapFlags::PRIVATE, 1), Err(Errno::EINVAL));
}

/// "The eagain file is locked": wrong. No lock of a file, whoever holds it, keeps it from being
/// mapped: Linux 5.15 did away with mandatory locks (fcntl_locking(2)). See [`mmap`].
#[test]
fn line29_a_locked_file_is_mapped_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let (holder, file) = open_as(File::options().read(true).write(true));
    // The mode that asked for mandatory locks: set-group-ID, but not executable by the group.
    holder.set_permissions(std::fs::Permissions::from_mode(0o2660)).unwrap();
    // SAFETY: plain calls; a lock of zeroes is of the whole file.
    unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        lock.l_type = libc::F_WRLCK as i16;
        assert_eq!(libc::fcntl(holder.as_raw_fd(), libc::F_OFD_SETLK, &lock), 0);
        assert_eq!(libc::flock(holder.as_raw_fd(), libc::LOCK_EX), 0);
    }
    set(map(&file, page(), RW, MapFlags::SHARED, 0).unwrap(), 7);
    assert_eq!(read(&holder), 7);
}

/// "Or too much memory is locked": true, without the right to lock without limit.
#[test]
fn line29_eagain_is_too_much_locked_memory() {
    need_lockable!(64 << 10);
    alone(|| {
        give_up_rights();
        limit(libc::RLIMIT_MEMLOCK, page() as u64);
        let flags = ANON | MapFlags::LOCKED;
        // SAFETY: a new mapping, if it is made, which nothing else refers to.
        let answer = unsafe { mmap(null_mut(), 2 * page(), RW, flags, NO_FD, 0) };
        assert_eq!(answer, Err(Errno::EAGAIN));
    });
}

/// "Insufficient enomem memory": less is true. It is first of all address space that there is too
/// little of, whatever memory there is: see [`mmap`].
#[test]
fn line30_enomem_is_too_little_address_space() {
    let file = file_of_pages(1);
    assert_eq!(map(&file, 1 << 62, Prot::NONE, ANON, 0), Err(Errno::ENOMEM));
}

/// The same: and of more memory than there is, address space can be had.
#[test]
fn line30_more_than_the_memory_there_is_can_be_mapped() {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024;
    let len = total + page();
    // SAFETY: a new mapping, which nothing else refers to, and which is not used again.
    unsafe {
        let map = mmap(null_mut(), len, Prot::NONE, ANON, NO_FD, 0).unwrap();
        munmap(map, len).unwrap();
    }
}

/// "The system calls MMAP () to share memory in two ways: (1) Use the memory ing provided by common
/// files: Applicable to any process": true.
#[test]
fn line32_a_common_file_is_for_any_process() {
    let (path, file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let mine = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    let child = in_child(|| {
        // SAFETY: the child does not use the mapping that it has from its parent.
        unsafe { munmap(mine, page()) }.unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        set(map(&file, page(), RW, MapFlags::SHARED, 0).unwrap(), 7);
        0
    });
    std::fs::remove_file(&path).unwrap();
    assert_eq!((child, get(mine)), (OK, 7));
}

/// "You need to open or create a file and then call MMAP [...] FD = open (name, flag, mode) [...]
/// PTR = MMAP (null, Len, prot_read | prot_write, map_shared, FD, 0)": less is true. A file that was
/// just created is empty, and its memory SIGBUS until it is given a length: see [`mmap`].
#[test]
fn line36_the_typical_call_code_needs_a_length_too() {
    let created = temp_file();
    let map = map(&created, page(), RW, MapFlags::SHARED, 0).unwrap();
    assert_eq!(writing(map), BUS);
    created.set_len(page() as u64).unwrap();
    assert_eq!(writing(map), OK);
}

/// "(2) use special files to provide anonymous memory ing": less is true. No file is needed.
#[test]
fn line38_a_special_file_or_the_flag_alone_are_alike() {
    let by_file = map(&dev_zero(), page(), RW, MapFlags::SHARED, 0).unwrap();
    for map in [by_file, new_page(SHARED_ANON)] {
        let child = in_child(|| {
            set(map, 7);
            0
        });
        assert_eq!((child, get(map)), (OK, 7));
    }
}

/// "MMAP () is called first in the parent process, and fork () is then called [...] the child process
/// inherits [...] the address returned by MMAP, the Parent and Child processes can communicate": true.
#[test]
fn line39_parent_and_child_communicate_at_the_inherited_address() {
    let map = new_page(SHARED_ANON);
    let child = fork(|| {
        await_value(word(map, 0), 1);
        set(map, 2);
        0
    });
    set(map, 1);
    await_value(word(map, 0), 2);
    assert_eq!(wait_for(child), OK);
}

/// The same: the order matters. What is mapped after the fork is each process's own.
#[test]
fn line39_what_is_mapped_after_fork_is_not_shared() {
    let childs = new_page(SHARED_ANON);
    let child = in_child(|| {
        assert_eq!(try_map(childs, RW, SHARED_ANON | MapFlags::FIXED, NO_FD), Ok(childs));
        set(childs, 7);
        0
    });
    assert_eq!((child, get(childs)), (OK, 0));
}

/// "This is not a general inheritance relationship. Generally, child processes independently maintain
/// some variables inherited from the parent process": true, of all that is not mapped shared.
#[test]
fn line39_other_variables_are_the_childs_own() {
    let mut variable = Box::new(7);
    let map = new_page(ANON);
    let child = in_child(|| {
        *std::hint::black_box(&mut *variable) = 8;
        set(map, 8);
        0
    });
    assert_eq!((child, *std::hint::black_box(&*variable), get(map)), (OK, 7, 0));
}

/// "The address returned by MMAP () is maintained by the parent and child processes": true of the
/// memory. Each has its own mapping of it.
#[test]
fn line39_the_memory_is_common_and_the_mapping_is_not() {
    let map = new_page(SHARED_ANON);
    let child = in_child(|| {
        set(map, 7);
        // SAFETY: the child does not use it again.
        unsafe { munmap(map, page()) }.unwrap();
        0
    });
    assert_eq!((child, get(map)), (OK, 7));
}

/// "The best way to achieve shared memory for unrelated processes is to use anonymous memory ing":
/// wrong. They cannot get at it: see [`MapFlags::ANONYMOUS`].
#[test]
fn line39_unrelated_processes_cannot_share_anonymous_memory() {
    const SECRET: u32 = 0x5ec2_e755;
    if let Ok(address) = std::env::var("ANONYMOUS_AT") {
        // By chance something else may be there, but not the word.
        let map = at(address.parse().unwrap());
        assert_ne!(in_child(|| i32::from(get(map) == SECRET)), End::Exit(1));
        return;
    }
    let map = new_page(SHARED_ANON);
    set(map, SECRET);
    let env = [("ANONYMOUS_AT", &*map.addr().to_string())];
    let me = "line39_unrelated_processes_cannot_share_anonymous_memory";
    assert_passed(start(&mut exec_self(me, &env)));
}

/// "In this case, you do not need to specify a specific file. You only need to set the corresponding
/// flag": wrong. They need a file: if not one with a name, a memfd that is handed over. See
/// [`MapFlags::ANONYMOUS`].
#[test]
fn line39_unrelated_processes_without_a_named_file_need_a_memfd() {
    if std::env::var_os("MEMFD_IS_STDIN").is_some() {
        // SAFETY: its standard input is the memfd, which nothing else here uses.
        let file = unsafe { File::from_raw_fd(0) };
        return set(map(&file, page(), RW, MapFlags::SHARED, 0).unwrap(), 7);
    }
    let file = memfd(page() as u64);
    let map = map(&file, page(), RW, MapFlags::SHARED, 0).unwrap();
    let me = "line39_unrelated_processes_without_a_named_file_need_a_memfd";
    assert_passed(start(exec_self(me, &[("MEMFD_IS_STDIN", "1")]).stdin(file)));
    assert_eq!(get(map), 7);
}
