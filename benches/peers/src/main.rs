//! What is exact about the crate and its peers: the instructions, system calls and bytes of code of one job
//! each, as a table in Markdown.
//!
//! usage: peers [ROW]
//!
//! - *instructions* and *calls* are counted in a child that does the job once, step by step under ptrace;
//!   instructions are those of user mode, libc's included. Address randomization is off, since an address
//!   decides which way is taken.
//! - *bytes* are those of the function that does the job, without what it calls.
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{NonNull, null_mut};

use object::{Object, ObjectSymbol};

const PAGE: usize = 4096;

/// What a job is given: a page of its own, which it may unmap, a file, and what is known of the kernel.
struct Given {
    page: *mut u8,
    file: File,
    kernel: rawmap::Kernel,
}

/// Expands to a function for each peer of each row, and to the list of them. The function returns the
/// peer's own `Result`, or what the peer has instead.
macro_rules! rows {
    ($($row:ident $text:literal { $($peer:ident($given:ident) -> $ret:ty $body:block)* })*) => {
        mod jobs {
            use super::*;
            $(pub mod $row {
                use super::*;
                $(
                    #[inline(never)]
                    #[unsafe(export_name = concat!(stringify!($row), ".", stringify!($peer)))]
                    #[allow(unused_unsafe)] // Some peers are safe.
                    pub unsafe fn $peer($given: &Given) -> $ret {
                        // SAFETY: the page and the file are the job's own.
                        unsafe { $body }
                    }
                )*
            })*
        }
        /// Row, its text, peer, job.
        type Job = (&'static str, &'static str, &'static str, fn(&Given));
        const JOBS: &[Job] = &[$($((
            stringify!($row),
            $text,
            stringify!($peer),
            // SAFETY: the caller gives each job a page and a file of its own.
            |given| { let _ = unsafe { jobs::$row::$peer(given) }; },
        ),)*)*];
    };
}

fn of(page: *mut u8) -> NonNull<libc::c_void> {
    NonNull::new(page.cast()).expect("a page")
}

rows! {
    munmap "`munmap`, with its own `Result`" {
        rawmap(g) -> Result<(), rawmap::Errno> { rawmap::munmap(g.page, PAGE) }
        rustix(g) -> rustix::io::Result<()> { rustix::mm::munmap(g.page.cast(), PAGE) }
        syscalls(g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall2(syscalls::Sysno::munmap, g.page as usize, PAGE)
        }
        nix(g) -> nix::Result<()> { nix::sys::mman::munmap(of(g.page), PAGE) }
        libc(g) -> i32 { libc::munmap(g.page.cast(), PAGE) }
    }
    mprotect "`mprotect`, with its own `Result`" {
        rawmap(g) -> Result<(), rawmap::Errno> { rawmap::mprotect(g.page, PAGE, rawmap::Prot::READ) }
        rustix(g) -> rustix::io::Result<()> {
            rustix::mm::mprotect(g.page.cast(), PAGE, rustix::mm::MprotectFlags::READ)
        }
        syscalls(g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall3(syscalls::Sysno::mprotect, g.page as usize, PAGE, 1)
        }
        nix(g) -> nix::Result<()> {
            nix::sys::mman::mprotect(of(g.page), PAGE, nix::sys::mman::ProtFlags::PROT_READ)
        }
        libc(g) -> i32 { libc::mprotect(g.page.cast(), PAGE, libc::PROT_READ) }
    }
    madvise "`madvise`, with its own `Result`" {
        rawmap(g) -> Result<(), rawmap::Errno> {
            rawmap::madvise(g.page, PAGE, rawmap::Advice::DONTNEED)
        }
        rustix(g) -> rustix::io::Result<()> {
            rustix::mm::madvise(g.page.cast(), PAGE, rustix::mm::Advice::LinuxDontNeed)
        }
        syscalls(g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall3(syscalls::Sysno::madvise, g.page as usize, PAGE, 4)
        }
        nix(g) -> nix::Result<()> {
            nix::sys::mman::madvise(of(g.page), PAGE, nix::sys::mman::MmapAdvise::MADV_DONTNEED)
        }
        libc(g) -> i32 { libc::madvise(g.page.cast(), PAGE, libc::MADV_DONTNEED) }
    }
    mmap "`mmap` of anonymous memory, with its own `Result`" {
        rawmap(_g) -> Result<*mut u8, rawmap::Errno> {
            let (prot, flags) = (rawmap::Prot::READ, rawmap::MapFlags::PRIVATE);
            rawmap::mmap_anonymous(null_mut(), PAGE, prot, flags)
        }
        rustix(_g) -> rustix::io::Result<*mut libc::c_void> {
            let (prot, flags) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE);
            rustix::mm::mmap_anonymous(null_mut(), PAGE, prot, flags)
        }
        syscalls(_g) -> Result<usize, syscalls::Errno> {
            syscalls::syscall6(syscalls::Sysno::mmap, 0, PAGE, 1, 0x22, usize::MAX, 0)
        }
        libc(_g) -> *mut libc::c_void {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(null_mut(), PAGE, libc::PROT_READ, flags, -1, 0)
        }
    }
    checked_munmap "`Call::check` of an `munmap` that passes" {
        rawmap(g) -> bool { rawmap::Call::munmap(g.page, PAGE).check(&g.kernel).is_ok() }
    }
    checked_mmap "`Call::check` of an `mmap` that passes, with flags that the compiler does not know" {
        rawmap(g) -> bool {
            let flags = black_box(rawmap::MapFlags::PRIVATE | rawmap::MapFlags::ANONYMOUS);
            let call = rawmap::Call::mmap(g.page, PAGE, rawmap::Prot::READ, flags, -1, 0);
            call.check(&g.kernel).is_ok()
        }
    }
    refused_munmap "`Call::check` of an `munmap` that is refused" {
        rawmap(g) -> bool { rawmap::Call::munmap(g.page, 0).check(&g.kernel).is_err() }
    }
    anonymous "1 MiB of memory, mapped, a byte written, unmapped" {
        rawmap(_g) -> () { rawmap::MapOptions::new(1 << 20).anonymous().unwrap()[0] = 1; }
        memmap2(_g) -> () { memmap2::MmapMut::map_anon(1 << 20).unwrap()[0] = 1; }
        mmap_rs(_g) -> () {
            mmap_rs::MmapOptions::new(1 << 20).unwrap().map_mut().unwrap()[0] = 1;
        }
        region(_g) -> () {
            let mut memory = region::alloc(1 << 20, region::Protection::READ_WRITE).unwrap();
            memory.as_mut_ptr::<u8>().write(1);
        }
    }
    file "a page of a file, mapped, a byte read, unmapped" {
        rawmap(g) -> u8 {
            let fd = rawmap::Fd::borrow_raw(g.file.as_raw_fd());
            rawmap::MapOptions::new(PAGE).file(fd, 0).unwrap()[0]
        }
        memmap2(g) -> u8 { memmap2::MmapOptions::new().len(PAGE).map(&g.file).unwrap()[0] }
        mmap_rs(g) -> u8 {
            let options = mmap_rs::MmapOptions::new(PAGE).unwrap();
            options.with_file(&g.file, 0).map().unwrap()[0]
        }
    }
    whole "a whole file, mapped, a byte read, unmapped" {
        rawmap(g) -> u8 {
            let fd = rawmap::Fd::borrow_raw(g.file.as_raw_fd());
            rawmap::MapOptions::whole().file(fd, 0).unwrap()[0]
        }
        memmap2(g) -> u8 { memmap2::Mmap::map(&g.file).unwrap()[0] }
    }
}

