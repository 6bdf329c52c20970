//! What the process's state may bring up first: the sets for [`Refusal::earlier`](super::Refusal).

use crate::Errno;

/// Two sets in one.
const fn both<const N: usize>(first: &[Errno], second: &[Errno]) -> [Errno; N] {
    assert!(first.len() + second.len() == N);
    let mut all = [Errno::EPERM; N];
    let mut n = 0;
    while n < N {
        all[n] = if n < first.len() { first[n] } else { second[n - first.len()] };
        n += 1;
    }
    all
}

pub(super) const NOTHING: &[Errno] = &[];

/// What mmap may answer before it looks at the length: no such file.
pub(super) const NO_FILE: &[Errno] = &[Errno::EBADF];
/// What mmap of anonymous memory may answer before it looks at a fixed address: too many mappings.
pub(super) const COUNT: &[Errno] = &[Errno::ENOMEM];
/// The same for a regular file.
pub(super) const FILE_COUNT: &[Errno] = &[Errno::EBADF, Errno::ENOMEM];
/// The same for huge pages, whose size may be missing or unknown, and for any other file, which may
/// be of huge pages, or place its mappings itself.
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

/// What it may answer before it looks at the sharing: the address is taken or forbidden, too much
/// is locked.
pub(super) const PLACE: &[Errno] = &[Errno::ENOMEM, Errno::EPERM, Errno::EEXIST, Errno::EAGAIN];
/// What it may say of the place and of a file besides.
const REST: &[Errno] = &[
    Errno::EPERM,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EOVERFLOW,
    Errno::EOPNOTSUPP,
    Errno::EACCES,
    Errno::ETXTBSY,
];
/// And all until mmap has done with a regular file.
pub(super) const FILE: &[Errno] = &both::<10>(&[Errno::EBADF, Errno::ENOMEM, Errno::ENODEV], REST);
/// The same for huge pages, and for any other file.
pub(super) const HUGE: &[Errno] = &both::<15>(HUGE_COUNT, REST);
/// And what it may say when it has placed the mapping, before the file system refuses `MAP_SYNC`: of
/// what it replaces (the vdso can't be split), of `PROT_MTE`, and of the file system itself.
pub(super) const FILE_SYSTEM: &[Errno] =
    &both::<13>(FILE, &[Errno::EINVAL, Errno::EIO, Errno::EROFS]);

/// What mremap may answer for what is mapped at the old address.
pub(super) const MREMAP_OLD: &[Errno] = &[Errno::EFAULT, Errno::EPERM, Errno::ENOMEM];

/// What mprotect may answer for the first part of a range, before it comes to the hole.
pub(super) const PROTECTED: &[Errno] = &[Errno::EINVAL, Errno::EACCES, Errno::EPERM];
/// The same of madvise.
pub(super) const ADVISED: &[Errno] = &both::<11>(
    PROTECTED,
    &[
        Errno::EAGAIN,
        Errno::EBUSY,
        Errno::EIO,
        Errno::EBADF,
        Errno::EFAULT,
        Errno::EHWPOISON,
        Errno::ENOSPC,
        Errno::EOPNOTSUPP,
    ],
);
/// And of `MADV_REMOVE`, which is the file system's fallocate.
pub(super) const REMOVED: &[Errno] = &both::<16>(
    ADVISED,
    &[Errno::ENODEV, Errno::EFBIG, Errno::ETXTBSY, Errno::EDQUOT, Errno::EROFS],
);
/// The same of msync, which is the file's fsync.
pub(super) const SYNCED: &[Errno] =
    &[Errno::EBUSY, Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EINVAL, Errno::EROFS];
