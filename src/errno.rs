//! The error of a system call, and the rules that tell it from a result.

use crate::word::Word;
use core::{fmt, num::NonZeroUsize};

/// The number of an error, 1 to 4095, as the kernel returns it (negated) from a system call.
///
/// It comes back by value; there is no `errno` variable, and libc's is not touched.
///
/// It is a word that is never 0, so that `Result<(), Errno>` comes back in one register, and
/// `Result<*mut u8, Errno>` in two. A number without a name, such as a newer kernel's, is an
/// `Errno` like any other.
///
/// To a call that returns nothing, such as [`munmap`](crate::munmap), the kernel answers 0 or an
/// error. A filter that answers in its stead (a tracer, a supervisor of seccomp) may give any word.
/// The raw functions take no such word for a success: they return an `Errno` without a name, which
/// equals none of the kernel's errors, and which [`encode`](Self::encode) turns back into that
/// word.
///
/// ```
/// use rawmap::Errno;
/// assert_eq!(Errno::ENOMEM.to_string(), "ENOMEM: cannot allocate memory");
/// assert_eq!((Errno::ENOMEM.raw(), Errno::ENOMEM.name()), (12, Some("ENOMEM")));
/// assert_eq!(Errno::from_raw(12), Some(Errno::ENOMEM));
/// assert_eq!(Errno::from_raw(0), None);
/// assert_eq!(Errno::decode(Errno::ENOMEM.encode()), Err(Errno::ENOMEM));
/// ```
#[doc(alias = "errno")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Errno(NonZeroUsize);

impl Errno {
    /// The largest error number (`MAX_ERRNO` in `include/linux/err.h`).
    #[doc(alias = "MAX_ERRNO")]
    pub const MAX: usize = 4095;

    /// The error with this number, if it is one: 1 to 4095.
    #[must_use]
    #[inline]
    pub const fn from_raw(number: i32) -> Option<Self> {
        match NonZeroUsize::new(number as usize) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The error's number, positive, as C's `errno` has it.
    ///
    /// For a filter's answer that is no error of the kernel, this is a number above
    /// [`MAX`](Self::MAX): the negated word, or `i32::MAX` where that doesn't fit.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> i32 {
        let number = self.0.get();
        if number > i32::MAX as usize { i32::MAX } else { number as i32 }
    }

    /// Decodes the result word of a system call: `Ok` with the word, or an error if the word is one
    /// of -4095 to -1.
    ///
    /// A success may be 0: `mmap` with [`MapFlags::FIXED`](crate::MapFlags::FIXED) at address 0
    /// succeeds for a privileged process. For calls that return nothing, the raw functions use a
    /// shorter rule, which takes every word but 0 for an error.
    ///
    /// ```
    /// use rawmap::{Errno, Word};
    /// assert_eq!(Errno::decode(Word::signed(-22)), Err(Errno::EINVAL));
    /// assert_eq!(Errno::decode(Word::signed(-4096)), Ok(Word::signed(-4096)));
    /// ```
    ///
    /// In const evaluation, the word must hold an integer or a null pointer.
    ///
    /// # Errors
    /// The error whose negated number the word is.
    #[inline]
    pub const fn decode(ret: Word) -> Result<Word, Self> {
        let bits = ret.const_bits();
        if bits > usize::MAX - Self::MAX {
            // SAFETY: `bits` is 1 to 4095 below 2^64, so its negative is 1 to 4095: not 0.
            return Err(Self(unsafe { NonZeroUsize::new_unchecked(bits.wrapping_neg()) }));
        }
        Ok(ret)
    }

    /// What the result word of a call says that returns nothing: 0 is a success, and every other word
    /// an error, its negative. Of the kernel's words this says what [`decode`](Self::decode) says, in
    /// one instruction: `Result<(), Errno>` is 0 for `Ok`, and else the error.
    #[inline]
    pub(crate) const fn decode_unit(ret: Word) -> Result<(), Self> {
        let bits = ret.const_bits();
        if bits == 0 {
            return Ok(());
        }
        // SAFETY: `bits` is not 0, so neither is its negative.
        Err(Self(unsafe { NonZeroUsize::new_unchecked(bits.wrapping_neg()) }))
    }

