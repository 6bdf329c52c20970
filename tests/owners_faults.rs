//! Each call of each operation is refused in turn, with each error that a filter can give: once, and from
//! there on as a filter does, every call of that kind.
//!
//! After a failed operation the owner is as it was and works, or is given up as its documentation says.
//! When all owners are dropped, as much is mapped as before, and as much memory is resident; what may
//! stay, where the kernel takes nothing back, is listed in [`may_stay`].
mod common;
use common::supervised::{Seen, supervise, unwatch, watch};
use common::*;
use rawmap::{
    Advice, DualMapping, Errno, Error, Fd, HugePages, Kernel, MapFlags, MapOptions, Mapping, Mode,
    MremapFlags, NO_FD, Operation, PageAlloc, PageSize, Place, Prot, Raw, ReadOnly, Refused,
    Reservation, Ring, Sharing, Stack,
};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;

const MIB: usize = 1 << 20;
/// How large the owners are whose memory is looked at, and how much of the difference is the test's own.
const PAYLOAD: usize = 4 * MIB;
const NOISE: usize = MIB;

/// What a filter may answer, and some that the kernel gives as well. The first four are of the kinds that the
/// owners tell apart: a policy's, one that may mean an older kernel, one that may come after the kernel has
/// unmapped something, and any other.
const ERRNOS: [Errno; 9] = [
    Errno::EPERM,
    Errno::EINVAL,
    Errno::ENOMEM,
    Errno::EINTR,
    Errno::ENOSYS,
    Errno::EACCES,
    Errno::EAGAIN,
    Errno::EFAULT,
    Errno::EBUSY,
];

/// Those that calls are refused with: all, or as many as `RAWMAP_ERRNOS` says, which the output tells.
fn errnos() -> &'static [Errno] {
    static SOME: LazyLock<&[Errno]> = LazyLock::new(|| {
        let all = &ERRNOS[..];
        let some = &all[..number("RAWMAP_ERRNOS", all.len() as u64) as usize];
        if some.len() < all.len() {
            let what = format_args!("calls are refused with {some:?} of {} errors", all.len());
            say("some errors only", "owners_faults", what);
        }
        some
    });
    &SOME
}

/// What a child tells of an operation: by memory that it shares.
#[derive(Clone, Copy, Debug)]
struct Told {
    error: Option<Error>,
    came_back: bool,
    /// Bytes that are mapped and were not, and those that are missing: after a failure whose owner came
    /// back, and at the end, when all is dropped.
    failed: (usize, usize),
    end: (usize, usize),
    /// Resident bytes at the end beyond those before.
    resident: isize,
}

/// How an operation ended: with something new, or with an error and what it was done to.
type Outcome<P, T> = Result<T, (Error, Option<P>)>;

/// The outcome of an operation by `&mut`: what it was done to comes back whatever happens.
fn by_ref<P, T>(mut it: P, f: impl FnOnce(&mut P) -> Result<T, Error>) -> Outcome<P, (P, T)> {
    match f(&mut it) {
        Ok(result) => Ok((it, result)),
        Err(error) => Err((error, Some(it))),
    }
}

fn by_value<P, T>(result: Result<T, Refused<P>>) -> Outcome<P, T> {
    result.map_err(|refused| (refused.error(), refused.into_owner()))
}

/// Resident bytes of the process that belong to no file on a disk. Allocates nothing.
fn resident() -> usize {
    let mut text = [0; 4096];
    // SAFETY: reads as much as there is room for.
    let text = unsafe {
        let fd = libc::open(c"/proc/self/status".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let len = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        std::str::from_utf8(&text[..len as usize]).unwrap()
    };
    let kib = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
    };
    (kib("RssAnon:") + kib("RssShmem:")) << 10
}

/// How many bytes of `there` are not mapped `here`.
fn missing(here: &Space, there: &Space) -> usize {
    let mut both = 0;
    for (start, end) in &here.ranges {
        for (from, to) in &there.ranges {
            both += end.min(to).saturating_sub(*start.max(from));
        }
    }
    there.bytes() - both
}

fn changes(before: &Space, after: &Space) -> (usize, usize) {
    (missing(before, after), missing(after, before))
}

/// What a child looks at its address space with. Made once, by the parent: the child has a copy.
struct Looks {
    before: Space,
    prepared: Space,
    after: Space,
}

impl Looks {
    fn new() -> RefCell<Self> {
        // What is asked for once in a process is known from here on, to the children as well.
        rawmap::prepare().unwrap();
        drop(Stack::new(1));
        RefCell::new(Self { before: Space::new(), prepared: Space::new(), after: Space::new() })
    }
}

fn tell<P, T>(
    looks: &RefCell<Looks>,
    prepare: impl Fn() -> P,
    operation: impl Fn(P) -> Outcome<P, T>,
    works: impl Fn(&mut P),
) -> Told {
    let Looks { before, prepared, after } = &mut *looks.borrow_mut();
    let (mut failed, mut came_back, mut error) = ((0, 0), true, None);
    // Of a few resident pages, such as the test's own, khugepaged makes 2 MiB at any time.
    // SAFETY: a plain call, about this child.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    before.look();
    let was = resident();
    let it = prepare();
    prepared.look();
    watch();
    let outcome = operation(it);
    unwatch();
    match outcome {
        Ok(result) => drop(result),
        Err((what, back)) => {
            error = Some(what);
            came_back = back.is_some();
            if let Some(mut it) = back {
                after.look();
                failed = changes(prepared, after);
                works(&mut it);
            }
        }
    }
    after.look();
    let resident = resident() as isize - was as isize;
    Told { error, came_back, failed, end: changes(before, after), resident }
}

/// One run: which call was refused, and how it went.
struct Run {
    errno: Errno,
    /// Only that call, or also those like it behind it.
    once: bool,
    seen: Vec<Seen>,
    told: Told,
}

impl Run {
    fn refused(&self) -> &Seen {
        self.seen.iter().find(|seen| seen.refused.is_some()).unwrap()
    }

    fn what(&self) -> String {
        let calls: Vec<_> = self.seen.iter().map(|it| (it.name(), it.refused)).collect();
        format!("{calls:?} once: {}: {:?}", self.once, self.told)
    }
}

