//! What the process's state may bring up first: the sets for [`Refusal::earlier`](super::Refusal).

use crate::Errno;

pub(super) const NOTHING: &[Errno] = &[];
/// What mmap may answer before it looks at the length: no such file.
pub(super) const NO_FILE: &[Errno] = &[Errno::EBADF];
/// What mmap of anonymous memory may answer before it looks at a fixed address: too many mappings.
pub(super) const COUNT: &[Errno] = &[Errno::ENOMEM];
/// What it may answer before it looks at the sharing: the address is taken or forbidden, too much
/// is locked.
pub(super) const PLACE: &[Errno] = &[Errno::ENOMEM, Errno::EPERM, Errno::EEXIST, Errno::EAGAIN];
/// The same for a regular file: [`COUNT`].
pub(super) const FILE_COUNT: &[Errno] = &[Errno::EBADF, Errno::ENOMEM];
/// And all until mmap has done with a regular file.
pub(super) const FILE: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
    Errno::ENODEV,
];
/// And what it may say when it has placed the mapping, before the file system refuses `MAP_SYNC`: of
/// what it replaces (the vdso can't be split), of `PROT_MTE`, and of the file system itself.
pub(super) const FILE_SYSTEM: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
    Errno::ENODEV,
    Errno::EINVAL,
    Errno::EIO,
    Errno::EROFS,
];
/// The same for huge pages, whose size may be missing or unknown, and for any other file, which may
/// be of huge pages, or place its mappings itself: [`COUNT`].
pub(super) const HUGE_COUNT: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EINVAL,
    Errno::ENOSPC,
    Errno::ENODEV,
    Errno::ENOENT,
    Errno::ENFILE,
    Errno::E2BIG,
];
/// And all until mmap has done with it.
pub(super) const HUGE: &[Errno] = &[
    Errno::EBADF,
    Errno::ENOMEM,
    Errno::EINVAL,
    Errno::ENOSPC,
    Errno::ENODEV,
    Errno::ENOENT,
    Errno::ENFILE,
    Errno::E2BIG,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
];
/// What mremap may answer for what is mapped at the old address.
pub(super) const MREMAP_OLD: &[Errno] = &[Errno::EFAULT, Errno::EPERM, Errno::ENOMEM];
/// What madvise may answer for the first part of a range, before it comes to the hole.
pub(super) const ADVISED: &[Errno] = &[
    Errno::EINVAL,
    Errno::EACCES,
    Errno::EPERM,
    Errno::EAGAIN,
    Errno::EBUSY,
    Errno::EIO,
    Errno::EBADF,
    Errno::EFAULT,
    Errno::EHWPOISON,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
];
/// The same of `MADV_REMOVE`, which is the file system's fallocate.
pub(super) const REMOVED: &[Errno] = &[
    Errno::EINVAL,
    Errno::EACCES,
    Errno::EPERM,
    Errno::EAGAIN,
    Errno::EBUSY,
    Errno::EIO,
    Errno::EBADF,
    Errno::EFAULT,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
    Errno::ENODEV,
    Errno::EFBIG,
    Errno::ETXTBSY,
    Errno::EDQUOT,
    Errno::EROFS,
];
/// The same of mprotect.
pub(super) const PROTECTED: &[Errno] = &[Errno::EINVAL, Errno::EACCES, Errno::EPERM];
/// The same of msync, which is the file's fsync.
pub(super) const SYNCED: &[Errno] =
    &[Errno::EBUSY, Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EINVAL, Errno::EROFS];
