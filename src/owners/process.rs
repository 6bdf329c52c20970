//! What the owners know of the process that they run in: its page size, and where the main thread's
//! stack may grow. It is asked for once, when it is first needed, and kept.
//!
//! Linux lets a stack grow until it comes to other memory, and it keeps a gap only to memory that is
//! accessible. A reservation is not: the stack may grow right up to it, and when the reservation is
//! committed later, the stack walks into it. Memory that the kernel placed at a distance, and that then
//! grows in place, is no better. So no owner changes the protection of memory, nor lets it grow in
//! place, where the main thread's stack may come to lie: the *stack ground*.
//!
//! The stack ground ends where the highest mapping lies that exec itself made below the stack (the vDSO, the
//! dynamic loader, or a static program that may lie anywhere): nothing unmaps that, and the stack can't pass
//! it, whatever its limit is or becomes. The kernel goes there only when all below is used up, or to fill a hole
//! that is left above what exec mapped, so ordinary programs hardly ever meet the rule. Where exec made no mapping
//! there, it is as large as the stack's limit, or as 128 MiB; and all of an eighth of the address space where
//! addresses are given out upwards. Where the auxiliary vector can't be had (a filter, no /proc on kernels before
//! 6.4), the stack's top lies somewhere in the last 16 GiB. What is taken on trust then is said to users at
//! [`prepare`]. A stack that is mapped up to its limit from the start, with a guard below it, as QEMU's user mode
//! has it, does not grow, and has no such ground.

