//! Anonymous memory: reads as zeroes, can be written, is gone after munmap.
mod common;
use common::*;

#[test]
fn anonymous_memory_is_zero_filled_and_writable() {
    let map = anonymous(3 * page(), RW);
    // SAFETY: three pages of ours, mapped for reading and writing.
    let bytes = unsafe { std::slice::from_raw_parts_mut(map, 3 * page()) };
    assert!(bytes.iter().all(|byte| *byte == 0));
    bytes.fill(0xa5);
    assert!(bytes.iter().all(|byte| *byte == 0xa5));
}

#[test]
fn anonymous_memory_is_gone_after_munmap() {
    let map = anonymous(3 * page(), RW);
    // SAFETY: the middle page is not used again but by children that ask for it.
    let middle = unsafe {
        rawmap::munmap(map.add(page()), page()).unwrap();
        map.add(page())
    };
    assert_eq!(reading(middle), SEGV);
    assert_eq!(writing(middle), SEGV);
    assert_eq!(reading(map), OK);
    assert_eq!(writing(map.wrapping_add(2 * page())), OK);
}