/// Runs an operation with each of its calls refused in each way; and at first without, when it must
/// succeed and leave nothing. `None` where calls can't be refused.
fn runs<P, T>(
    prepare: impl Fn() -> P,
    operation: impl Fn(P) -> Outcome<P, T>,
    works: impl Fn(&mut P),
) -> Option<Vec<Run>> {
    let shared = MapOptions::new(size_of::<Told>()).raw(RW, Sharing::Shared).unwrap();
    let place: *mut Told = shared.as_ptr().cast();
    let looks = Looks::new();
    let run = |judge: &dyn Fn(usize, &Seen) -> Option<Errno>| {
        let child = || {
            let told = tell(&looks, &prepare, &operation, &works);
            // SAFETY: memory that is shared with the parent, which reads it when this has ended.
            unsafe { place.write(told) };
        };
        let (end, seen) = supervise(child, |n, seen| judge(n, seen).map(Err))?;
        let calls: Vec<_> = seen.iter().map(|it| (it.name(), it.refused)).collect();
        assert_eq!(end, OK, "the child, with {calls:?}");
        // SAFETY: as above.
        Some((seen, unsafe { place.read() }))
    };
    let (seen, told) = run(&|_, _| None)?;
    assert_eq!((told.error, told.end), (None, (0, 0)), "without a refusal: {seen:?}");
    assert!(told.resident < NOISE as isize, "without a refusal: {told:?}");
    let mut runs = Vec::new();
    for (which, call) in seen.iter().enumerate() {
        for &errno in errnos() {
            for once in [true, false] {
                let like =
                    |n, seen: &Seen| n == which || !once && n > which && seen.number == call.number;
                let judge = |n: usize, seen: &Seen| like(n, seen).then_some(errno);
                let (seen, told) = run(&judge)?;
                // How many ends are trimmed depends on where the kernel places it.
                if seen.iter().any(|it| it.refused.is_some()) {
                    runs.push(Run { errno, once, seen, told });
                }
            }
        }
    }
    Some(runs)
}

/// How many bytes may stay mapped in such a run, and how many of them resident, since the kernel takes
/// nothing back or nobody can know whose they are.
fn may_stay(run: &Run) -> (usize, usize) {
    let (mut mapped, mut held) = (0, 0);
    let is_mremap = |seen: &&Seen| seen.name() == "mremap";
    // After the move, room of an object of its own is seen to be still there by one more mremap, that grows it.
    let is_seen = run.seen.iter().rev().find(is_mremap).is_some_and(|it| it.refused.is_none());
    for seen in run.seen.iter().filter(|seen| seen.refused.is_some()) {
        match seen.call.map(|call| call.operation()) {
            // Private memory is freed all the same.
            Some(Operation::Munmap { len, .. }) => mapped += len,
            // The kernel may have unmapped the target, and somebody else may have mapped something there.
            // Where that can't be told, the target stays.
            Some(Operation::Mremap { new_len, flags, .. })
                if flags.contains(MremapFlags::FIXED) && !is_seen && may_unmap(run.errno) =>
            {
                (mapped, held) = (mapped + new_len, held + new_len);
            }
            Some(Operation::Mmap { len, flags, .. })
                if flags.contains(MapFlags::FIXED) && is_late(run.errno) =>
            {
                mapped += len;
            }
            _ => {}
        }
    }
    (mapped, held)
}

/// How many bytes of the run's own have moved to where the kernel likes.
fn moved(run: &Run) -> usize {
    let moved = |seen: &Seen| match seen.call?.operation() {
        Operation::Mremap { old_len, flags, .. } if flags == MremapFlags::MAYMOVE => Some(old_len),
        _ => None,
    };
    run.seen.iter().filter(|seen| seen.refused.is_none()).filter_map(moved).sum()
}

/// What a mremap may say that has unmapped its target.
fn may_unmap(errno: Errno) -> bool {
    !matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
}

/// What the kernel may say after it has unmapped the target.
fn is_late(errno: Errno) -> bool {
    matches!(errno, Errno::ENOMEM | Errno::EAGAIN | Errno::EFAULT)
}

/// The claims of this file, of one operation; says which calls were refused.
#[track_caller]
fn check(runs: &[Run], shared: bool) -> Vec<String> {
    let mut names = Vec::new();
    for run in runs {
        let refused = run.refused();
        let what = run.what();
        if names.last() != Some(&refused.name()) && run.errno == Errno::EPERM && run.once {
            names.push(refused.name());
        }
        if let Some(error) = run.told.error {
            assert_eq!(error.errno(), run.errno, "{what}");
            if let Some(call) = error.call() {
                assert!(run.seen.iter().any(|it| it.call == Some(call)), "{error}: {what}");
            }
        }
        let (mapped, held) = may_stay(run);
        // Memory that is shared is not emptied for all that share it.
        let held = held + if shared { mapped } else { 0 };
        if run.told.came_back {
            let ((gained, lost), moved) = (run.told.failed, moved(run));
            assert!(gained <= mapped + moved && lost <= moved, "{what}");
        }
        assert!(run.told.end.0 <= mapped && run.told.end.1 == 0, "{mapped}: {what}");
        assert!(run.told.resident < (held + NOISE) as isize, "{held}: {what}");
    }
    names
}

/// [`runs`], checked: which calls there were. Where calls can't be refused, the test says so and returns.
macro_rules! faults {
    ($prepare:expr, $operation:expr, $works:expr) => {
        faults!(false, $prepare, $operation, $works)
    };
    ($shared:expr, $prepare:expr, $operation:expr, $works:expr) => {
        match runs($prepare, $operation, $works) {
            Some(runs) => {
                check(&runs, $shared);
                runs
            }
            None => return skip!("calls can't be refused here: no seccomp"),
        }
    };
}

/// What makes something new, of nothing.
macro_rules! new {
    ($make:expr) => {
        new!(false, $make)
    };
    ($shared:expr, $make:expr) => {
        faults!($shared, || (), |()| ($make)().map_err(|error: Error| (error, Some(()))), |()| ())
    };
}

fn page() -> usize {
    rawmap::page_size().unwrap().bytes()
}

fn seven() -> Mapping {
    let mut map = MapOptions::new(PAYLOAD).populate().anonymous().unwrap();
    map.fill(7);
    map
}

fn raw() -> Mapping<Raw> {
    seven().into_raw()
}

/// Each byte is 7. They are compared many at a time: in a virtual machine, one by one takes a minute.
fn all_seven(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|some| *some == [7; 4096][..some.len()])
}

/// It has its bytes, and can be written.
fn is_seven(map: &mut Mapping) {
    assert_eq!((map.len(), map.mapped_len()), (PAYLOAD, PAYLOAD));
    assert!(all_seven(map));
    map.fill(8);
}

