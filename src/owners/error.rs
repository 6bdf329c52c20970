//! What the owners' operations fail with.

use crate::arch::Arch;
use crate::call::{Call, Operation};
use crate::check::{Kernel, Reason};
use crate::errno::Errno;
use crate::flags::{Advice, MapFlags, MremapFlags, Prot};
use crate::owners::process;
use crate::raw::RawFd;
use core::fmt;

/// Why an operation of an owner failed: the call that the kernel refused, or the argument that was
/// wrong before any call was made.
///
/// It prints one line. For an argument, the line names the operation, the argument, its value, and the limit. For
/// a call, it has the call as strace prints it, the kernel's error, and the reason, where
/// [`Call::check`] finds one in the call's arguments; otherwise it has a question that most often leads to the
/// remedy. Sizes are in bytes, and decimal; addresses are hexadecimal.
///
/// A function that makes raw calls too may return [`Errno`]: there `?` turns an `Error` into [its
/// number](Self::errno).
///
/// ```
/// use rawmap::MapOptions;
/// let error = MapOptions::new(0).anonymous().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "mmap(NULL, 0, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0): \
///      EINVAL: invalid argument: the length is 0",
/// );
/// let mut memory = MapOptions::new(1 << 20).anonymous()?;
/// let error = memory.purge(1..4096).unwrap_err();
/// assert!(error.to_string().starts_with("Mapping::purge: the range's start 1 is not a multiple of "));
/// # Ok::<(), rawmap::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The kernel refused a call of the family.
    Refused { call: Call, errno: Errno },
    /// The kernel refused a call that is not of the family, such as `fstat`.
    RefusedBeyond { call: &'static str, of: RawFd, errno: Errno },
    /// An argument was wrong, and no call was made.
    Argument {
        operation: &'static str,
        argument: &'static str,
        value: usize,
        limit: usize,
        wrong: Wrong,
    },
}

/// In place of a descriptor: the call has none. (A program may lend -1. An `Option` would be a word more, and so two
/// instructions where a file is mapped.)
const NOTHING: RawFd = RawFd::MIN;
/// The call that names memory.
pub(super) const NAMING: &str = "prctl(PR_SET_VMA_ANON_NAME)";
/// The call by which a memory file keeps its pages.
pub(super) const ALLOCATING: &str = "fallocate";

/// What is wrong with an argument, beside its limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is more than the limit: the length of what it lies in.
    BeyondLength,
    /// It is more than the limit: what the file has from the offset on.
    BeyondFile,
    /// It is more than the limit: what the caller's buffer has room for.
    BeyondRoom,
    /// It is more than the limit, and memory: the kernel's own answer is ENOMEM.
    TooLong,
    /// It is one more than the limit: how many stacks there are. All are taken.
    AllTaken,
    /// It is less than the limit.
    TooSmall,
    /// It is not a multiple of the limit.
    NotAMultiple,
    /// It is an address, and not a multiple of the limit.
    Misaligned,
    /// It is not a power of two.
    NotAPowerOfTwo,
    /// It differs from the limit, which it must equal.
    Differs,
    /// The operation does not take it. The argument's name says why, and what to do.
    NotOffered,
    /// It is advice that the operation does not take. The argument's name says what does.
    NoHint,
    /// It is no file that can be mapped. The argument's name says what it is, and what to do.
    NotMappable,
    /// The kernel offers only ground that a stack may grow into.
    StackGround,
}

impl Error {
    pub(super) const fn refused(call: Call, errno: Errno) -> Self {
        Self(Kind::Refused { call, errno })
    }

    pub(super) const fn refused_beyond(call: &'static str, errno: Errno) -> Self {
        Self(Kind::RefusedBeyond { call, of: NOTHING, errno })
    }

    /// The same of a call that asks of a descriptor.
    pub(super) const fn refused_of(call: &'static str, of: RawFd, errno: Errno) -> Self {
        Self(Kind::RefusedBeyond { call, of, errno })
    }