use crate::arch::{self, nr};
use crate::call::Call;
use crate::errno::Errno;
use crate::flags::{MapFlags, MsyncFlags, Prot};
use crate::owners::beyond::{limit, read_proc};
use crate::owners::error::{Error, Wrong, issue};
use crate::page_size::PageSize;
use crate::word::Word;
use core::ptr::{null_mut, without_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The page size in bytes, once it is known; 0 before.
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// Where the stack ground begins; 0 before it is known, `usize::MAX` where there is none.
static GROUND: AtomicUsize = AtomicUsize::new(0);
/// Where it ends: an address at the top of the stack. Written before `GROUND`, and always the same.
static TOP: AtomicUsize = AtomicUsize::new(0);
/// Whether it begins with a mapping that exec made, past which nothing grows. Written before `GROUND` too.
static FENCED: AtomicBool = AtomicBool::new(false);

/// The page size that the owners use. The first use finds it, as [`PageSize::find`] does, and the process keeps
/// it.
///
/// Where it is more than 4096, three calls more check it, since a filter may have answered those of `find`:
/// `mmap`, `mincore`, which writes one byte for each page, and `munmap`.
///
/// # Errors
/// Those of [`PageSize::find`] and of the three calls.
///
/// ```
/// use rawmap::{MapOptions, page_size};
/// let smallest = MapOptions::new(1).anonymous()?;
/// assert_eq!(smallest.mapped_len(), page_size()?.bytes());
/// # Ok::<(), rawmap::Error>(())
/// ```
#[inline]
pub fn page_size() -> Result<PageSize, Error> {
    if let Some(known) = known_page_size() {
        return Ok(known);
    }
    let found = PageSize::probe().map_err(|(call, errno)| Error::refused(call, errno))?;
    if found != PageSize::SMALLEST && !is_one_page(found)? {
        let what = "a filter answers msync, by which the page size is found; see set_auxv";
        return Err(Error::wrong("page_size", what, found.bytes(), Wrong::NotOffered, 0));
    }
    PAGE_SIZE.store(found.bytes(), Ordering::Relaxed);
    Ok(found)
}

/// Whether the kernel takes so many bytes for no more than one page. That it took them for no less is known: it
/// has let them be aligned so, while an address that is refused may have been refused by a filter.
#[cold]
fn is_one_page(size: PageSize) -> Result<bool, Error> {
    const MOST: usize = 1 << (PageSize::MAX_LOG2 - PageSize::MIN_LOG2);
    let len = size.bytes();
    let call = Call::mmap_anonymous(null_mut(), len, Prot::NONE, MapFlags::PRIVATE);
    // SAFETY: a new mapping, in place of nothing.
    let place = unsafe { issue(call) }?;
    let mut pages = [u8::MAX; MOST];
    // SAFETY: a byte is written for each page, of which there are no more than that.
    let asked = unsafe { issue(Call::mincore(place, len, pages.as_mut_ptr())) };
    // SAFETY: mapped just now, and nobody's.
    unsafe { issue(Call::munmap(place, len)) }?;
    asked?;
    Ok(pages[0] != u8::MAX && pages[1] == u8::MAX)
}

/// The page size, where it needn't be asked for.
#[inline]
pub(super) fn known_page_size() -> Option<PageSize> {
    PageSize::FIXED.or_else(|| PageSize::new(PAGE_SIZE.load(Ordering::Relaxed)))
}

/// Asks the kernel now for what the owners would otherwise ask when they first need it.
///
/// A program whose filter kills it for an unexpected call does this before it sets the filter. Afterwards the
/// owners make only the calls that their documentation lists. The calls of `prepare` are those of
/// [`page_size`]; `prctl(PR_GET_AUXV)`, or before Linux 6.4 `openat`, `fstatfs`, `pread64` and `close` of
/// `/proc/self/auxv`; and, where no mapping below the stack would stop its growth, `prlimit64` up to twice, and
/// `msync`. Later calls of `prepare` make none.
///
/// # The main thread's stack
/// Linux lets the stack grow right up to inaccessible memory, such as a strict reservation. When that memory is
/// committed later, the stack would run into it. So the owners reserve and commit nothing in the range where
/// the stack may come to lie. This range reaches from the stack's top down to the highest mapping that `exec`
/// made below it, which stops the stack: the vDSO, the dynamic loader, or a position-independent static
/// program.
///
/// Accessible memory stops the stack, so owners map it there too, if the kernel has no other place left for it: up to
/// a MiB below the stack. A stack that is stopped can't grow any further, whatever its limit: the next access is
/// SIGSEGV. A program that may use up its address space makes the main thread's stack grow first, or runs in
/// another thread.
///
/// A static program at a low address has no such mapping if its vDSO lies above the stack, as on older kernels
/// of x86_64. Then the range is as large as the stack's limit is now, and at least 128 MiB. Such a program must
/// not raise the limit above that later and then fill its address space.
///
/// # Errors
/// Those of [`page_size`], and those of `openat` when the process or the system has no descriptor or memory
/// left for it.
///
/// ```
/// rawmap::prepare()?;
/// // From here on, a reservation is one call.
/// # Ok::<(), rawmap::Error>(())
/// ```
pub fn prepare() -> Result<(), Error> {
    page_size()?;
    stack_ground().map(|_| ())
}

/// Gives the owners the auxiliary vector, so that they need not ask the kernel for it. This is for a program
/// without a libc, which gets the vector at its start. No call; but where no mapping below the stack would stop
/// its growth, `prlimit64` twice, and `msync`.
///
/// # Safety
/// `auxv` must point to the auxiliary vector that the kernel gave this process: pairs of words, up to one whose
/// first word is 0. The function must be called at the program's start, before its stack has grown far: a stack
/// that is mapped up to its limit by then is taken for an emulator's, which does not grow.
///
/// ```
/// // A static program finds it behind its environment, at the
/// // top of its stack; here is a copy.
/// let auxv: Vec<usize> = std::fs::read("/proc/self/auxv")?
///     .chunks_exact(8)
///     .map(|word| usize::from_ne_bytes(word.try_into().unwrap()))
///     .collect();
/// // SAFETY: it ends as the kernel's does, with a pair of 0.
/// unsafe { rawmap::set_auxv(auxv.as_ptr().cast()) };
/// assert!(rawmap::page_size()?.bytes() >= 4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe fn set_auxv(auxv: *const [usize; 2]) {
    let mut known = Auxv::default();
    let mut at = auxv;
    loop {
        // SAFETY: by the caller's promise the pairs go on until one begins with 0.
        let pair = unsafe { at.read() };
        if pair[0] == 0 {
            break;
        }
        known.take(pair);
        at = at.wrapping_add(1);
    }
    known.keep();
}

/// Whether any of the range from `start` to `end` lies where the main thread's stack may grow.
///
/// # Errors
/// Those of [`prepare`].
#[inline]
pub(super) fn is_stack_ground(start: usize, end: usize) -> Result<bool, Error> {
    // Ordinary memory lies below, so one comparison is all it costs.
    if end <= GROUND.load(Ordering::Acquire) {
        return Ok(false);
    }
    let (ground, top) = stack_ground()?;
    Ok(end > ground && start < top)
}

