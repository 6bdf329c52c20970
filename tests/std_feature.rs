//! Feature `std`: errors become `io::Error`, and files are mapped by anything that lends a descriptor.
#![cfg(feature = "std")]
mod common;
use common::*;
use rawmap::{
    AsDescriptor, DualMapping, Errno, Error, Fd, MapFlags, MapOptions, Mapping, Mode, Prot,
    Refused, Reservation, Sharing, mmap_file, munmap,
};
use static_assertions::assert_impl_all;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
fn an_owners_error_keeps_its_number_in_the_io_error() {
    fn fails() -> io::Result<()> {
        MapOptions::new(0).anonymous()?;
        Ok(())
    }
    let error = fails().unwrap_err();
    assert_eq!((error.raw_os_error(), error.kind()), (Some(libc::EINVAL), ErrorKind::InvalidInput));
    let error = io::Error::from(MapOptions::new(1 << 62).anonymous().unwrap_err());
    assert_eq!((error.raw_os_error(), error.kind()), (Some(libc::ENOMEM), ErrorKind::OutOfMemory));
}

#[test]
fn an_error_that_no_call_made_has_a_number_too() {
    let long = MapOptions::new(usize::MAX).anonymous().unwrap_err();
    assert_eq!(io::Error::from(long).raw_os_error(), Some(libc::ENOMEM));
    let odd = MapOptions::new(1).align(3).anonymous().unwrap_err();
    assert_eq!(io::Error::from(odd).raw_os_error(), Some(libc::EINVAL));
    let folder = File::open("/").unwrap();
    // SAFETY: nothing is mapped.
    let folder = unsafe { MapOptions::whole().file(&folder, 0) }.unwrap_err();
    assert_eq!(io::Error::from(folder).raw_os_error(), Some(libc::ENODEV));
    let behind = DualMapping::new(1).unwrap().write(usize::MAX, &[1]).unwrap_err();
    assert_eq!(io::Error::from(behind).kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_operation_by_value_that_fails_is_an_io_error_and_gives_its_owner_up() {
    fn fails(at: &mut *mut u8) -> io::Result<()> {
        let place = Reservation::new(2 * page(), Mode::Strict)?;
        *at = place.as_ptr();
        place.place(&mut MapOptions::new(page()).anonymous()?)?;
        Ok(())
    }
    alone(|| {
        let (mut at, mut space) = (std::ptr::null_mut(), Space::new());
        let error = fails(&mut at).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        space.look();
        assert!(space.lacks(at, 2 * page()));
    });
}

#[test]
fn a_file_is_mapped_by_whatever_lends_its_descriptor() {
    let file = file_of_pages(3);
    let options = MapOptions::new(2 * page());
    // SAFETY: nobody else has the file.
    let second = |file: &dyn Lends, offset: usize| unsafe {
        options.file(file.fd(), offset as u64).unwrap()[page()]
    };
    assert_eq!((second(&file, page()), second(&file.as_fd(), 0)), (3, 2));
    let owned = OwnedFd::from(file);
    assert_eq!(second(&owned, 0), 2);
    // SAFETY: as above. By reference, or by value: an owned descriptor that is lent so is closed then.
    unsafe {
        assert_eq!(options.file(&owned, 0).unwrap()[0], 1);
        let map = options.align(1 << 22).file(owned, 0).unwrap();
        assert_eq!((map[page()], map.as_ptr().addr() % (1 << 22)), (2, 0));
    }
}

trait Lends {
    fn fd(&self) -> Fd<'_>;
}

impl<T: AsDescriptor> Lends for T {
    fn fd(&self) -> Fd<'_> {
        self.as_descriptor()
    }
}

#[test]
fn each_terminator_takes_what_lends_a_descriptor() {
    let file = file_of_pages(1);
    // SAFETY: nobody else has the file, and the mappings follow each other.
    unsafe {
        assert_eq!(MapOptions::whole().file(&file, 1).unwrap().len(), page() - 1);
        MapOptions::whole().file_copy(&file, 0).unwrap().fill(98);
        assert_eq!(MapOptions::whole().file(&file, 0).unwrap()[0], 1);
        MapOptions::whole().file_mut(&file, 0).unwrap().fill(99);
        assert_eq!(MapOptions::whole().file(&file, 0).unwrap()[page() - 1], 99);
    }
    let raw = MapOptions::whole().file_raw(file.as_fd(), 9, Prot::READ, Sharing::Shared).unwrap();
    // SAFETY: a byte of the file.
    assert_eq!((raw.len(), unsafe { raw.as_ptr().read() }), (page() - 9, 99));
    assert_eq!(file.as_descriptor().raw(), file.as_raw_fd());
}

#[test]
fn a_file_that_can_not_be_mapped_so_is_an_error() {
    let (path, _) = named_temp_file();
    std::fs::write(&path, "text").unwrap();
    let read_only = File::open(&path).unwrap();
    let write_only = File::options().write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    // SAFETY: nothing is mapped.
    let (shared, unread) = unsafe {
        (MapOptions::new(1).file_mut(&read_only, 0), MapOptions::new(1).file(&write_only, 0))
    };
    assert_eq!(shared.unwrap_err().errno(), Errno::EACCES);
    assert_eq!(unread.unwrap_err().errno(), Errno::EACCES);
    // SAFETY: nobody else has the file.
    let copy = unsafe { MapOptions::whole().file_copy(&read_only, 1) }.unwrap();
    assert_eq!(copy[..], *b"ext", "a copy of it may be written");
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

assert_impl_all!(File: AsDescriptor);
assert_impl_all!(&File: AsDescriptor);
assert_impl_all!(BorrowedFd<'static>: AsDescriptor);
assert_impl_all!(std::net::TcpStream: AsDescriptor);
assert_impl_all!(io::Error: From<Error>, From<Errno>, From<Refused<Mapping>>);
