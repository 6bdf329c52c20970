//! What safe programs can't do with the owners, since it does not compile. These are tests, which only the
//! library's own documentation can hold; the codes are looked at by nightly compilers.

/// A slice of a mapping after it was unmapped:
///
/// ```compile_fail,E0505
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// map.unmap().unwrap();
/// println!("{byte}");
/// ```
///
/// A slice that outlives it:
///
/// ```compile_fail,E0597
/// # use rawmap::MapOptions;
/// let byte = {
///     let map = MapOptions::new(1).anonymous().unwrap();
///     &map[0]
/// };
/// println!("{byte}");
/// ```
///
/// Resizing it, which may move it, purging it, splitting it or moving it to a place, while a slice of it is
/// in use:
///
/// ```compile_fail,E0502
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// map.resize(1 << 20).unwrap();
/// println!("{byte}");
/// ```
///
/// ```compile_fail,E0502
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// map.purge(..).unwrap();
/// println!("{byte}");
/// ```
///
/// ```compile_fail,E0502
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// drop(map.split_off(0).unwrap());
/// println!("{byte}");
/// ```
///
/// ```compile_fail,E0502
/// # use rawmap::{MapOptions, Mode, Reservation};
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// Reservation::new(1, Mode::Strict).unwrap().place(&mut map).unwrap();
/// println!("{byte}");
/// ```
///
/// Writing a read-only one, and what was made so:
///
/// ```compile_fail,E0594
/// # use rawmap::{Fd, MapOptions};
/// # let file = unsafe { Fd::borrow_raw(0) };
/// let mut map = unsafe { MapOptions::new(1).file(file, 0).unwrap() };
/// map[0] = 1;
/// ```
///
/// ```compile_fail,E0594
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap().make_read_only().unwrap();
/// map[0] = 1;
/// ```
///
/// A slice of one that may be unreadable, or that others may write:
///
/// ```compile_fail,E0608
/// # use rawmap::{MapOptions, Prot, Sharing};
/// let map = MapOptions::new(1).raw(Prot::NONE, Sharing::Private).unwrap();
/// println!("{}", map[0]);
/// ```
///
/// ```compile_fail,E0614
/// # use rawmap::{MapOptions, Prot, Sharing};
/// let map = MapOptions::new(1).raw(Prot::READ, Sharing::Shared).unwrap();
/// let bytes: &[u8] = &*map;
/// ```
///
/// Protecting or guarding one that gives out slices; and making one that does of raw memory:
///
/// ```compile_fail,E0599
/// # use rawmap::{MapOptions, Prot};
/// let map = MapOptions::new(1).anonymous().unwrap();
/// map.protect(.., Prot::NONE).unwrap();
/// ```
///
/// ```compile_fail,E0599
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// map.guard(..).unwrap();
/// ```
///
/// ```compile_fail,E0308
/// # use rawmap::{MapOptions, Mapping, Prot, ReadWrite, Sharing};
/// let map: Mapping<ReadWrite> = MapOptions::new(1).raw(Prot::READ, Sharing::Shared).unwrap();
/// ```
///
/// ```compile_fail,E0133
/// # use rawmap::{MapOptions, Mapping, Prot, ReadWrite, Sharing};
/// let map = MapOptions::new(1).raw(Prot::READ, Sharing::Shared).unwrap();
/// let map: Mapping<ReadWrite> = map.assume();
/// ```
///
/// Using an owner after it was sealed, converted, joined to another or given back as a reservation:
///
/// ```compile_fail,E0382
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let sealed = map.seal();
/// println!("{}", map[0]);
/// ```
///
/// ```compile_fail,E0382
/// # use rawmap::MapOptions;
/// let mut map = MapOptions::new(1).anonymous().unwrap();
/// let read_only = map.make_read_only();
/// map[0] = 1;
/// ```
///
/// ```compile_fail,E0382
/// # use rawmap::MapOptions;
/// let mut low = MapOptions::new(1 << 20).anonymous().unwrap();
/// let high = low.split_off(1 << 19).unwrap();
/// low.try_unsplit(high).unwrap();
/// println!("{}", high[0]);
/// ```
///
/// ```compile_fail,E0505
/// # use rawmap::{MapOptions, Mode};
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let byte = &map[0];
/// let place = map.into_reservation(Mode::Strict);
/// println!("{byte}");
/// ```
///
/// Sending a slice of it to a thread that may outlive it:
///
/// ```compile_fail,E0597
/// # use rawmap::MapOptions;
/// let map = MapOptions::new(1).anonymous().unwrap();
/// let bytes = &map[..];
/// std::thread::spawn(move || println!("{}", bytes[0]));
/// ```
///
/// Making a slice of a file, which others may write; lending a descriptor by its number; mapping at an
/// address; laying something over a part; all without `unsafe`:
///
/// ```compile_fail,E0133
/// # use rawmap::{Fd, MapOptions};
/// # let file = unsafe { Fd::borrow_raw(0) };
/// let map = MapOptions::new(1).file(file, 0);
/// ```
///
/// ```compile_fail,E0133
/// # use rawmap::Fd;
/// let file = Fd::borrow_raw(0);
/// ```
///
/// ```compile_fail,E0133
/// # use rawmap::{MapFlags, MapOptions, Place, Prot};
/// let place = Place::Hint(core::ptr::null_mut());
/// let map = MapOptions::new(1).at(place, Prot::READ, MapFlags::PRIVATE, -1, 0);
/// ```
///
/// ```compile_fail,E0133
/// # use rawmap::{MapFlags, MapOptions, Prot, Sharing};
/// let map = MapOptions::new(1).raw(Prot::READ, Sharing::Private).unwrap();
/// map.overlay(.., Prot::READ, MapFlags::PRIVATE, 0, 0).unwrap();
/// ```
///
/// Reading a ring through one borrow while it is written through another:
///
/// ```compile_fail,E0502
/// # use rawmap::Ring;
/// let mut ring = Ring::new(1).unwrap();
/// let read = ring.slice(0, 1);
/// ring.slice_mut(0, 1)[0] = 1;
/// println!("{read:?}");
/// ```
///
/// A kind of access of one's own:
///
/// ```compile_fail,E0277
/// struct Mine;
/// impl rawmap::Access for Mine {}
/// ```
mod examples {}