/// A page that can be read.
fn page() -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    unsafe { libc::mmap(null_mut(), PAGE, libc::PROT_READ, flags, -1, 0) }.cast()
}

/// How often a forked child stops that does the job once, by this ptrace request.
fn stops(request: libc::c_uint, given: &Given, job: fn(&Given)) -> u64 {
    // SAFETY: the child does the job and exits; the parent waits for nobody else.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            if libc::ptrace(libc::PTRACE_TRACEME) != 0 {
                libc::_exit(1);
            }
            // What is done only once: page size, symbols. On a page of its own.
            let file = given.file.try_clone().expect("a descriptor");
            job(&Given { page: page(), file, kernel: given.kernel });
            libc::raise(libc::SIGSTOP);
            job(given);
            libc::_exit(0);
        }
        let (mut stops, mut status) = (0, 0);
        loop {
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            if libc::WIFEXITED(status) {
                assert_eq!(libc::WEXITSTATUS(status), 0, "no ptrace, or the job failed");
                return stops;
            }
            assert!(libc::WIFSTOPPED(status), "the job failed");
            stops += 1;
            libc::ptrace(request, child, null_mut::<u8>(), null_mut::<u8>());
        }
    }
}

fn main() {
    const FIXED: &str = "PEERS_WITHOUT_RANDOM_ADDRESSES";
    let program = "/proc/self/exe";
    if std::env::var_os(FIXED).is_none() {
        // SAFETY: changes how the next program is laid out, and nothing else.
        let set = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        assert_ne!(set, -1, "personality");
        panic!("{}", Command::new(program).args(std::env::args().skip(1)).env(FIXED, "").exec());
    }
    let wanted = std::env::args().nth(1);
    let binary = std::fs::read(program).expect("this program");
    let binary = object::File::parse(&*binary).expect("an ELF file");
    let size = |name: &str| binary.symbols().find(|it| it.name() == Ok(name)).map(|it| it.size());
    let file = File::open(program).expect("this program");
    let kernel = rawmap::Kernel::find().expect("a kernel").version(6, 18);
    let given = Given { page: page(), file, kernel };
    println!("| row | peer | instructions | calls | bytes | fewest |");
    println!("|---|---|--:|--:|--:|---|");
    let mut last = "";
    for &(row, text, peer, job) in JOBS {
        if wanted.as_ref().is_some_and(|wanted| wanted != row) {
            continue;
        }
        if row != last {
            eprintln!("{row}: {text}");
            last = row;
        }
        let count = |job: fn(&Given)| {
            stops(libc::PTRACE_SINGLESTEP, &given, job)
                - stops(libc::PTRACE_SINGLESTEP, &given, |_| {})
        };
        let mine = count(job);
        let least = JOBS.iter().filter(|it| it.0 == row).map(|it| count(it.3)).min() == Some(mine);
        // A stop at the entry of a call, and one at its end.
        let calls = (stops(libc::PTRACE_SYSCALL, &given, job)
            - stops(libc::PTRACE_SYSCALL, &given, |_| {}))
            / 2;
        let bytes = size(&format!("{row}.{peer}")).expect("a symbol");
        let wins = if least { "yes" } else { "" };
        println!("| {row} | {peer} | {mine} | {calls} | {bytes} | {wins} |");
    }
}
