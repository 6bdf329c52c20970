//! Memory between processes: which is one memory for both, and which is a copy.
mod common;
use common::*;
use rawmap::{MapFlags, munmap};
use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

const SHARED_ANON: MapFlags = MapFlags::SHARED.union(MapFlags::ANONYMOUS);

/// New shared anonymous memory of one page.
fn shared_page() -> *mut u8 {
    // SAFETY: a new mapping, which nothing else refers to.
    unsafe { rawmap::mmap_anonymous(std::ptr::null_mut(), page(), RW, SHARED_ANON) }.unwrap()
}

fn set(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
}

fn get(word: &AtomicU32) -> u32 {
    word.load(Ordering::Acquire)
}

#[test]
fn shared_anonymous_memory_is_one_memory_for_parent_and_child() {
    let map = shared_page();
    let (turn, data) = (word(map, 0), word(map, 1));
    let child = fork(|| {
        await_value(turn, 1);
        assert_eq!(get(data), 0xaaaa);
        set(data, 0xbbbb);
        set(turn, 2);
        0
    });
    // The child is there already: what it sees was not copied to it.
    set(data, 0xaaaa);
    set(turn, 1);
    await_value(turn, 2);
    assert_eq!(get(data), 0xbbbb);
    assert_eq!(wait_for(child), OK);
}

#[test]
fn shared_anonymous_memory_outlives_the_child_that_wrote_it() {
    let map = shared_page();
    assert_eq!(
        in_child(|| {
            set(word(map, 0), 0xaaaa);
            0
        }),
        OK
    );
    assert_eq!(get(word(map, 0)), 0xaaaa);
}

#[test]
fn shared_anonymous_memory_joins_two_children_too() {
    let map = shared_page();
    let (first, second) = (word(map, 0), word(map, 1));
    let one = fork(|| {
        set(first, 1);
        await_value(second, 1);
        0
    });
    let two = fork(|| {
        await_value(first, 1);
        set(second, 1);
        0
    });
    assert_eq!((wait_for(one), wait_for(two)), (OK, OK));
}

#[test]
fn each_process_has_its_own_mapping_of_the_shared_memory() {
    let map = shared_page();
    let child = in_child(|| {
        set(word(map, 0), 0xaaaa);
        // SAFETY: the child doesn't use the mapping again.
        unsafe { munmap(map, page()) }.unwrap();
        0
    });
    assert_eq!(child, OK);
    assert_eq!(get(word(map, 0)), 0xaaaa);
}

#[test]
fn private_memory_is_copied_to_the_child_and_parts_from_there_on() {
    let turn = word(shared_page(), 0);
    let map = anonymous(page(), RW);
    let (parents, childs) = (word(map, 0), word(map, 1));
    set(parents, 1);
    set(childs, 1);
    let child = fork(|| {
        assert_eq!((get(parents), get(childs)), (1, 1), "as it was at the fork");
        set(childs, 3);
        set(turn, 1);
        await_value(turn, 2);
        assert_eq!((get(parents), get(childs)), (1, 3), "the parent's write doesn't show");
        0
    });
    await_value(turn, 1);
    assert_eq!((get(parents), get(childs)), (1, 1), "the child's write doesn't show");
    set(parents, 2);
    set(turn, 2);
    assert_eq!(wait_for(child), OK);
    assert_eq!((get(parents), get(childs)), (2, 1));
}

#[test]
fn a_private_file_mapping_is_copied_to_the_child() {
    let file = file_of_pages(1);
    let map = map(&file, page(), RW, MapFlags::PRIVATE, 0).unwrap();
    set(word(map, 0), 0xaaaa);
    let child = in_child(|| {
        assert_eq!(get(word(map, 0)), 0xaaaa);
        set(word(map, 0), 0xbbbb);
        0
    });
    assert_eq!(child, OK);
    assert_eq!(get(word(map, 0)), 0xaaaa);
}

/// Two processes that have nothing but a file in common, each started by exec: `ping` speaks first.
fn converse(side: &str, map: *mut u8) {
    let (turn, ping, pong) = (word(map, 0), word(map, 1), word(map, 2));
    if side == "ping" {
        set(ping, 0x676e_6970);
        set(turn, 1);
        await_value(turn, 2);
        assert_eq!(get(pong), 0x676e_6f70);
        set(turn, 3);
    } else {
        await_value(turn, 1);
        assert_eq!(get(ping), 0x676e_6970);
        set(pong, 0x676e_6f70);
        set(turn, 2);
        await_value(turn, 3);
    }
}

/// What `converse` leaves in the file.
fn assert_conversed(file: &File) {
    use std::os::unix::fs::FileExt;
    let mut words = [0; 12];
    file.read_exact_at(&mut words, 0).unwrap();
    assert_eq!(words[0..4], 3u32.to_ne_bytes());
    assert_eq!(words[4..8], 0x676e_6970u32.to_ne_bytes());
    assert_eq!(words[8..12], 0x676e_6f70u32.to_ne_bytes());
}

#[test]
fn unrelated_processes_share_a_file_that_both_map() {
    const ME: &str = "unrelated_processes_share_a_file_that_both_map";
    if let (Ok(side), Ok(path)) = (std::env::var("SIDE"), std::env::var("FILE")) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        return converse(&side, map(&file, page(), RW, MapFlags::SHARED, 0).unwrap());
    }
    let (path, file) = named_temp_file();
    file.set_len(page() as u64).unwrap();
    let name = path.to_str().unwrap();
    let sides =
        ["ping", "pong"].map(|side| start(&mut exec_self(ME, &[("SIDE", side), ("FILE", name)])));
    sides.into_iter().for_each(assert_passed);
    std::fs::remove_file(path).unwrap();
    assert_conversed(&file);
}

#[test]
fn unrelated_processes_share_a_memfd_that_each_was_handed() {
    const ME: &str = "unrelated_processes_share_a_memfd_that_each_was_handed";
    if let Ok(side) = std::env::var("SIDE") {
        // SAFETY: its standard input is the memfd, which nothing else here uses.
        let file = unsafe { File::from_raw_fd(0) };
        return converse(&side, map(&file, page(), RW, MapFlags::SHARED, 0).unwrap());
    }
    let file = memfd(page() as u64);
    let sides = ["ping", "pong"]
        .map(|side| start(exec_self(ME, &[("SIDE", side)]).stdin(file.try_clone().unwrap())));
    sides.into_iter().for_each(assert_passed);
    assert_conversed(&file);
}

#[test]
fn a_mapping_does_not_survive_exec() {
    const ME: &str = "a_mapping_does_not_survive_exec";
    const SECRET: u32 = 0x5ec2_e755;
    if let Ok(address) = std::env::var("ADDRESS") {
        // Something else may be mapped there now, but not the word.
        let there = at(address.parse().unwrap());
        assert_ne!(in_child(|| i32::from(get(word(there, 0)) == SECRET)), End::Exit(1));
        return;
    }
    let map = shared_page();
    set(word(map, 0), SECRET);
    assert_passed(start(&mut exec_self(ME, &[("ADDRESS", &map.addr().to_string())])));
}