    pub(super) const fn wrong(
        operation: &'static str,
        argument: &'static str,
        value: usize,
        wrong: Wrong,
        limit: usize,
    ) -> Self {
        Self(Kind::Argument { operation, argument, value, limit, wrong })
    }

    /// The same of an operation that another owner's does the work of: a wrong argument was that operation's.
    pub(super) fn of(operation: &'static str) -> impl Fn(Self) -> Self {
        move |mut error| {
            if let Kind::Argument { operation: named, .. } = &mut error.0 {
                *named = operation;
            }
            error
        }
    }

    /// The error as a number. If the kernel has refused a call, it is the kernel's. For an argument it is ENOMEM
    /// if no memory can be so long, if all stacks of a pool are taken, or if the place lies where the main thread's
    /// stack may grow; ENODEV if the descriptor is not of a file that can be mapped; and else EINVAL.
    ///
    /// ```
    /// use rawmap::{Errno, MapOptions};
    /// let error = MapOptions::new(usize::MAX).anonymous().unwrap_err();
    /// assert_eq!((error.errno(), error.call()), (Errno::ENOMEM, None));
    /// ```
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self.0 {
            Kind::Refused { errno, .. } | Kind::RefusedBeyond { errno, .. } => errno,
            Kind::Argument {
                wrong: Wrong::TooLong | Wrong::AllTaken | Wrong::StackGround, ..
            } => Errno::ENOMEM,
            Kind::Argument { wrong: Wrong::NotMappable, .. } => Errno::ENODEV,
            Kind::Argument { .. } => Errno::EINVAL,
        }
    }

    /// The call that the kernel refused; `None` if an argument was wrong, or if the call is none that maps memory,
    /// such as `fstat`.
    ///
    /// ```
    /// use rawmap::{MapOptions, Operation};
    /// let error = MapOptions::new(0).anonymous().unwrap_err();
    /// let operation = error.call().unwrap().operation();
    /// assert!(matches!(operation, Operation::Mmap { len: 0, fd: -1, .. }));
    /// ```
    #[must_use]
    pub const fn call(&self) -> Option<Call> {
        match self.0 {
            Kind::Refused { call, .. } => Some(call),
            _ => None,
        }
    }

    /// Why the kernel refused the call, where [`Call::check`] finds the reason in the call's arguments. No call.
    ///
    /// ```
    /// use rawmap::{MapOptions, MsyncFlags, Reason};
    /// let memory = MapOptions::new(1).anonymous()?;
    /// let error = memory.sync(.., MsyncFlags::SYNC | MsyncFlags::ASYNC).unwrap_err();
    /// assert_eq!(error.reason(), Some(Reason::SyncAndAsync));
    /// # Ok::<(), rawmap::Error>(())
    /// ```
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let Kind::Refused { call, errno } = self.0 else { return None };
        let refusal = call.check(&Kernel::new(Arch::HOST, process::known_page_size()?)).err()?;
        (refusal.errno() == errno).then_some(refusal.reason())
    }

    /// Whether a filter, a security module or an emulator may have refused the call, and not a lack of
    /// something: then the same can perhaps be had otherwise. (QEMU's user mode says ENOMEM to each mremap of
    /// length 0.)
    pub(super) fn is_by_policy(&self) -> bool {
        let lacks_nothing =
            matches!(self.errno(), Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::EINVAL);
        match self.call().map(Call::operation) {
            Some(Operation::Mmap { len: 0, .. }) => false,
            Some(Operation::Mremap { .. }) => true,
            _ => lacks_nothing,
        }
    }

    /// The argument that was wrong before any call was made, its value, and the limit that it missed,
    /// if it has one. Where no number is wrong, as with a descriptor of a directory or a name with a bracket, the
    /// text is the whole sentence, and the value says nothing.
    ///
    /// ```
    /// use rawmap::MapOptions;
    /// let error = MapOptions::new(100).align(24).anonymous().unwrap_err();
    /// assert_eq!(error.argument(), Some(("the alignment", 24, None)));
    /// ```
    #[must_use]
    pub const fn argument(&self) -> Option<(&'static str, usize, Option<usize>)> {
        match self.0 {
            Kind::Argument { argument, value, limit, wrong, .. } => match wrong {
                Wrong::NotAPowerOfTwo
                | Wrong::NotOffered
                | Wrong::NoHint
                | Wrong::NotMappable
                | Wrong::StackGround => Some((argument, value, None)),
                _ => Some((argument, value, Some(limit))),
            },
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, argument, value, limit, wrong) = match self.0 {
            Kind::Refused { call, errno } => {
                write!(f, "{call}: {errno}")?;
                return match (self.reason(), remedy(call.operation(), errno)) {
                    (Some(reason), _) => write!(f, ": {reason}"),
                    (None, Some(remedy)) => write!(f, ": {remedy}"),
                    (None, None) => Ok(()),
                };
            }
            Kind::RefusedBeyond { call, of, errno } => {
                f.write_str(call)?;
                if of != NOTHING {
                    write!(f, " of descriptor {of}")?;
                }
                write!(f, ": {errno}")?;
                return match (call, errno) {
                    (NAMING, Errno::EINVAL) => {
                        f.write_str(": was this kernel built with names (CONFIG_ANON_VMA_NAME)?")
                    }
                    (ALLOCATING, Errno::EBADF) => f.write_str(": is it open for writing too?"),
                    (NAMING, Errno::EBADF) => f.write_str(": only anonymous memory has a name"),
                    _ => Ok(()),
                };
            }
            Kind::Argument { operation, argument, value, limit, wrong } => {
                (operation, argument, value, limit, wrong)
            }
        };
        write!(f, "{operation}: ")?;
        match wrong {
            Wrong::BeyondLength => write!(f, "{argument} {value} is more than the length {limit}"),
            Wrong::BeyondFile => {
                write!(
                    f,
                    "{argument} {value} is more than the {limit} bytes that the file has there"
                )
            }
            Wrong::BeyondRoom => {
                write!(f, "{argument} {value} is more than the {limit} that there is room for")
            }
            Wrong::TooLong => write!(f, "{argument} {value} is more than the largest, {limit}"),
            Wrong::AllTaken => write!(f, "all {limit} stacks are taken"),
            Wrong::TooSmall if limit == 1 => write!(f, "{argument} is 0"),
            Wrong::TooSmall => write!(f, "{argument} {value} is less than {limit}"),
            Wrong::NotAMultiple => write!(f, "{argument} {value} is not a multiple of {limit}"),
            Wrong::Misaligned => write!(f, "{argument} {value:#x} is not a multiple of {limit}"),
            Wrong::NotAPowerOfTwo => write!(f, "{argument} {value} is not a power of two"),
            Wrong::Differs => write!(f, "{argument} {value} is not {limit}"),
            Wrong::NotOffered | Wrong::NotMappable => f.write_str(argument),
            Wrong::NoHint => write!(f, "{} {argument}", Advice::from_bits(value as i32)),
            Wrong::StackGround => {
                write!(f, "{argument} {value:#x} lies where the main thread's stack may grow")
            }
        }
    }
}