    /// The result word that stands for this error, which [`decode`](Self::decode) turns back into
    /// it.
    ///
    /// It is for programs that answer system calls, such as a tracer or a kernel in userspace.
    #[must_use]
    #[inline]
    pub const fn encode(self) -> Word {
        Word::int(self.0.get().wrapping_neg())
    }
}

/// A set of errors with numbers up to 191. Linux has 133 such errors that a call may answer.
///
/// ```
/// use rawmap::{Errno, ErrnoSet};
/// const STATE: ErrnoSet = ErrnoSet::of(&[Errno::ENOMEM, Errno::EAGAIN]);
/// assert!(STATE.contains(Errno::EAGAIN) && !STATE.contains(Errno::EINVAL));
/// assert_eq!(STATE.to_string(), "EAGAIN ENOMEM");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ErrnoSet([u64; 3]);

impl ErrnoSet {
    /// The set of these errors. Errors above 191 are left out.
    #[must_use]
    #[inline]
    pub const fn of(errnos: &[Errno]) -> Self {
        let (mut set, mut n) = ([0; 3], 0);
        while n < errnos.len() {
            let number = errnos[n].0.get();
            if number < 192 {
                set[number / 64] |= 1 << (number % 64);
            }
            n += 1;
        }
        Self(set)
    }

    /// The errors that are in either set.
    #[must_use]
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        let (Self([a, b, c]), Self([d, e, f])) = (self, other);
        Self([a | d, b | e, c | f])
    }

    /// The set without this error.
    #[must_use]
    #[inline]
    pub const fn without(self, errno: Errno) -> Self {
        let (Self([a, b, c]), Self([d, e, f])) = (self, Self::of(&[errno]));
        Self([a & !d, b & !e, c & !f])
    }

    /// Whether this error is in the set.
    #[must_use]
    pub const fn contains(self, errno: Errno) -> bool {
        let number = errno.0.get();
        number < 192 && self.0[number / 64] >> (number % 64) & 1 == 1
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self([0, 0, 0]))
    }

    /// The errors in the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Errno> {
        (1..192).filter_map(Errno::from_raw).filter(move |errno| self.contains(*errno))
    }
}