/// Each page can be written, whatever it holds.
fn is_writable(map: &mut Mapping<Raw>) {
    assert_eq!(map.len(), PAYLOAD);
    // SAFETY: ours, and nobody else's.
    unsafe { map.as_ptr().write_bytes(8, PAYLOAD) };
}

#[test]
fn a_new_mapping_leaves_nothing() {
    new!(|| MapOptions::new(PAYLOAD).populate().anonymous());
    let aligned = MapOptions::new(PAYLOAD / 2).align(PAYLOAD);
    for options in [aligned, aligned.populate()] {
        new!(|| options.anonymous());
    }
    new!(|| MapOptions::new(page()).align(PAYLOAD).raw(Prot::NONE, Sharing::Private));
    new!(true, || aligned.populate().raw(RW, Sharing::Shared));
}

#[test]
fn a_new_locked_mapping_leaves_nothing() {
    need_lockable!(PAYLOAD as u64);
    new!(|| MapOptions::new(PAYLOAD / 2).align(PAYLOAD).locked().anonymous());
}

#[test]
fn a_new_mapping_of_a_file_leaves_nothing() {
    let file = file_of_pages(2);
    // SAFETY: the file stays open, and nobody else has it.
    let fd = unsafe { Fd::borrow_raw(file.as_raw_fd()) };
    let aligned = MapOptions::new(2 * page()).align(PAYLOAD);
    // SAFETY: as above.
    unsafe {
        new!(true, || aligned.file(fd, 0));
        new!(true, || MapOptions::whole().file(fd, 1));
        new!(true, || aligned.file_mut(fd, 0));
    }
}

#[test]
fn a_reservation_leaves_nothing() {
    for mode in [Mode::Overcommit, Mode::Strict] {
        new!(|| Reservation::new(PAYLOAD, mode));
        new!(|| Reservation::aligned(page(), PAYLOAD, mode));
    }
}

#[test]
fn a_ring_leaves_nothing() {
    let runs = new!(true, || Ring::new(PAYLOAD));
    // Whatever refuses the mirror, a file makes one.
    for run in runs.iter().filter(|run| run.refused().name() == "mremap") {
        assert_eq!(run.told.error, None, "{}", run.what());
        // A filter that says what the kernel may say of a half that it has unmapped costs address space.
        let stays = if run.once || !may_unmap(run.errno) { 0 } else { PAYLOAD };
        assert_eq!(run.told.end, (stays, 0), "{}", run.what());
    }
}

