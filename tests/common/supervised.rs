//! A child whose memory calls this process sees one by one, and may refuse in the kernel's place: by a
//! seccomp filter that asks a supervisor (`SECCOMP_RET_USER_NOTIF`, Linux 5.5).
use super::{End, fork, wait_for};
use rawmap::arch::nr;
use rawmap::{Advice, Call, Errno, Word};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;

/// Calls that are seen, and the names of those that are none of the family.
const WATCHED: [(usize, &str); 23] = [
    (nr::MMAP, ""),
    (nr::MUNMAP, ""),
    (nr::MPROTECT, ""),
    (nr::MSYNC, ""),
    (nr::MREMAP, ""),
    (nr::MADVISE, ""),
    (nr::MINCORE, ""),
    (nr::MLOCK, ""),
    (nr::MLOCK2, ""),
    (nr::MUNLOCK, ""),
    (nr::MLOCKALL, ""),
    (nr::MUNLOCKALL, ""),
    (nr::MSEAL, ""),
    (nr::PRCTL, "prctl"),
    (nr::FCNTL, "fcntl"),
    (nr::FSTAT, "fstat"),
    (nr::FSTATFS, "fstatfs"),
    (nr::MEMFD_CREATE, "memfd_create"),
    (nr::FTRUNCATE, "ftruncate"),
    (nr::FALLOCATE, "fallocate"),
    (nr::CLOSE, "close"),
    (nr::PRLIMIT64, "prlimit64"),
    (nr::MEMBARRIER, "membarrier"),
];

/// One call that the child made between [`watch`] and [`unwatch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub number: usize,
    pub args: [u64; 6],
    /// The call, if it is one of the family.
    pub call: Option<Call>,
    /// What it was refused with.
    pub refused: Option<Errno>,
}

impl Seen {
    /// The call's name: `mmap`.
    pub fn name(&self) -> String {
        match self.call {
            Some(call) => call.to_string().split('(').next().unwrap().to_owned(),
            None => {
                let known = WATCHED.iter().find(|(number, _)| *number == self.number);
                known.map_or("riscv_flush_icache", |(_, name)| name).to_owned()
            }
        }
    }
}

const WATCH: i32 = 0x5ec_0001;
const UNWATCH: i32 = 0x5ec_0000;

fn mark(what: i32) {
    // SAFETY: a range of length 0 holds no memory; without the supervisor, an unknown advice.
    let _ = unsafe { rawmap::madvise(std::ptr::null_mut(), 0, Advice::from_bits(what)) };
}

/// From here on the child's calls are kept and judged.
pub fn watch() {
    mark(WATCH);
}

/// From here on they are not.
pub fn unwatch() {
    mark(UNWATCH);
}

/// Runs `child` in a forked child. Each call that it makes while it is [`watch`]ed is given to
/// `judge` with the number of those before it: a result is the answer, else the kernel makes it.
///
/// `None` where there is no such thing: under an emulator, or a kernel without seccomp.
pub fn supervise(
    child: impl FnOnce(),
    mut judge: impl FnMut(usize, &Seen) -> Option<Result<usize, Errno>>,
) -> Option<(End, Vec<Seen>)> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pid = fork(|| match install_filter() {
        Some(listener) => {
            send(&theirs, &listener);
            super::claim(child)
        }
        None => 0,
    });
    drop(theirs);
    let Some(listener) = received(&ours) else {
        wait_for(pid);
        return None;
    };
    // SAFETY: a plain call (Linux 5.3); the descriptor is new and ours.
    let child = unsafe { File::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32) };
    let mut seen = Vec::new();
    let mut watched = false;
    while let Some(notice) = receive(&listener, &child) {
        let number = notice.number as usize;
        let call = Call::from_words(number, notice.args.map(|arg| Word::int(arg as usize)));
        let mut it = Seen { number, args: notice.args, call, refused: None };
        let mut judged = None;
        match (number == nr::MADVISE).then_some(notice.args[2] as i32) {
            Some(mark @ (WATCH | UNWATCH)) => {
                watched = mark == WATCH;
                judged = Some(Ok(0));
            }
            _ if watched => {
                judged = judge(seen.len(), &it);
                it.refused = judged.and_then(Result::err);
                seen.push(it);
            }
            _ => {}
        }
        match judged {
            Some(Ok(value)) => answer(&listener, notice.id, value, 0, 0),
            Some(Err(errno)) => answer(&listener, notice.id, 0, -errno.raw(), 0),
            None => answer(&listener, notice.id, 0, 0, CONTINUE),
        }
    }
    Some((wait_for(pid), seen))
}

/// Sends a descriptor. (`pidfd_getfd` would need no help of the child, but containers refuse it.)
fn send(socket: &UnixStream, file: &File) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::empty()).unwrap();
}

/// The descriptor that was sent; `None` if the other end was closed instead.
fn received(socket: &UnixStream) -> Option<File> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).unwrap();
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next().map(File::from),
        _ => None,
    })
}

/// Installs the filter on this thread, and returns the supervisor's descriptor.
fn install_filter() -> Option<File> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ASK: u32 = 0x7fc0_0000; // SECCOMP_RET_USER_NOTIF
    const ALLOW: u32 = 0x7fff_0000;
    let line = |code, k, jt| libc::sock_filter { code, jt, jf: 0, k };
    let mut numbers = WATCHED.map(|(number, _)| number).to_vec();
    if std::env::consts::ARCH == "riscv64" {
        numbers.push(259); // riscv_flush_icache
    }
    let mut program = vec![line(LOAD, 0, 0)];
    for (n, number) in numbers.iter().enumerate() {
        program.push(line(JUMP_IF_EQUAL, *number as u32, (numbers.len() - n) as u8));
    }
    program.push(line(RETURN, ALLOW, 0));
    program.push(line(RETURN, ASK, 0));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: a filter of so many lines; it is for this child.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER
        let fd = libc::syscall(libc::SYS_seccomp, 1, 8, &program) as i32;
        (fd >= 0).then(|| File::from_raw_fd(fd))
    }
}

const CONTINUE: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Default)]
struct Notice {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    arch: u32,
    instruction: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// The next call, or `None` when the child has ended.
///
/// A listener says that nobody is left whom it listens to, but an older kernel (6.1) only when the
/// child has been waited for: so its end is listened for too.
fn receive(listener: &File, child: &File) -> Option<Notice> {
    const RECEIVE: u64 = 0xc050_2100; // SECCOMP_IOCTL_NOTIF_RECV
    loop {
        let poll =
            |file: &File| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut polled = [poll(listener), poll(child)];
        let mut notice = Notice::default();
        // SAFETY: room for two descriptors, and for one notice.
        unsafe {
            if libc::poll(polled.as_mut_ptr(), 2, -1) < 0 {
                continue;
            }
            if polled[0].revents & libc::POLLIN == 0 {
                return None;
            }
            if libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &mut notice) == 0 {
                return Some(notice);
            }
        }
    }
}

fn answer(listener: &File, id: u64, value: usize, error: i32, flags: u32) {
    const SEND: u64 = 0xc018_2101; // SECCOMP_IOCTL_NOTIF_SEND
    let answer = Answer { id, value: value as i64, error, flags };
    // SAFETY: an answer; it fails if the child was killed meanwhile.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &answer) };
}