impl fmt::Display for ErrnoSet {
    /// Prints the names, by number: `EPERM ENOMEM`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, errno) in self.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            match errno.name() {
                Some(name) => write!(f, "{space}{name}")?,
                None => write!(f, "{space}{}", errno.raw())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ErrnoSet {
    /// Prints what `Display` prints, in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// Expands to the constants, and to the tables that [`Errno::name`] and [`Errno::message`] read.
macro_rules! errnos {
    ($($name:ident $number:literal $message:literal;)*) => {
        /// The named errors: `include/uapi/asm-generic/errno-base.h` and `errno.h`; above 511,
        /// those of `include/linux/errno.h`, which only a tracer sees.
        impl Errno {
            $(
                #[doc = concat!(stringify!($number), ": ", $message, ".")]
                pub const $name: Self = Self(NonZeroUsize::new($number).unwrap());
            )*

            /// Every named error, by number.
            pub const NAMED: &'static [Self] = &[$(Self::$name),*];

            /// Linux's name of the error, `"ENOMEM"`, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.raw() {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// What the error means, in a few words, without a full stop.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self.raw() {
                    $($number => $message,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errnos! {
    EPERM 1 "operation not permitted";
    ENOENT 2 "no such file or directory";
    ESRCH 3 "no such process";
    EINTR 4 "interrupted system call";
    EIO 5 "input/output error";
    ENXIO 6 "no such device or address";
    E2BIG 7 "argument list too long";
    ENOEXEC 8 "not an executable format";
    EBADF 9 "bad file descriptor";
    ECHILD 10 "no child processes";
    EAGAIN 11 "resource temporarily unavailable";
    ENOMEM 12 "cannot allocate memory";
    EACCES 13 "permission denied";
    EFAULT 14 "bad address";
    ENOTBLK 15 "block device required";
    EBUSY 16 "device or resource busy";
    EEXIST 17 "file exists";
    EXDEV 18 "cross-device link";
    ENODEV 19 "no such device";
    ENOTDIR 20 "not a directory";
    EISDIR 21 "is a directory";
    EINVAL 22 "invalid argument";
    ENFILE 23 "too many open files in system";
    EMFILE 24 "too many open files";
    ENOTTY 25 "inappropriate ioctl for device";
    ETXTBSY 26 "text file busy";
    EFBIG 27 "file too large";
    ENOSPC 28 "no space left on device";
    ESPIPE 29 "illegal seek";
    EROFS 30 "read-only file system";
    EMLINK 31 "too many links";
    EPIPE 32 "broken pipe";
    EDOM 33 "argument out of domain";
    ERANGE 34 "result out of range";
    EDEADLK 35 "resource deadlock avoided";
    ENAMETOOLONG 36 "file name too long";
    ENOLCK 37 "no locks available";
    ENOSYS 38 "function not implemented";
    ENOTEMPTY 39 "directory not empty";
    ELOOP 40 "too many levels of symbolic links";
    ENOMSG 42 "no message of desired type";
    EIDRM 43 "identifier removed";
    ECHRNG 44 "channel number out of range";
    EL2NSYNC 45 "level 2 not synchronized";
    EL3HLT 46 "level 3 halted";
    EL3RST 47 "level 3 reset";
    ELNRNG 48 "link number out of range";
    EUNATCH 49 "protocol driver not attached";
    ENOCSI 50 "no CSI structure available";
    EL2HLT 51 "level 2 halted";
    EBADE 52 "invalid exchange";
    EBADR 53 "invalid request descriptor";
    EXFULL 54 "exchange full";
    ENOANO 55 "no anode";
    EBADRQC 56 "invalid request code";
    EBADSLT 57 "invalid slot";
    EBFONT 59 "bad font file format";
    ENOSTR 60 "device not a stream";
    ENODATA 61 "no data available";
    ETIME 62 "timer expired";
    ENOSR 63 "out of streams resources";
    ENONET 64 "machine is not on the network";
    ENOPKG 65 "package not installed";
    EREMOTE 66 "object is remote";
    ENOLINK 67 "link has been severed";
    EADV 68 "advertise error";
    ESRMNT 69 "srmount error";
    ECOMM 70 "communication error on send";
    EPROTO 71 "protocol error";
    EMULTIHOP 72 "multihop attempted";
    EDOTDOT 73 "RFS specific error";
    EBADMSG 74 "bad message";
    EOVERFLOW 75 "value too large for defined data type";
    ENOTUNIQ 76 "name not unique on network";
    EBADFD 77 "file descriptor in bad state";
    EREMCHG 78 "remote address changed";
    ELIBACC 79 "can not access a needed shared library";
    ELIBBAD 80 "accessing a corrupted shared library";
    ELIBSCN 81 ".lib section in a.out corrupted";
    ELIBMAX 82 "attempting to link in too many shared libraries";
    ELIBEXEC 83 "cannot exec a shared library directly";
    EILSEQ 84 "invalid byte sequence";
    ERESTART 85 "interrupted call should be restarted";
    ESTRPIPE 86 "streams pipe error";
    EUSERS 87 "too many users";
    ENOTSOCK 88 "socket operation on non-socket";
    EDESTADDRREQ 89 "destination address required";
    EMSGSIZE 90 "message too long";
    EPROTOTYPE 91 "protocol wrong type for socket";
    ENOPROTOOPT 92 "protocol not available";
    EPROTONOSUPPORT 93 "protocol not supported";
    ESOCKTNOSUPPORT 94 "socket type not supported";
    EOPNOTSUPP 95 "operation not supported";
    EPFNOSUPPORT 96 "protocol family not supported";
    EAFNOSUPPORT 97 "address family not supported by protocol";
    EADDRINUSE 98 "address already in use";
    EADDRNOTAVAIL 99 "cannot assign requested address";
    ENETDOWN 100 "network is down";
    ENETUNREACH 101 "network is unreachable";
    ENETRESET 102 "network dropped connection on reset";
    ECONNABORTED 103 "software caused connection abort";
    ECONNRESET 104 "connection reset by peer";
    ENOBUFS 105 "no buffer space available";
    EISCONN 106 "transport endpoint is already connected";
    ENOTCONN 107 "transport endpoint is not connected";
    ESHUTDOWN 108 "cannot send after transport endpoint shutdown";
    ETOOMANYREFS 109 "too many references: cannot splice";
    ETIMEDOUT 110 "connection timed out";
    ECONNREFUSED 111 "connection refused";
    EHOSTDOWN 112 "host is down";
    EHOSTUNREACH 113 "no route to host";
    EALREADY 114 "operation already in progress";
    EINPROGRESS 115 "operation now in progress";
    ESTALE 116 "stale file handle";
    EUCLEAN 117 "structure needs cleaning";
    ENOTNAM 118 "not a XENIX named type file";
    ENAVAIL 119 "no XENIX semaphores available";
    EISNAM 120 "is a named type file";
    EREMOTEIO 121 "remote I/O error";
    EDQUOT 122 "disk quota exceeded";
    ENOMEDIUM 123 "no medium found";
    EMEDIUMTYPE 124 "wrong medium type";
    ECANCELED 125 "operation canceled";
    ENOKEY 126 "required key not available";
    EKEYEXPIRED 127 "key has expired";
    EKEYREVOKED 128 "key has been revoked";
    EKEYREJECTED 129 "key was rejected by service";
    EOWNERDEAD 130 "owner died";
    ENOTRECOVERABLE 131 "state not recoverable";
    ERFKILL 132 "operation not possible due to RF-kill";
    EHWPOISON 133 "memory page has a hardware error";
    ERESTARTSYS 512 "restart the system call (kernel-internal)";
    ERESTARTNOINTR 513 "restart the system call always (kernel-internal)";
    ERESTARTNOHAND 514 "restart the system call if no handler ran (kernel-internal)";
    ENOIOCTLCMD 515 "no such ioctl command (kernel-internal)";
    ERESTART_RESTARTBLOCK 516 "restart by restart_syscall (kernel-internal)";
    EPROBE_DEFER 517 "driver asks to be probed later (kernel-internal)";
    EOPENSTALE 518 "open found a stale entry (kernel-internal)";
    ENOPARAM 519 "parameter not supported (kernel-internal)";
    EBADHANDLE 521 "illegal NFS file handle (kernel-internal)";
    ENOTSYNC 522 "update out of step (kernel-internal)";
    EBADCOOKIE 523 "cookie is stale (kernel-internal)";
    ENOTSUPP 524 "operation not supported (kernel-internal)";
    ETOOSMALL 525 "buffer or request too small (kernel-internal)";
    ESERVERFAULT 526 "server fault without an errno (kernel-internal)";
    EBADTYPE 527 "type not supported by server (kernel-internal)";
    EJUKEBOX 528 "request will take longer than its timeout (kernel-internal)";
    EIOCBQUEUED 529 "request queued, completion will follow (kernel-internal)";
    ERECALLCONFLICT 530 "conflict with recalled state (kernel-internal)";
    ENOGRACE 531 "NFS lock reclaim refused (kernel-internal)";
}

/// Second names of some errors.
impl Errno {
    /// Another name of [`EAGAIN`](Self::EAGAIN).
    pub const EWOULDBLOCK: Self = Self::EAGAIN;
    /// Another name of [`EDEADLK`](Self::EDEADLK).
    pub const EDEADLOCK: Self = Self::EDEADLK;
    /// Another name of [`EOPNOTSUPP`](Self::EOPNOTSUPP), the C library's.
    pub const ENOTSUP: Self = Self::EOPNOTSUPP;
}

impl fmt::Debug for Errno {
    /// Prints Linux's name, or `Errno(200)` where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.raw()),
        }
    }
}

impl fmt::Display for Errno {
    /// Prints name and message: `ENOMEM: cannot allocate memory`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: {}", self.message())
    }
}

impl core::error::Error for Errno {}
