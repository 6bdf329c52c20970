//! [`Queue`]: bytes that come in at one end and go out at the other, over a [`Ring`].

use crate::owners::error::Error;
use crate::owners::ring::Ring;

/// A queue of bytes over a [`Ring`]. The unread bytes are always one slice, and so is the free room. No byte is
/// moved to the front, and no record is cut in two.
///
/// With the feature `std` it is a `Read`, a `BufRead` and a `Write`, as `VecDeque<u8>` is. `fill_from` fills it
/// from a `Read`, and `drain_to` empties it into a `Write`.
///
/// ```
/// use rawmap::Queue;
/// let mut queue = Queue::new(1 << 16)?;
/// queue.room()[..11].copy_from_slice(b"GET /\nHost:");
/// queue.written(11);
/// assert_eq!(queue.take_until(b'\n'), Some(&b"GET /\n"[..]));
/// assert_eq!(queue.take_until(b'\n'), None); // not all of it is there yet
/// assert_eq!(queue.unread(), b"Host:");
/// queue.consume(5);
/// assert_eq!(queue.room().len(), queue.capacity());
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Debug)]
pub struct Queue {
    // `head` is less than the ring's length, and `unread` at most that.
    ring: Ring,
    head: usize,
    unread: usize,
}

impl Queue {
    /// An empty queue for `capacity` bytes, rounded up to whole pages.
    ///
    /// The calls of [`Ring::new`]. The other methods make none.
    ///
    /// # Errors
    /// Those of [`Ring::new`].
    pub fn new(capacity: usize) -> Result<Self, Error> {
        Ok(Self::from(Ring::new(capacity)?))
    }

    /// How many bytes it can hold.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// All bytes that were written and not consumed yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.ring.slice(self.head, self.unread)
    }

    /// All the free room. Store bytes at its front, and then call [`written`](Self::written) with their number.
    #[must_use]
    pub fn room(&mut self) -> &mut [u8] {
        // It does not wrap: both are less than the address space by far.
        self.ring.slice_mut(self.head + self.unread, self.ring.len() - self.unread)
    }

    /// Makes the first `count` bytes of the [room](Self::room) unread bytes.
    ///
    /// # Panics
    /// If there is less room.
    #[track_caller]
    pub fn written(&mut self, count: usize) {
        let room = self.ring.len() - self.unread;
        assert!(count <= room, "{count} bytes written into room for {room}");
        self.unread += count;
    }

    /// Drops the first `count` unread bytes: their place becomes free room.
    ///
    /// # Panics
    /// If there are fewer unread bytes.
    #[track_caller]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.unread, "{count} bytes consumed of {}", self.unread);
        self.head = (self.head + count) % self.ring.len();
        self.unread -= count;
    }

    /// Consumes and returns all unread bytes up to and including the first byte that equals `end`. With `b'\n'`
    /// that is a line. `None` if there is no such byte; if there is also no [room](Self::room) left, the record
    /// is longer than the queue.
    #[must_use]
    pub fn take_until(&mut self, end: u8) -> Option<&[u8]> {
        let head = self.head;
        let count = self.unread().iter().position(|byte| *byte == end)? + 1;
        self.consume(count);
        Some(self.ring.slice(head, count))
    }

    /// The ring, with the bytes that it holds.
    #[must_use]
    pub fn into_ring(self) -> Ring {
        self.ring
    }
}

impl From<Ring> for Queue {
    /// An empty queue over a ring.
    fn from(ring: Ring) -> Self {
        Self { ring, head: 0, unread: 0 }
    }
}