/// What more memory, mapped or grown, is refused for.
const PROMISE: &str = "is it more than vm.overcommit_memory, ulimit -v or -d allow?";

/// What to do about a refusal that the words of the call don't explain, where one thing helps most often.
fn remedy(operation: Operation, errno: Errno) -> Option<&'static str> {
    match (operation, errno) {
        (Operation::Mmap { prot, flags, .. }, Errno::EACCES) => {
            if prot.contains(Prot::WRITE) && !flags.contains(MapFlags::PRIVATE) {
                Some("is the file open for both reading and writing?")
            } else {
                Some("is the file open for reading?")
            }
        }
        (Operation::Mprotect { prot, .. }, Errno::EACCES) if prot.contains(Prot::EXEC) => {
            Some("may what was written be run here (PR_SET_MDWE, SELinux)? see DualMapping")
        }
        (Operation::Mprotect { prot, .. }, Errno::EACCES) if prot.contains(Prot::WRITE) => {
            Some("is the file open for writing?")
        }
        (Operation::Mmap { flags, .. }, Errno::ENOMEM) if flags.contains(MapFlags::HUGETLB) => {
            Some("are so many huge pages free (vm.nr_hugepages)?")
        }
        (Operation::Mmap { prot, flags, .. }, Errno::ENOMEM) if is_promised(prot, flags) => {
            Some(PROMISE)
        }
        (Operation::Mmap { .. }, Errno::ENOMEM) => {
            Some("is it more than ulimit -v allows, or are there vm.max_map_count mappings?")
        }
        (Operation::Mremap { old_len, new_len, flags, .. }, Errno::ENOMEM) if new_len > old_len => {
            if flags.contains(MremapFlags::MAYMOVE) {
                Some(PROMISE)
            } else {
                Some("is something mapped right behind it?")
            }
        }
        (Operation::Mremap { .. }, Errno::EFAULT) => Some(
            "are its parts protected, locked, advised or named differently? the kernel moves one at a time",
        ),
        (Operation::Mprotect { prot, .. }, Errno::ENOMEM) if prot.contains(Prot::WRITE) => Some(
            "is it more than vm.overcommit_memory or ulimit -d allow, or are there vm.max_map_count mappings?",
        ),
        (Operation::Mmap { .. }, Errno::EEXIST) => Some("something is mapped there"),
        (Operation::Mmap { flags, .. }, Errno::EBADF) if !flags.contains(MapFlags::ANONYMOUS) => {
            Some("is the descriptor open, and not by O_PATH?")
        }
        (Operation::Mmap { flags, .. }, Errno::EIO) if !flags.contains(MapFlags::ANONYMOUS) => {
            Some("a file of /proc can't be mapped; read it")
        }
        (
            Operation::Mprotect { .. } | Operation::Munmap { .. } | Operation::Mremap { .. },
            Errno::ENOMEM,
        ) => Some("are there vm.max_map_count mappings?"),
        (Operation::Mmap { flags, .. }, Errno::EAGAIN) if flags.contains(MapFlags::LOCKED) => {
            Some("more than this user may lock (ulimit -l)")
        }
        (Operation::Mlock { .. } | Operation::Mlock2 { .. }, Errno::ENOMEM | Errno::EPERM) => {
            Some("is it more than this user may lock (ulimit -l)?")
        }
        (Operation::Mmap { flags, .. }, Errno::EINVAL)
            if flags.contains(MapFlags::HUGETLB) && !flags.contains(MapFlags::ANONYMOUS) =>
        {
            Some("is the file on hugetlbfs, with pages of that size?")
        }
        (Operation::Mmap { flags, .. }, Errno::ENODEV) if !flags.contains(MapFlags::ANONYMOUS) => {
            Some("its file system or driver can't map it; read it")
        }
        (Operation::Mremap { old_len, new_len, .. }, Errno::EINVAL) if new_len > old_len => {
            Some("is there so much address space?")
        }
        (Operation::Madvise { advice: Advice::POPULATE_WRITE, .. }, Errno::EINVAL) => {
            Some("can it be written, and is the kernel Linux 5.14 or newer?")
        }
        (
            Operation::Madvise { advice: Advice::POPULATE_READ | Advice::POPULATE_WRITE, .. },
            Errno::EFAULT,
        ) => Some("does the file end before it, or is it guarded?"),
        (Operation::Madvise { advice: Advice::COLLAPSE, .. }, Errno::EINVAL) => Some(
            "has it a whole huge page, of memory that may be one (transparent_hugepage/enabled)?",
        ),
        (Operation::Madvise { advice: Advice::REMOVE, .. }, Errno::EINVAL) => {
            Some("is the memory private, or locked?")
        }
        _ => None,
    }
}