/// Whether memory that ends at `end` and grows in place up to `new_end` may come to lie where the main
/// thread's stack may grow. What lies below a mapping that exec made can't: that is in its way.
///
/// # Errors
/// Those of [`prepare`].
#[inline]
pub(super) fn grows_into_stack_ground(end: usize, new_end: usize) -> Result<bool, Error> {
    if new_end <= GROUND.load(Ordering::Acquire) {
        return Ok(false);
    }
    let (ground, top) = stack_ground()?;
    let stopped = FENCED.load(Ordering::Relaxed) && end <= ground;
    Ok(new_end > ground && end < top && !stopped)
}

/// Where the stack ground begins and ends.
#[cold]
pub(super) fn stack_ground() -> Result<(usize, usize), Error> {
    if GROUND.load(Ordering::Acquire) == 0 {
        Auxv::ask()?.keep();
    }
    // Never 0 now; and `TOP` was written before it.
    Ok((GROUND.load(Ordering::Acquire), TOP.load(Ordering::Relaxed)))
}

/// What is of interest in the auxiliary vector; 0 where it isn't there.
#[derive(Default)]
struct Auxv {
    page_size: usize,
    loader: usize,
    vdso: usize,
    program_name: usize,
    /// Where this code's own data lies, which is there for as long as the code can run: a static program's, which
    /// may have holes between its parts, into which the kernel maps what fits.
    own: usize,
    /// Whether a kernel has answered, and not an emulator: then the stack grows, however it looks.
    grows: bool,
}

impl Auxv {
    const AT_PAGESZ: usize = 6;
    const AT_BASE: usize = 7;
    const AT_EXECFN: usize = 31;
    const AT_SYSINFO_EHDR: usize = 33;

    fn take(&mut self, [kind, value]: [usize; 2]) {
        match kind {
            Self::AT_PAGESZ => self.page_size = value,
            Self::AT_BASE => self.loader = value,
            Self::AT_EXECFN => self.program_name = value,
            Self::AT_SYSINFO_EHDR => self.vdso = value,
            _ => {}
        }
    }

    /// Asks for the vector. What a kernel or a filter does not have is no error, and leaves it empty.
    fn ask() -> Result<Self, Error> {
        const PR_GET_AUXV: usize = 0x4155_5856;
        // Linux's own has about 25 pairs.
        let mut pairs = [[0_usize; 2]; 64];
        let (start, size) = (Word::ptr(pairs.as_mut_ptr().cast()), Word::int(size_of_val(&pairs)));
        // SAFETY: the kernel writes at most that many bytes there.
        let asked = unsafe {
            arch::syscall5(Word::int(PR_GET_AUXV), start, size, Word::ZERO, Word::ZERO, nr::PRCTL)
        };
        let is_the_kernels = Errno::decode(asked).is_ok() || {
            // SAFETY: `pairs` is so large.
            match unsafe { read_proc(c"/proc/self/auxv", start, size) } {
                Ok(is_the_kernels) => is_the_kernels,
                // That there is no descriptor for now does not mean that nothing can be known.
                Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR)) => {
                    return Err(Error::refused_beyond("openat(\"/proc/self/auxv\")", errno));
                }
                Err(_) => false,
            }
        };
        let mut known = Self::default();
        pairs.into_iter().take_while(|pair| pair[0] != 0).for_each(|pair| known.take(pair));
        // An emulator writes such a file itself, and has a stack that can be told.
        if is_the_kernels || is_mapped_to_its_limit(known.program_name) {
            // The page size is known from the kernel's own answers.
            Ok(Self { page_size: 0, grows: is_the_kernels, ..known })
        } else {
            Ok(Self::default())
        }
    }

    /// Keeps it for the rest of the process.
    fn keep(self) {
        if let Some(page) = PageSize::new(self.page_size) {
            PAGE_SIZE.store(page.bytes(), Ordering::Relaxed);
        }
        // The name that the program was started by is the last thing on its stack.
        let known = Self { own: (&raw const PAGE_SIZE).addr(), ..self };
        let (ground, top, fenced) = match known.program_name {
            0 => {
                let (ground, top) = Self::unknown_ground();
                (ground, top, false)
            }
            top => {
                let (ground, fenced) = known.ground(top);
                (ground, top, fenced)
            }
        };
        TOP.store(top, Ordering::Relaxed);
        FENCED.store(fenced, Ordering::Relaxed);
        GROUND.store(ground, Ordering::Release);
    }

    /// Where the ground begins that ends at `top`, and whether something that exec mapped stands there.
    fn ground(&self, top: usize) -> (usize, bool) {
        // Where addresses are given out upwards, the loader and the vDSO lie at a third of them, and stop nothing.
        // A program that lies low is no sign of that, nor one that was loaded, which lies apart from what it maps.
        let own = if self.loader != 0 || self.own < top / 2 { 0 } else { self.own };
        let mapped = [self.loader, self.vdso, own].into_iter().filter(|at| (1..top).contains(at));
        match mapped.max() {
            Some(fence) if fence >= top / 2 => (fence, true),
            // So far up nothing is mapped before all below is used up.
            Some(_) => (top - top / 8, false),
            None if !self.grows && is_mapped_to_its_limit(top) => (usize::MAX, false),
            None => (top - stack_reach(top), false),
        }
    }

    /// The ground of a stack of which nothing is known, but that it ends in the last 16 GiB of the addresses
    /// (`arch/*/include/asm/elf.h`: `STACK_RND_MASK`), which are a power of two.
    fn unknown_ground() -> (usize, usize) {
        // Under Miri no stack has addresses that others could get.
        if cfg!(miri) {
            return (usize::MAX, usize::MAX);
        }
        // A stack lies in their upper half, as does a program that may lie anywhere. (An address on the stack may carry
        // a tag in its top byte, which is none of the address.)
        let here = 0_u8;
        let known =
            ((&raw const here).addr() & (usize::MAX >> 8)).max((&raw const PAGE_SIZE).addr());
        let end = known.checked_next_power_of_two().unwrap_or(usize::MAX);
        (end.saturating_sub(stack_reach(end) + (16 << 30)).max(1), usize::MAX)
    }
}

