//! Every constant, call number and error number equals the kernel's, as linux-raw-sys and syscalls
//! have it: proved when this file is compiled, for the target it is compiled for. Names are proved
//! when it runs.
//!
//! The lists are whole: what `linux_raw_sys::general` has with the prefixes MAP_, PROT_, MADV_,
//! MREMAP_, MCL_ and MLOCK_ (but MLOCK_LIMIT, the kernel's own default), msync's three of MS_, and
//! all of `linux_raw_sys::errno`.

use linux_raw_sys::{errno, general};
use rawmap::arch::nr;
use rawmap::{
    Advice, Errno, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, NO_FD, PageSize,
    Prot, Word,
};
use static_assertions::{assert_eq_size, assert_impl_all, const_assert, const_assert_eq};

/// Expands to one compile-time equality for each constant, and a test of the names that `Debug`
/// prints.
macro_rules! same {
    ($test:ident: $type:ident as $int:ty { $($const:ident = $linux:ident)* }) => {
        $(const_assert_eq!($type::$const.bits(), general::$linux as $int);)*

        #[test]
        fn $test() {
            $(assert_eq!(format!("{:?}", $type::$const), stringify!($linux));)*
        }
    };
}

same! { prot_constants_are_linuxs: Prot as usize {
    NONE = PROT_NONE READ = PROT_READ WRITE = PROT_WRITE EXEC = PROT_EXEC SEM = PROT_SEM
    GROWSDOWN = PROT_GROWSDOWN GROWSUP = PROT_GROWSUP
} }

#[cfg(target_arch = "aarch64")]
same! { prot_constants_of_aarch64_are_linuxs: Prot as usize { BTI = PROT_BTI MTE = PROT_MTE } }

same! { map_constants_are_linuxs: MapFlags as usize {
    FILE = MAP_FILE SHARED = MAP_SHARED PRIVATE = MAP_PRIVATE SHARED_VALIDATE = MAP_SHARED_VALIDATE
    DROPPABLE = MAP_DROPPABLE FIXED = MAP_FIXED ANONYMOUS = MAP_ANONYMOUS
    GROWSDOWN = MAP_GROWSDOWN DENYWRITE = MAP_DENYWRITE EXECUTABLE = MAP_EXECUTABLE
    LOCKED = MAP_LOCKED NORESERVE = MAP_NORESERVE POPULATE = MAP_POPULATE NONBLOCK = MAP_NONBLOCK
    STACK = MAP_STACK HUGETLB = MAP_HUGETLB SYNC = MAP_SYNC
    FIXED_NOREPLACE = MAP_FIXED_NOREPLACE UNINITIALIZED = MAP_UNINITIALIZED
} }

#[cfg(target_arch = "x86_64")]
same! { map_constants_of_x86_64_are_linuxs: MapFlags as usize {
    MAP_32BIT = MAP_32BIT ABOVE4G = MAP_ABOVE4G
} }

/// Expands to two compile-time equalities for each huge-page size: the field, and the function
/// that makes it from its logarithm.
macro_rules! same_huge {
    ($($const:ident = $linux:ident $log2:literal)*) => {$(
        const_assert_eq!(MapFlags::$const.bits(), general::$linux as usize);
        const_assert_eq!(
            MapFlags::huge($log2).bits(),
            general::$linux as usize | general::MAP_HUGETLB as usize
        );
        const_assert_eq!(MapFlags::$const.huge_log2(), $log2);
    )*};
}

same_huge! {
    HUGE_16KB = MAP_HUGE_16KB 14
    HUGE_64KB = MAP_HUGE_64KB 16
    HUGE_512KB = MAP_HUGE_512KB 19
    HUGE_1MB = MAP_HUGE_1MB 20
    HUGE_2MB = MAP_HUGE_2MB 21
    HUGE_8MB = MAP_HUGE_8MB 23
    HUGE_16MB = MAP_HUGE_16MB 24
    HUGE_32MB = MAP_HUGE_32MB 25
    HUGE_256MB = MAP_HUGE_256MB 28
    HUGE_512MB = MAP_HUGE_512MB 29
    HUGE_1GB = MAP_HUGE_1GB 30
    HUGE_2GB = MAP_HUGE_2GB 31
    HUGE_16GB = MAP_HUGE_16GB 34
}
const_assert_eq!(MapFlags::TYPE.bits(), general::MAP_TYPE as usize);
const_assert_eq!(MapFlags::HUGE_SHIFT, general::MAP_HUGE_SHIFT);
const_assert_eq!(MapFlags::HUGE_MASK, general::MAP_HUGE_MASK as usize);

same! { msync_constants_are_linuxs: MsyncFlags as i32 {
    ASYNC = MS_ASYNC INVALIDATE = MS_INVALIDATE SYNC = MS_SYNC
} }

same! { mremap_constants_are_linuxs: MremapFlags as usize {
    MAYMOVE = MREMAP_MAYMOVE FIXED = MREMAP_FIXED DONTUNMAP = MREMAP_DONTUNMAP
} }

same! { mlock_constants_are_linuxs: MlockFlags as i32 { ONFAULT = MLOCK_ONFAULT } }