#[test]
fn a_ring_without_its_mirror_and_without_a_file_is_the_mirrors_error() {
    let child = || {
        let mut space = Space::new();
        let before = space.bytes();
        watch();
        let failed = Ring::new(PAYLOAD).map(drop).unwrap_err();
        unwatch();
        space.look();
        assert_eq!(space.bytes(), before);
        assert_eq!(failed.errno(), Errno::EPERM);
        assert!(matches!(failed.call().unwrap().operation(), Operation::Mremap { .. }));
    };
    let judge = |_: usize, seen: &Seen| match &*seen.name() {
        "mremap" => Some(Err(Errno::EPERM)),
        "memfd_create" => Some(Err(Errno::EACCES)),
        _ => None,
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// Where the file would be longer than a limit that can't be asked, to make it so is a signal.
#[test]
fn a_ring_for_whose_file_no_limit_can_be_asked_is_the_mirrors_error() {
    let child = || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a plain call, about this child.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &none) }, 0);
        watch();
        let failed = Ring::new(PAYLOAD).map(drop).unwrap_err();
        unwatch();
        assert!(matches!(failed.call().unwrap().operation(), Operation::Mremap { .. }));
    };
    let judge = |_: usize, seen: &Seen| {
        matches!(&*seen.name(), "mremap" | "prlimit64").then_some(Err(Errno::EPERM))
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// A filter that answers 0 means to refuse. Whoever unmapped "what lies at 0" would unmap the program.
#[test]
fn a_mapping_that_is_answered_by_0_is_an_error_and_unmaps_nothing() {
    let child = || {
        rawmap::prepare().unwrap();
        watch();
        let failed = Reservation::new(PAYLOAD, Mode::Overcommit).map(drop).unwrap_err();
        unwatch();
        assert_eq!(failed.to_string(), "mmap: the place is 0");
    };
    let judge = |_: usize, seen: &Seen| (seen.name() == "mmap").then_some(Ok(0));
    match supervise(child, judge) {
        Some((end, seen)) => {
            let names: Vec<_> = seen.iter().map(Seen::name).collect();
            assert_eq!((end, &*names), (OK, &["mmap".to_owned()][..]));
        }
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// The same of a mapping that grows: it stays where it is.
#[test]
fn a_growth_that_is_answered_by_0_is_an_error() {
    let child = || {
        rawmap::prepare().unwrap();
        let mut map = seven();
        let at = map.as_ptr();
        watch();
        let failed = map.resize(2 * PAYLOAD).unwrap_err();
        unwatch();
        assert_eq!(failed.to_string(), "mremap: the place is 0");
        assert_eq!((map.as_ptr(), map.len()), (at, PAYLOAD));
        is_seven(&mut map);
    };
    match supervise(child, |_, seen: &Seen| (seen.name() == "mremap").then_some(Ok(0))) {
        Some((end, seen)) => assert_eq!((end, seen.len()), (OK, 1), "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// A filter's EINVAL is no sign of a longer mapping, of which more could be unmapped: that is somebody's.
#[test]
fn no_more_is_unmapped_than_was_mapped() {
    let child = || {
        rawmap::prepare().unwrap();
        watch();
        let _ = HugePages::find();
        unwatch();
    };
    let judge = |_: usize, seen: &Seen| (seen.name() == "munmap").then_some(Err(Errno::EINVAL));
    let Some((end, seen)) = supervise(child, judge) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    assert_eq!(end, OK, "{seen:?}");
    let (mut mapped, mut unmapped) = (0, 0);
    for call in &seen {
        match &*call.name() {
            "mmap" => mapped = call.args[1],
            "munmap" => {
                unmapped += 1;
                assert!(call.args[1] <= mapped, "{seen:?}");
            }
            _ => {}
        }
    }
    if unmapped == 0 {
        skip!("this kernel has no huge pages");
    }
}

/// A ring of a file, with each of that file's steps refused.
#[test]
fn a_ring_of_a_file_leaves_nothing() {
    let shared = MapOptions::new(size_of::<Told>()).raw(RW, Sharing::Shared).unwrap();
    let place: *mut Told = shared.as_ptr().cast();
    let looks = Looks::new();
    // The first mmap is the one that has no mirror, whose half the second tries to take again, and four munmaps
    // give it back; the first close is of vm.overcommit_memory.
    let steps = [
        ("memfd_create", 0),
        ("ftruncate", 0),
        ("mmap", 2),
        ("munmap", 4),
        ("mmap", 3),
        ("fcntl", 0),
        ("fstat", 0),
        ("close", 0),
        ("close", 1),
    ];
    for (name, nth) in steps {
        for &errno in errnos() {
            let child = || {
                let make = |()| Ring::new(PAYLOAD).map_err(|error| (error, Some(())));
                let told = tell(&looks, || (), make, |()| ());
                // SAFETY: memory that is shared with the parent, which reads it when this has ended.
                unsafe { place.write(told) };
            };
            let mut count = 0;
            let judge = |_: usize, seen: &Seen| {
                count += usize::from(seen.name() == name);
                match &*seen.name() {
                    "mremap" => Some(Err(Errno::EPERM)),
                    it => (it == name && count == nth + 1).then_some(Err(errno)),
                }
            };
            let Some((end, seen)) = supervise(child, judge) else {
                return skip!("calls can't be refused here: no seccomp");
            };
            // SAFETY: as above.
            let told = unsafe { place.read() };
            let names: Vec<_> = seen.iter().map(Seen::name).collect();
            assert_eq!((end, told.end), (OK, (0, 0)), "{errno} for {name} of {names:?}");
            // A file that can't be closed is made and mapped all the same.
            assert_eq!(told.error.is_none(), name == "close", "{errno} for {name} of {names:?}");
        }
    }
}

/// The half behind the file's end is free for a moment, in which another thread may take it.
#[test]
fn a_ring_of_a_file_is_tried_again_where_another_thread_was_faster() {
    for faster in [1, usize::MAX] {
        let child = || {
            let mut space = Space::new();
            let before = space.bytes();
            watch();
            let ring = Ring::new(PAYLOAD);
            unwatch();
            assert_eq!(ring.is_ok(), faster == 1);
            if let Ok(ring) = &ring {
                assert_eq!(ring.slice(0, ring.len()).iter().max(), Some(&0));
            }
            drop(ring);
            space.look();
            assert_eq!(space.bytes(), before);
        };
        let mut placed = 0;
        let judge = |_: usize, seen: &Seen| match seen.call?.operation() {
            Operation::Mremap { .. } => Some(Err(Errno::EPERM)),
            Operation::Mmap { flags, .. }
                if flags.contains(MapFlags::FIXED_NOREPLACE.union(MapFlags::SHARED)) =>
            {
                placed += 1;
                (placed <= faster).then_some(Err(Errno::EEXIST))
            }
            _ => None,
        };
        match supervise(child, judge) {
            Some((end, seen)) => {
                assert_eq!((end, placed), (OK, faster.saturating_add(1).min(8)), "{seen:?}")
            }
            None => return skip!("calls can't be refused here: no seccomp"),
        }
    }
}

#[test]
fn a_dual_mapping_leaves_nothing() {
    let runs = new!(true, || DualMapping::new(PAYLOAD));
    // What a filter or a policy refuses once, a file does.
    for run in runs.iter().filter(|run| run.once && run.refused().name() != "close") {
        let policy = [Errno::EPERM, Errno::EACCES, Errno::ENOSYS, Errno::EINVAL];
        let falls_back = run.refused().name() == "mremap" || policy.contains(&run.errno);
        assert_eq!(run.told.error.is_none(), falls_back, "{}", run.what());
    }
}

#[test]
fn a_stack_leaves_nothing() {
    let runs = new!(|| Stack::new(PAYLOAD));
    for run in runs.iter().filter(|run| run.refused().name() == "madvise") {
        // A guard that is refused is one by protection.
        assert_eq!(run.told.error, None, "{}", run.what());
        assert!(run.seen.iter().any(|call| call.name() == "mprotect"), "{}", run.what());
    }
}

/// The memory of a stack is its owner's to drop: also where the guard fails in both ways.
#[test]
fn a_stack_without_a_guard_is_none() {
    let child = || {
        let mut space = Space::new();
        let before = space.bytes();
        watch();
        let failed = Stack::new(PAYLOAD).map(drop).unwrap_err();
        unwatch();
        space.look();
        assert_eq!((failed.errno(), space.bytes()), (Errno::EPERM, before));
    };
    let judge = |_: usize, seen: &Seen| {
        matches!(&*seen.name(), "madvise" | "mprotect").then_some(Err(Errno::EPERM))
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

#[test]
fn a_place_leaves_nothing() {
    // In the child, nobody else comes to lie there.
    let hole = || {
        let hole = MapOptions::new(PAYLOAD).raw(RW, Sharing::Private).unwrap();
        Place::Exact(hole.as_ptr())
    };
    let options = MapOptions::new(PAYLOAD).populate();
    let at = |place| {
        // SAFETY: where the kernel had placed a mapping, far from any stack.
        let placed = unsafe { options.at(place, RW, ANON, NO_FD, 0) };
        placed.map_err(|error| (error, Some(place)))
    };
    for run in faults!(hole, at, |_| ()) {
        assert!(run.told.error.is_some() && run.seen.len() == 1, "{}", run.what());
    }
}

/// A kernel before 4.17 takes `MAP_FIXED_NOREPLACE` for a hint. Here the supervisor answers for it, with
/// a place that the child has mapped elsewhere.
#[test]
fn what_an_old_kernel_places_elsewhere_is_unmapped() {
    let elsewhere = MapOptions::new(page()).raw(RW, Sharing::Private).unwrap();
    let stray = elsewhere.as_ptr();
    let child = || {
        let taken = seven();
        let mut space = Space::new();
        watch();
        let place = Place::Exact(taken.as_ptr().cast_mut());
        // SAFETY: the place is no stack's.
        let placed = unsafe { MapOptions::new(page()).at(place, RW, ANON, NO_FD, 0) };
        unwatch();
        assert_eq!(placed.unwrap_err().errno(), Errno::EEXIST);
        space.look();
        assert!(space.lacks(stray, page()), "the stray is unmapped");
        assert!(space.has(taken.as_ptr().cast_mut(), PAYLOAD) && taken[0] == 7);
    };
    let answer = |n: usize, _: &Seen| (n == 0).then_some(Ok(stray.addr()));
    match supervise(child, answer) {
        Some((end, seen)) => {
            let names: Vec<_> = seen.iter().map(Seen::name).collect();
            assert_eq!((end, names), (OK, vec!["mmap".to_owned(), "munmap".to_owned()]));
        }
        None => skip!("calls can't be answered here: no seccomp"),
    }
}

#[test]
fn what_the_kernel_does_not_unmap_costs_no_memory() {
    for runs in [
        faults!(seven, |map| by_value(map.unmap()), is_seven),
        faults!(
            seven,
            |map| {
                drop(map);
                Ok(())
            },
            |_| ()
        ),
        faults!(
            raw,
            |map| {
                drop(map);
                Ok(())
            },
            |_| ()
        ),
        faults!(seven, |map| by_ref(map, |map| map.resize(1)), is_seven),
        faults!(seven, |map| by_ref(map, |map| map.resize(0)), is_seven),
    ] {
        assert!(runs.iter().all(|run| run.refused().name() == "munmap"));
        for run in &runs {
            assert!(run.told.resident < NOISE as isize, "{}", run.what());
        }
    }
}

/// Locked memory too, which MADV_DONTNEED does not free.
#[test]
fn what_is_locked_and_not_unmapped_costs_no_memory() {
    need_lockable!(PAYLOAD as u64);
    let locked = || {
        let map = seven();
        map.lock(..).unwrap();
        map
    };
    let runs = faults!(
        locked,
        |map| {
            drop(map);
            Ok(())
        },
        |_| ()
    );
    let names: Vec<_> = runs[0].seen.iter().map(Seen::name).collect();
    assert_eq!(names, ["munmap", "madvise", "madvise"]);
}

#[test]
fn a_mapping_comes_back_from_a_refused_resize_or_seal() {
    for run in faults!(seven, |map| by_ref(map, |map| map.resize(16 * PAYLOAD)), is_seven) {
        assert!(run.told.error.is_some(), "{}", run.what());
    }
    for run in faults!(seven, |map| by_ref(map, |map| map.resize_in_place(1)), is_seven) {
        assert!(run.told.error.is_some(), "{}", run.what());
    }
    let seal = |map: Mapping| by_value(map.seal().map(|_| ()));
    let Some(runs) = runs(seven, Ok::<_, (Error, Option<Mapping>)>, |_| ()) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    assert!(runs.is_empty());
    // What is sealed can't be dropped, so only the refusals are run.
    let child = || {
        let map = seven();
        watch();
        let (error, back) = seal(map).unwrap_err();
        unwatch();
        assert_eq!(error.errno(), Errno::EPERM);
        is_seven(&mut back.unwrap());
    };
    let (end, seen) = supervise(child, |_, _| Some(Err(Errno::EPERM))).unwrap();
    assert_eq!((end, seen.len()), (OK, 1));
}

/// The protection is put back, or where that is refused too, the mapping is lost, and unmapped.
#[test]
fn a_mapping_comes_back_from_a_refused_conversion_or_is_given_up() {
    let read_only = |map: Mapping| by_value(map.make_read_only());
    let writable = |map: Mapping<ReadOnly>| by_value(map.make_writable());
    let frozen = || seven().make_read_only().unwrap();
    let is_frozen = |map: &mut Mapping<ReadOnly>| assert!(all_seven(map));
    let Some(all) = runs(seven, read_only, is_seven) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    let all = all.into_iter().chain(runs(frozen, writable, is_frozen).unwrap());
    for run in all {
        let names: Vec<_> = run.seen.iter().map(Seen::name).collect();
        assert_eq!(names[..2], ["mprotect", "mprotect"], "{}", run.what());
        assert_eq!((run.told.error.unwrap().errno(), run.told.came_back), (run.errno, run.once));
        if run.told.came_back {
            assert_eq!((run.told.failed, run.told.end), ((0, 0), (0, 0)), "{}", run.what());
        }
        assert!(
            run.told.resident < NOISE as isize,
            "what is given up costs memory: {}",
            run.what()
        );
    }
}

#[test]
fn a_purge_falls_back_on_einval_alone() {
    let purge = |map| by_ref(map, |map: &mut Mapping| map.purge(..));
    let of_reserved = |it| by_ref(it, |it: &mut Reservation| it.purge(..));
    let reserved = || Reservation::new(PAYLOAD, Mode::Overcommit).unwrap();
    for runs in [faults!(seven, purge, |_| ()), faults!(reserved, of_reserved, |_| ())] {
        for run in runs {
            let names: Vec<_> = run.seen.iter().map(Seen::name).collect();
            let again = if run.errno == Errno::EINVAL { 2 } else { 1 };
            assert_eq!(names, vec!["madvise"; again], "{}", run.what());
            let done = run.errno == Errno::EINVAL && run.once;
            assert_eq!(run.told.error.is_none(), done, "{}", run.what());
        }
    }
}

#[test]
fn a_guard_falls_back_on_protection() {
    let guard = |map| by_ref(map, |map: &mut Mapping<Raw>| map.guard(..page()));
    for run in faults!(raw, guard, is_writable) {
        // Without MADV_GUARD_INSTALL, which came with Linux 6.13, there is nothing behind mprotect.
        let error = (run.refused().name() == "mprotect").then_some(run.errno);
        assert_eq!(run.told.error.map(|error| error.errno()), error, "{}", run.what());
        assert!(run.seen.iter().any(|call| call.name() == "mprotect"), "{}", run.what());
    }
}

#[test]
fn committing_and_decommitting_leave_the_reservation_as_it_is() {
    let new = |mode| {
        move || {
            let it = Reservation::new(PAYLOAD, mode).unwrap();
            it.commit(..).unwrap();
            // SAFETY: ours, and committed.
            unsafe { it.as_ptr().write_bytes(7, PAYLOAD) };
            it
        }
    };
    let works = |it: &mut Reservation| {
        it.commit(..).unwrap();
        // SAFETY: ours, and committed.
        unsafe { it.as_ptr().write_bytes(7, PAYLOAD) };
        it.decommit(..).unwrap();
    };
    for mode in [Mode::Overcommit, Mode::Strict] {
        let fresh = || Reservation::new(PAYLOAD, mode).unwrap();
        faults!(fresh, |it| by_ref(it, |it| it.commit(..)), works);
        faults!(fresh, |it| by_value(it.into_mapping()), works);
        let runs = faults!(new(mode), |it| by_ref(it, |it| it.decommit(..)), works);
        for run in runs.iter().filter(|run| run.refused().name() == "mmap") {
            // The memory is freed all the same.
            assert_eq!(run.told.error, None, "{}", run.what());
            assert!(run.seen.iter().any(|it| it.name() == "madvise"), "{}", run.what());
        }
    }
}

#[test]
fn a_mapping_comes_back_from_a_refused_reservation() {
    for mode in [Mode::Overcommit, Mode::Strict] {
        faults!(seven, |map| by_value(map.into_reservation(mode)), is_seven);
    }
}

/// Both come back, or the place is given up where the kernel may have unmapped it.
#[test]
fn a_refused_move_gives_the_place_back_or_says_that_it_is_lost() {
    let place = |(mut map, place): (Mapping, Option<Reservation>)| {
        let done = place.unwrap().place(&mut map);
        match done {
            Ok(()) => Ok(map),
            Err(refused) => {
                let error = refused.error();
                Err((error, Some((map, refused.into_owner()))))
            }
        }
    };
    let works = |it: &mut (Mapping, Option<Reservation>)| {
        is_seven(&mut it.0);
        if let Some(place) = &mut it.1 {
            place.commit(..).unwrap();
            // SAFETY: ours, and committed.
            unsafe { place.as_ptr().write_bytes(7, PAYLOAD) };
        }
    };
    let two = || (seven(), Some(Reservation::new(PAYLOAD, Mode::Strict).unwrap()));
    for run in faults!(two, place, works) {
        assert!(run.told.came_back, "{}", run.what());
        // Whatever is refused before the place is freed has changed nothing.
        if run.seen[0].refused.is_some() {
            assert_eq!((run.seen.len(), run.told.failed), (1, (0, 0)), "{}", run.what());
        }
    }
}

/// A filter that answers some moves and not others is no witness of what the kernel has done: a mapping in two
/// parts, of which the kernel moves the first and refuses the second, and a place that it has unmapped.
#[test]
fn what_a_filter_says_of_other_calls_is_not_believed() {
    for &errno in errnos() {
        let child = || {
            let mut map = MapOptions::new(4 * page()).raw(RW, Sharing::Private).unwrap();
            map.protect(..page(), Prot::READ).unwrap();
            let place = Reservation::new(4 * page(), Mode::Strict).unwrap();
            let (from, to) = (map.as_ptr(), place.as_ptr());
            watch();
            let refused = place.place(&mut map).unwrap_err();
            unwatch();
            // It was never tried, so both are as they were.
            assert_eq!((map.as_ptr(), refused.into_owner().unwrap().as_ptr()), (from, to));
        };
        // All but the move itself, which only the kernel answers.
        let judge = |_: usize, seen: &Seen| match seen.call?.operation() {
            Operation::Mremap { flags, .. } if !flags.contains(MremapFlags::FIXED) => {
                Some(Err(errno))
            }
            _ => None,
        };
        match supervise(child, judge) {
            Some((end, seen)) => {
                assert_eq!(end, OK, "{errno}: {seen:?}");
                let moved = |seen: &Seen| matches!(seen.call.map(|call| call.operation()), Some(Operation::Mremap { flags, .. }) if flags.contains(MremapFlags::FIXED));
                assert!(!seen.iter().any(moved), "{errno}: {seen:?}");
            }
            None => return skip!("calls can't be refused here: no seccomp"),
        }
    }
}

#[test]
fn an_overlay_that_is_refused_leaves_the_range() {
    let overlay = |map| {
        // SAFETY: no file; and in the child nobody else maps anything.
        by_ref(map, |map: &mut Mapping<Raw>| unsafe { map.overlay(.., RW, ANON, NO_FD, 0) })
    };
    for run in faults!(raw, overlay, is_writable) {
        assert_eq!((run.told.failed, run.told.end), ((0, 0), (0, 0)), "{}", run.what());
    }
}

#[test]
fn one_call_methods_tell_their_error_and_change_nothing() {
    tell_their_error_and_change_nothing(&[
        |map| map.unlock(..),
        |map| map.populate_write(..),
        |map| map.advise(.., Advice::NOHUGEPAGE),
        |map| map.protect(.., RW),
        |map| map.resident(.., &mut vec![0; PAYLOAD / page()]).map(|_| ()),
    ]);
}

#[test]
fn locking_tells_its_error_and_changes_nothing() {
    need_lockable!(PAYLOAD as u64);
    tell_their_error_and_change_nothing(&[|map| map.lock(..)]);
}

type Method = fn(&mut Mapping<Raw>) -> Result<(), Error>;

#[track_caller]
fn tell_their_error_and_change_nothing(methods: &[Method]) {
    for method in methods {
        for run in faults!(raw, |map| by_ref(map, method), is_writable) {
            assert!(run.told.error.is_some() && run.seen.len() == 1, "{}", run.what());
        }
    }
}

/// An allocator's failure is a null pointer.
fn allocation(layout: Layout, new_size: Option<usize>) -> Outcome<(), Block> {
    // SAFETY: sizes are not 0, and blocks are of their own layout.
    unsafe {
        let block = PageAlloc.alloc_zeroed(layout);
        if block.is_null() {
            return Ok(Block(block, layout));
        }
        block.write_bytes(7, layout.size());
        let Some(size) = new_size else { return Ok(Block(block, layout)) };
        let moved = PageAlloc.realloc(block, layout, size);
        if moved.is_null() {
            assert_eq!(block.add(layout.size() - 1).read(), 7, "the block is as it was");
            return Ok(Block(block, layout));
        }
        assert_eq!(moved.add(layout.size().min(size) - 1).read(), 7, "the contents are kept");
        Ok(Block(moved, Layout::from_size_align(size, layout.align()).unwrap()))
    }
}

struct Block(*mut u8, Layout);

impl Drop for Block {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: allocated with this layout.
            unsafe { PageAlloc.dealloc(self.0, self.1) };
        }
    }
}

#[test]
fn the_allocator_leaves_nothing_but_addresses_that_the_kernel_refuses_to_unmap() {
    let layout = |align| Layout::from_size_align(PAYLOAD, align).unwrap();
    for (layout, new_size) in [
        (layout(1), None),
        (layout(1), Some(page())),
        (layout(1), Some(2 * PAYLOAD)),
        (layout(4 * PAYLOAD), None),
        (layout(4 * PAYLOAD), Some(page())),
        (layout(4 * PAYLOAD), Some(2 * PAYLOAD)),
    ] {
        faults!(|| (), |()| allocation(layout, new_size), |()| ());
    }
    let Some(runs) = runs(|| (), |()| allocation(layout(1), Some(2 * PAYLOAD)), |()| ()) else {
        return skip!("calls can't be refused here: no seccomp");
    };
    for run in runs.iter().filter(|run| run.refused().name() == "mremap") {
        // It copies then.
        let names: Vec<_> = run.seen.iter().map(Seen::name).collect();
        assert_eq!(names, ["mmap", "mremap", "mmap", "munmap"], "{}", run.what());
    }
}

/// What may be another's by now is left alone: a ring whose second half the kernel had unmapped before it
/// failed. The supervisor answers with a half that is followed by somebody else's memory.
#[test]
fn a_ring_that_failed_half_way_leaves_what_came_to_lie_there() {
    let mut first = MapOptions::new(2 * page()).raw(RW, Sharing::Shared).unwrap();
    let (half, behind) = (first.as_ptr(), first.as_ptr().wrapping_add(page()));
    let second = first.split_off(page()).unwrap();
    std::mem::forget((first, second));
    // SAFETY: the second half, given up by the line above.
    let mine = unsafe { rawmap::mmap_anonymous(behind, page(), RW, ANON | MapFlags::FIXED) };
    assert_eq!(mine, Ok(behind));
    let child = || {
        let mut space = Space::new();
        watch();
        let failed = Ring::new(page()).map(drop);
        unwatch();
        assert_eq!(failed.unwrap_err().errno(), Errno::ENOMEM);
        space.look();
        assert!(space.has(behind, page()) && !space.has(half, page()));
    };
    let judge = |n: usize, seen: &Seen| match n {
        0 => Some(Ok(half.addr())),
        1 => Some(Err(Errno::ENOMEM)),
        _ => (seen.name() == "memfd_create").then_some(Err(Errno::EPERM)),
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// The kernel has unmapped the place before it failed, and nobody has mapped anything there: it is taken
/// again, and comes back.
#[test]
fn a_place_that_the_kernel_unmapped_is_taken_again() {
    for &errno in errnos() {
        // Between two others, so that nothing that is longer comes to lie there.
        let mut place = Reservation::new(3 * PAYLOAD, Mode::Strict).unwrap().into_raw();
        let mut middle = place.split_off(PAYLOAD).unwrap();
        let _behind = middle.split_off(PAYLOAD).unwrap();
        let (_before, place) = (place, middle);
        let at = place.as_ptr();
        let child = || {
            // SAFETY: the child's own copy of the owner.
            let place = unsafe { std::ptr::read(&place) };
            // SAFETY: a strict reservation made it.
            let place = unsafe { Reservation::from_raw(place, Mode::Strict) };
            let mut map = seven();
            // SAFETY: as the kernel would.
            unsafe { rawmap::munmap(at, PAYLOAD) }.unwrap();
            watch();
            let refused = place.place(&mut map).unwrap_err();
            unwatch();
            assert_eq!(refused.error().errno(), errno);
            let place = refused.into_owner().expect("taken again");
            is_seven(&mut map);
            assert_eq!(place.as_ptr(), at);
            let mut space = Space::new();
            space.look();
            assert!(space.has(at, PAYLOAD));
            drop(place);
            space.look();
            assert!(space.lacks(at, PAYLOAD));
        };
        let judge = |_: usize, seen: &Seen| match seen.call?.operation() {
            Operation::Mremap { flags, .. } if flags.contains(MremapFlags::FIXED) => {
                Some(Err(errno))
            }
            // The place is freed before the move; here it is gone already.
            Operation::Madvise { .. } => Some(Ok(0)),
            _ => None,
        };
        match supervise(child, judge) {
            Some((end, seen)) => assert_eq!(end, OK, "{errno}: {seen:?}"),
            None => return skip!("calls can't be refused here: no seccomp"),
        }
    }
}

/// The same, and somebody has mapped something there meanwhile: that stays, and the place is lost.
#[test]
fn a_place_that_is_somebody_elses_by_now_is_given_up() {
    let place = Reservation::new(PAYLOAD, Mode::Strict).unwrap().into_raw();
    let at = place.as_ptr();
    let child = || {
        // SAFETY: the child's own copy of the owner, which a strict reservation made.
        let place = unsafe { Reservation::from_raw(std::ptr::read(&place), Mode::Strict) };
        let mut map = seven();
        // SAFETY: as the kernel and another thread would.
        let other = unsafe { rawmap::mmap_anonymous(at, PAYLOAD, RW, ANON | MapFlags::FIXED) };
        assert_eq!(other, Ok(at));
        // SAFETY: mapped just now.
        unsafe { at.write(9) };
        watch();
        let refused = place.place(&mut map).unwrap_err();
        unwatch();
        assert!(refused.into_owner().is_none());
        is_seven(&mut map);
        // SAFETY: if it was unmapped, then this is SIGSEGV.
        assert_eq!(unsafe { at.read() }, 9);
    };
    let judge = |_: usize, seen: &Seen| match seen.call?.operation() {
        Operation::Mremap { flags, .. } if flags.contains(MremapFlags::FIXED) => {
            Some(Err(Errno::ENOMEM))
        }
        // A filter that answers a mremap without flags is no sign that it answered that one.
        Operation::Mremap { flags, .. } if flags == MremapFlags::default() => {
            Some(Err(Errno::EPERM))
        }
        // The place is freed before the move; here it is somebody else's already.
        Operation::Madvise { .. } => Some(Ok(0)),
        _ => None,
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// A kernel before 4.17 takes FIXED_NOREPLACE for a hint: what it maps elsewhere is unmapped again.
#[test]
fn what_an_old_kernel_takes_again_elsewhere_is_unmapped() {
    let elsewhere = MapOptions::new(PAYLOAD).raw(RW, Sharing::Private).unwrap();
    let stray = elsewhere.as_ptr();
    let child = || {
        // What it allocates must not come to lie where something was unmapped.
        let mut space = Space::new();
        let (mut map, place) = (seven(), Reservation::new(PAYLOAD, Mode::Strict).unwrap());
        watch();
        let refused = place.place(&mut map).unwrap_err();
        unwatch();
        assert!(refused.into_owner().is_none());
        is_seven(&mut map);
        space.look();
        assert!(space.lacks(stray, PAYLOAD));
    };
    let judge = |_: usize, seen: &Seen| match seen.call?.operation() {
        Operation::Mremap { flags, .. } if flags.contains(MremapFlags::FIXED) => {
            Some(Err(Errno::ENOMEM))
        }
        Operation::Mmap { .. } => Some(Ok(stray.addr())),
        _ => None,
    };
    match supervise(child, judge) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// What a kernel before 6.12 had unmapped when its own memory ran out is taken again.
#[test]
fn what_a_refused_decommit_unmapped_is_taken_again() {
    let child = || {
        let it = Reservation::new(PAYLOAD, Mode::Strict).unwrap();
        let at = it.as_ptr();
        // SAFETY: as the kernel would.
        unsafe { rawmap::munmap(at, PAYLOAD) }.unwrap();
        watch();
        let done = it.decommit(..);
        unwatch();
        assert_eq!(done, Ok(()));
        let mut space = Space::new();
        space.look();
        assert!(space.has(at, PAYLOAD));
    };
    match supervise(child, |n, _| (n == 0).then_some(Err(Errno::ENOMEM))) {
        Some((end, seen)) => assert_eq!(end, OK, "{seen:?}"),
        None => skip!("calls can't be refused here: no seccomp"),
    }
}

/// Uses up all mappings that the process may have.
fn use_up_mappings() {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: usize = most.trim().parse().unwrap();
    // SAFETY: new memory, which nobody uses.
    unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let len = 2 * most * page();
        let filler = rawmap::mmap_anonymous(at(0), len, Prot::NONE, flags).unwrap();
        let one = |n: usize| rawmap::mprotect(filler.add(2 * n * page()), page(), Prot::READ);
        (0..).take_while(|n| one(*n).is_ok()).for_each(drop);
    }
}

/// With as many mappings as the process may have, what can't be split is freed all the same.
#[test]
fn at_the_limit_of_mappings_nothing_costs_more_memory_than_before() {
    if emulator().is_some() {
        return skip!("an emulator counts the mappings below it");
    }
    alone(|| {
        let layout = Layout::from_size_align(PAYLOAD, 1).unwrap();
        let strict = Reservation::new(PAYLOAD, Mode::Strict).unwrap();
        strict.commit(..).unwrap();
        let mut around = MapOptions::new(3 * PAYLOAD).anonymous().unwrap();
        around.fill(7);
        let mut middle = around.split_off(PAYLOAD).unwrap();
        let behind = middle.split_off(PAYLOAD).unwrap();
        // SAFETY: not of size 0, and used with its own layout.
        let block = unsafe { PageAlloc.alloc(layout) };
        // SAFETY: as long as that, and ours.
        unsafe {
            block.write_bytes(7, PAYLOAD);
            strict.as_ptr().write_bytes(7, PAYLOAD);
        }
        use_up_mappings();
        let full = resident();
        // SAFETY: as above.
        let shrunk = unsafe { PageAlloc.realloc(block, layout, PAYLOAD / 4) };
        assert_eq!(shrunk, block);
        let after_shrink = resident();
        assert!(after_shrink + PAYLOAD / 2 < full, "{full} {after_shrink}");
        drop(middle);
        let after_drop = resident();
        assert!(after_drop + PAYLOAD - NOISE < after_shrink, "{after_shrink} {after_drop}");
        strict.decommit(PAYLOAD / 4..PAYLOAD / 2).unwrap();
        assert!(resident() + PAYLOAD / 8 < after_drop);
        assert!(around[PAYLOAD - 1] == 7 && behind[0] == 7);
    });
}

/// How many bytes are mapped; for where the parts are too many to be looked at.
fn mapped() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<usize>().unwrap() * page()
}

/// With as many mappings as the process may have, and with a few less.
#[test]
fn at_the_limit_of_mappings_what_fails_half_way_leaves_nothing() {
    if emulator().is_some() {
        return skip!("an emulator counts the mappings below it");
    }
    alone(|| {
        let one = || MapOptions::new(page()).raw(RW, Sharing::Shared).ok();
        let mut held = Vec::with_capacity(20);
        held.extend(std::iter::from_fn(one).take(4));
        use_up_mappings();
        // The last ones, which can't be cut out of others.
        held.extend(std::iter::from_fn(one).take(16));
        assert!((4..20).contains(&held.len()), "{}", held.len());
        let (mut rings, mut duals) = (0, 0);
        while held.pop().is_some() {
            let before = mapped();
            rings += usize::from(Ring::new(PAYLOAD).is_ok());
            assert_eq!(mapped(), before, "a ring, and {} more are held", held.len());
            duals += usize::from(DualMapping::new(PAYLOAD).is_ok());
            assert_eq!(mapped(), before, "a dual mapping, and {} more are held", held.len());
        }
        assert!(rings > 0 && duals > 0, "the last ones have what they need");
    });
}

/// A ring under RLIMIT_AS, which the kernel counts before or after it has unmapped the second half.
#[test]
fn a_ring_over_the_limit_of_addresses_leaves_nothing() {
    alone(|| {
        let mut space = Space::new();
        for more in [1, 2, 3] {
            space.look();
            let before = space.bytes();
            let limit = (mapped() + more * PAYLOAD + PAYLOAD / 2) as u64;
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
            let none =
                libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: plain calls.
            unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
            let ring = Ring::new(PAYLOAD);
            // SAFETY: as above.
            unsafe { libc::setrlimit(libc::RLIMIT_AS, &none) };
            drop(ring);
            space.look();
            assert_eq!(space.bytes(), before, "{more}");
        }
    });
}

#[test]
fn finding_the_limits_leaves_nothing_but_a_page_that_the_kernel_refuses_to_unmap() {
    let found = |()| Ok::<_, (Error, Option<()>)>(Kernel::find().ok());
    faults!(|| (), found, |()| ());
    let child = || {
        watch();
        let found = Kernel::find();
        unwatch();
        assert_eq!(found.err(), Some(Errno::EPERM));
    };
    let (end, _) = supervise(child, |_, _| Some(Err(Errno::EPERM))).unwrap();
    assert_eq!(end, OK);
}

#[test]
fn finding_the_page_size_says_why_it_can_not_or_makes_no_call() {
    let child = || {
        watch();
        let found = PageSize::find();
        unwatch();
        assert_eq!(found, PageSize::FIXED.ok_or(Errno::ENOSYS));
    };
    match supervise(child, |_, _| Some(Err(Errno::ENOSYS))) {
        Some((end, seen)) => {
            assert_eq!((end, seen.is_empty()), (OK, PageSize::FIXED.is_some()));
        }
        None => skip!("calls can't be refused here: no seccomp"),
    }
}