/// Whether the stack that ends at `top` is an emulator's, which is mapped as a whole, above an inaccessible page:
/// the kernel's own never ends at another mapping, but at one that it has grown down to, which can be made so.
///
/// Three calls: `prlimit64(RLIMIT_STACK)`; `msync` of all that the stack may take up and a page more, which is
/// ENOMEM where there is nothing yet; and `prlimit64` of no limit, which is EFAULT if that page can't be read.
fn is_mapped_to_its_limit(top: usize) -> bool {
    let known = || {
        let page = page_size().ok()?;
        let len = page.round_down(stack_limit()).checked_add(page.bytes())?;
        Some((without_provenance_mut(page.round_up(top)?.checked_sub(len)?), len))
    };
    let Some((start, len)) = known() else { return false };
    // SAFETY: msync changes no memory.
    let mapped = unsafe { issue(Call::msync(start, len, MsyncFlags::ASYNC)) };
    let (start, no_limit) = (Word::ptr(start), Word::int(usize::MAX));
    // SAFETY: the kernel reads two words there, or none, and there is no such limit that it could set.
    let read = || unsafe { arch::syscall4(Word::ZERO, no_limit, start, Word::ZERO, nr::PRLIMIT64) };
    mapped.is_ok() && Errno::decode(read()) == Err(Errno::EFAULT)
}

/// How far a stack may reach down from its top, as its limit is now.
fn stack_reach(top: usize) -> usize {
    stack_limit().max(128 << 20).min(top / 8)
}

