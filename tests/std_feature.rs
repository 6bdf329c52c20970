//! Feature `std`: errors become `io::Error`, and files are mapped by anything that lends a descriptor.
#![cfg(feature = "std")]
mod common;
use common::*;
use rawmap::{Errno, Error, MapFlags, MapOptions, Mapping, Prot, Raw, mmap_file, munmap};
use static_assertions::assert_not_impl_any;
use std::error::Error as _;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

#[test]
fn an_errno_is_the_io_error_of_its_number() {
    for errno in Errno::NAMED {
        assert_eq!(io::Error::from(*errno).raw_os_error(), Some(errno.raw()));
    }
    let kinds = [
        (Errno::ENOENT, ErrorKind::NotFound),
        (Errno::EPERM, ErrorKind::PermissionDenied),
        (Errno::EEXIST, ErrorKind::AlreadyExists),
        (Errno::EINVAL, ErrorKind::InvalidInput),
        (Errno::ENOMEM, ErrorKind::OutOfMemory),
    ];
    for (errno, kind) in kinds {
        assert_eq!(io::Error::from(errno).kind(), kind);
    }
}

#[test]
fn an_owners_error_keeps_its_call_in_the_io_error() {
    fn fails() -> io::Result<()> {
        MapOptions::new(0).anonymous()?;
        Ok(())
    }
    let error = fails().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("mmap(NULL, 0, PROT_READ|PROT_WRITE"), "{error}");
    let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!((inner.errno(), inner.source().is_none()), (Errno::EINVAL, true));
}

#[test]
fn an_error_that_no_call_made_is_invalid_input() {
    let error = io::Error::from(MapOptions::new(usize::MAX).anonymous().unwrap_err());
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// The second page's first byte.
fn second(map: &Mapping<Raw>) -> u8 {
    // SAFETY: a byte that can be read, of a file that nobody writes.
    unsafe { map.as_ptr().add(page()).read() }
}

#[test]
fn a_file_is_mapped_by_whatever_lends_its_descriptor() {
    let file = file_of_pages(3);
    let options = MapOptions::new(2 * page()).prot(Prot::READ);
    assert_eq!(second(&options.file_of(&file, page() as u64).unwrap()), 3);
    assert_eq!(second(&options.file_of(file.as_fd(), 0).unwrap()), 2);
    let owned = OwnedFd::from(file);
    assert_eq!(second(&options.file_of(&owned, 0).unwrap()), 2);
    // It may be lent for good, and is closed then.
    let map = options.align(1 << 22).file_of(owned, 0).unwrap();
    assert_eq!((second(&map), map.as_ptr().addr() % (1 << 22)), (2, 0));
}

#[test]
fn a_file_that_can_not_be_mapped_so_is_an_error() {
    let (path, _) = named_temp_file();
    let read_only = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let error = MapOptions::new(1).shared().file_of(&read_only, 0).unwrap_err();
    assert_eq!(error.errno(), Errno::EACCES);
    let error = MapOptions::new(1).prot(Prot::READ).file_of(&read_only, 1).unwrap_err();
    assert_eq!(error.errno(), Errno::EINVAL);
}

#[test]
fn the_raw_function_maps_by_a_lent_descriptor_too() {
    let file = file_of_pages(1);
    // SAFETY: a new mapping, which nothing else refers to, of a file that nobody writes.
    unsafe {
        let null = std::ptr::null_mut();
        let map = mmap_file(null, page(), Prot::READ, MapFlags::PRIVATE, &file, 0).unwrap();
        assert_eq!(map.read(), 1);
        munmap(map, page()).unwrap();
    }
}

// Bytes that others may write are no slice.
assert_not_impl_any!(Mapping<Raw>: std::ops::Deref);