/// Whether the kernel promises memory by such a mapping, which it counts by one of these, or both: overcommitment
/// (`mm/vma.c`: `accountable_mapping`; `mm/shmem.c`), and RLIMIT_DATA (`is_data_mapping`).
const fn is_promised(prot: Prot, flags: MapFlags) -> bool {
    let private = flags.contains(MapFlags::PRIVATE);
    private && prot.contains(Prot::WRITE) || !private && flags.contains(MapFlags::ANONYMOUS)
}

impl fmt::Debug for Error {
    /// Prints what `Display` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Error {}

impl From<Error> for Errno {
    /// Its [number](Error::errno), where the function makes raw calls as well.
    ///
    /// ```
    /// use rawmap::{Errno, MapOptions, MsyncFlags};
    /// fn written(text: &[u8]) -> Result<(), Errno> {
    ///     let mut memory = MapOptions::new(4096).anonymous()?; // an Error
    ///     memory[..text.len()].copy_from_slice(text);
    ///     // SAFETY: it changes no memory.
    ///     unsafe { rawmap::msync(memory.as_mut_ptr(), 4096, MsyncFlags::SYNC) } // an Errno
    /// }
    /// assert_eq!(written(b"text"), Ok(()));
    /// ```
    fn from(error: Error) -> Self {
        error.errno()
    }
}

impl<T> From<Refused<T>> for Errno {
    /// The error's [number](Error::errno).
    fn from(refused: Refused<T>) -> Self {
        refused.error.errno()
    }
}

/// An operation that takes its owner by value failed: the error, and the owner as it was, unless it was lost.
///
/// `?` turns it into an [`Error`], which drops the owner.
///
/// ```
/// use rawmap::{Errno, MapOptions};
/// let table = MapOptions::new(1 << 20).anonymous()?;
/// match table.seal() {
///     Ok(sealed) => assert_eq!(sealed.len(), 1 << 20),
///     Err(refused) => {
///         // Before Linux 6.10: still owned, and still a slice.
///         assert_eq!(refused.error().errno(), Errno::ENOSYS);
///         assert_eq!(refused.into_owner().unwrap().len(), 1 << 20);
///     }
/// }
/// # Ok::<(), rawmap::Error>(())
/// ```
pub struct Refused<T> {
    error: Error,
    owner: Option<T>,
}

impl<T> Refused<T> {
    pub(super) const fn new(owner: T, error: Error) -> Self {
        Self { error, owner: Some(owner) }
    }