/// How far the stack may grow, in bytes, as far as its limit says now.
fn stack_limit() -> usize {
    const RLIMIT_STACK: usize = 3;
    limit(RLIMIT_STACK).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    const PAGE: usize = 4096;

    /// Where the ground begins and ends; `None` where there is none, as under an emulator whose stack is mapped
    /// up to its limit.
    fn known_ground() -> Option<(usize, usize)> {
        let (ground, top) = stack_ground().unwrap();
        if ground != usize::MAX {
            return Some((ground, top));
        }
        let emulated = std::env::var_os("RAWMAP_EMULATOR").is_some_and(|name| !name.is_empty());
        assert!(emulated, "a real kernel's stack grows");
        std::eprintln!("skipped: process: the emulator's stack does not grow");
        None
    }

    #[test]
    fn the_ground_is_between_what_exec_mapped_and_the_stacks_top() {
        let Some((ground, top)) = known_ground() else { return };
        assert!(PAGE < ground && ground < top);
        for (start, end, is) in [
            (ground - PAGE, ground, false),
            (ground - PAGE, ground + 1, true),
            (ground, ground + PAGE, true),
            (top - 1, top + PAGE, true),
            (top, top + PAGE, false),
        ] {
            assert_eq!(is_stack_ground(start, end), Ok(is), "{start:#x} {end:#x}");
        }
    }

    #[test]
    fn what_is_more_than_a_page_is_none() {
        let page = page_size().unwrap();
        let larger = PageSize::new(2 * page.bytes()).unwrap();
        assert_eq!((is_one_page(page), is_one_page(larger)), (Ok(true), Ok(false)));
    }

    #[test]
    fn nothing_grows_past_what_exec_mapped() {
        let Some((ground, top)) = known_ground() else { return };
        let fenced = FENCED.load(Ordering::Relaxed);
        for (end, new_end, does) in [
            (ground - PAGE, ground, false),
            (ground - PAGE, ground + PAGE, !fenced),
            (ground, ground + PAGE, !fenced),
            (ground + PAGE, ground + 2 * PAGE, true),
            (top, top + PAGE, false),
        ] {
            assert_eq!(grows_into_stack_ground(end, new_end), Ok(does), "{end:#x} {new_end:#x}");
        }
    }

    #[test]
    fn only_where_no_kernel_has_answered_may_a_stack_be_an_emulators() {
        let page = page_size().unwrap();
        let len = page.round_down(stack_limit());
        if len > 1 << 40 {
            std::eprintln!("skipped: process: the stack's limit is more than can be mapped here");
            return;
        }
        let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
        let (rw, all) = (Prot::READ.union(Prot::WRITE), len + page.bytes());
        // SAFETY: a new mapping, in place of nothing.
        let start = unsafe { issue(Call::mmap_anonymous(null_mut(), all, rw, flags)) }.unwrap();
        // SAFETY: its first page, which nobody uses.
        unsafe { issue(Call::mprotect(start, page.bytes(), Prot::NONE)) }.unwrap();
        let top = start.addr() + all;
        let ground = |grows| Auxv { grows, ..Auxv::default() }.ground(top);
        assert_eq!(ground(false), (usize::MAX, false));
        assert_eq!(ground(true), (top - stack_reach(top), false));
        // SAFETY: mapped above.
        unsafe { issue(Call::munmap(start, all)) }.unwrap();
    }

    #[test]
    fn a_stack_of_which_nothing_is_known_lies_in_the_last_addresses() {
        let Some((_, top)) = known_ground() else { return };
        let (ground, end) = Auxv::unknown_ground();
        assert!(ground != 0 && ground <= top - (128 << 20), "{ground:#x} {top:#x}");
        assert_eq!(end, usize::MAX);
    }

    #[test]
    fn the_highest_mapping_below_the_stack_is_the_fence() {
        let top = 1 << 46;
        let ground = |loader, vdso| Auxv { loader, vdso, ..Auxv::default() }.ground(top);
        assert_eq!(ground(top - 2 * PAGE, top - PAGE), (top - PAGE, true));
        assert_eq!(ground(top - PAGE, top + PAGE), (top - PAGE, true));
        assert_eq!(ground(top / 2, 0), (top / 2, true));
        // A third of the way up, as where addresses are given out upwards, it stops nothing.
        assert_eq!(ground(top / 3, top / 4), (top - top / 8, false));
        assert_eq!(ground(top / 3, top), (top - top / 8, false));
        // A program's own data: of a static one that lies above the vDSO, and of one that lies low.
        let known = |own| Auxv { vdso: top - 9 * PAGE, own, ..Auxv::default() }.ground(top);
        assert_eq!(known(top - PAGE), (top - PAGE, true));
        assert_eq!(known(PAGE), (top - 9 * PAGE, true));
        let loaded = Auxv { loader: top / 3, own: 2 * (top / 3), ..Auxv::default() };
        assert_eq!(loaded.ground(top), (top - top / 8, false));
        assert_eq!(Auxv { own: PAGE, ..Auxv::default() }.ground(top), ground(0, top));
        let (limited, fenced) = ground(0, top);
        assert!(!fenced && top - top / 8 <= limited && limited <= top - (128 << 20));
    }
}