same! { mlockall_constants_are_linuxs: MlockAllFlags as i32 {
    CURRENT = MCL_CURRENT FUTURE = MCL_FUTURE ONFAULT = MCL_ONFAULT
} }

same! { advice_constants_are_linuxs: Advice as i32 {
    NORMAL = MADV_NORMAL RANDOM = MADV_RANDOM SEQUENTIAL = MADV_SEQUENTIAL
    WILLNEED = MADV_WILLNEED DONTNEED = MADV_DONTNEED FREE = MADV_FREE REMOVE = MADV_REMOVE
    DONTFORK = MADV_DONTFORK DOFORK = MADV_DOFORK MERGEABLE = MADV_MERGEABLE
    UNMERGEABLE = MADV_UNMERGEABLE HUGEPAGE = MADV_HUGEPAGE NOHUGEPAGE = MADV_NOHUGEPAGE
    DONTDUMP = MADV_DONTDUMP DODUMP = MADV_DODUMP WIPEONFORK = MADV_WIPEONFORK
    KEEPONFORK = MADV_KEEPONFORK COLD = MADV_COLD PAGEOUT = MADV_PAGEOUT
    POPULATE_READ = MADV_POPULATE_READ POPULATE_WRITE = MADV_POPULATE_WRITE
    DONTNEED_LOCKED = MADV_DONTNEED_LOCKED COLLAPSE = MADV_COLLAPSE HWPOISON = MADV_HWPOISON
    SOFT_OFFLINE = MADV_SOFT_OFFLINE GUARD_INSTALL = MADV_GUARD_INSTALL
    GUARD_REMOVE = MADV_GUARD_REMOVE
} }

/// Expands to two compile-time equalities for each call number.
macro_rules! same_numbers {
    ($($const:ident = $linux:ident $syscalls:ident)*) => {$(
        const_assert_eq!(nr::$const, general::$linux as usize);
        const_assert_eq!(nr::$const, syscalls::Sysno::$syscalls as usize);
    )*};
}

same_numbers! {
    MMAP = __NR_mmap mmap
    MUNMAP = __NR_munmap munmap
    MPROTECT = __NR_mprotect mprotect
    MSYNC = __NR_msync msync
    MREMAP = __NR_mremap mremap
    MADVISE = __NR_madvise madvise
    MINCORE = __NR_mincore mincore
    MLOCK = __NR_mlock mlock
    MLOCK2 = __NR_mlock2 mlock2
    MUNLOCK = __NR_munlock munlock
    MLOCKALL = __NR_mlockall mlockall
    MUNLOCKALL = __NR_munlockall munlockall
    MSEAL = __NR_mseal mseal
    PRCTL = __NR_prctl prctl
}
#[cfg(target_arch = "riscv64")]
same_numbers! { RISCV_FLUSH_ICACHE = __NR_riscv_flush_icache riscv_flush_icache }

/// Expands to a compile-time equality for each error number with linux-raw-sys, and a test of
/// numbers and names with syscalls, which has no const access to them.
macro_rules! same_errnos {
    (both { $($name:ident)* } syscalls_only { $($internal:ident)* } alias { $($alias:ident)* }) => {
        $(const_assert_eq!(Errno::$name.raw(), errno::$name as i32);)*
        $(const_assert_eq!(Errno::$alias.raw(), errno::$alias as i32);)*

        #[test]
        fn errno_numbers_and_names_are_linuxs() {
            let ours: &[Errno] = &[$(Errno::$name,)* $(Errno::$internal,)*];
            let theirs = [$(syscalls::Errno::$name,)* $(syscalls::Errno::$internal,)*];
            assert_eq!(ours, Errno::NAMED, "this file names every error");
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_eq!(ours.raw(), theirs.into_raw());
                assert_eq!(ours.name(), theirs.name());
            }
        }
    };
}

same_errnos! {
    both {
        EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
        ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY
        EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS
        ENOTEMPTY ELOOP ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT
        EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG
        EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ
        EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS
        ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT
        EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
        ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS
        ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM
        ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED
        EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
    }
    // include/linux/errno.h; not in the headers that linux-raw-sys is made from.
    syscalls_only {
        ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER
        EOPENSTALE ENOPARAM EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT
        EBADTYPE EJUKEBOX EIOCBQUEUED ERECALLCONFLICT ENOGRACE
    }
    alias { EWOULDBLOCK EDEADLOCK }
}
const_assert_eq!(Errno::ENOTSUP.raw(), libc::ENOTSUP);

assert_eq_size!(Errno, usize, Result<(), Errno>, Option<Errno>, Word);
assert_eq_size!(Result<*mut u8, Errno>, [usize; 2]);
assert_impl_all!(Errno: Send, Sync, Copy, core::error::Error, core::fmt::Display);
assert_impl_all!(Word: Send, Sync, Copy);
const_assert!(rawmap::MAP_FAILED.is_null() as u8 == 0);
const_assert_eq!(NO_FD, -1);

#[cfg(target_arch = "x86_64")]
const_assert!(matches!(PageSize::FIXED, Some(page) if page.bytes() == 4096));
#[cfg(not(target_arch = "x86_64"))]
const_assert!(PageSize::FIXED.is_none());