    /// The same of an operation that another owner's does the work of.
    pub(super) fn of(operation: &'static str) -> impl Fn(Self) -> Self {
        move |Self { error, owner }| Self { error: Error::of(operation)(error), owner }
    }

    /// The owner could not be put back, and was given up.
    pub(super) const fn without_owner(error: Error) -> Self {
        Self { error, owner: None }
    }

    /// What went wrong.
    #[must_use]
    pub const fn error(&self) -> Error {
        self.error
    }

    /// The owner as it was before the operation. `None` where the operation's documentation says that
    /// it may be lost, and it was.
    #[must_use]
    pub fn into_owner(self) -> Option<T> {
        self.owner
    }
}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.error
    }
}

impl<T> fmt::Display for Refused<T> {
    /// Prints the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> fmt::Debug for Refused<T> {
    /// Prints the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> core::error::Error for Refused<T> {}

/// Makes a call, and says which it was if the kernel refuses it.
///
/// # Safety
/// That of the raw function of the same name.
#[inline]
pub(super) unsafe fn issue(call: Call) -> Result<*mut u8, Error> {
    // SAFETY: the caller's promise, which is that of `make`.
    match unsafe { call.make() } {
        Ok(word) => Ok(word.as_ptr()),
        Err(errno) => Err(Error::refused(call, errno)),
    }
}
