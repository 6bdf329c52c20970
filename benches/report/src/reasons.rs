//! Where a peer has less than the crate, and why. A row that loses and isn't here fails `ci/bench.sh --check`; so does
//! one that is here and doesn't lose.

use crate::figures::Loss;

pub struct Reason {
    pub rows: &'static [&'static str],
    pub measures: &'static [&'static str],
    /// Of one build only.
    pub build: Option<&'static str>,
    pub why: &'static str,
}

const fn reason(
    rows: &'static [&'static str],
    measures: &'static [&'static str],
    why: &'static str,
) -> Reason {
    Reason { rows, measures, build: None, why }
}

/// Of the builds whose name this is.
const fn of(build: &'static str, it: Reason) -> Reason {
    Reason { build: Some(build), ..it }
}

pub const REASONS: &[Reason] = &[
    reason(
        &["mmap"],
        &["instructions"],
        "libc's `mmap` makes no `Result`: the error is in `errno`, which the caller has to read.",
    ),
    reason(
        &["munmap", "mprotect", "madvise", "mmap"],
        &["bytes"],
        "libc's function is elsewhere, and counted with the instructions only.",
    ),
    of(
        "aarch64",
        reason(
            &["call munmap", "call mprotect", "call mremap", "call msync", "call madvise"],
            &["instructions"],
            "The stub is a function of its own, since the kernel destroys the vector state of SVE, which a caller into \
             which it were inlined could be using; the head of `arch/aarch64.rs` has the proof. rustix inlines it.",
        ),
    ),
    of(
        "aarch64",
        reason(
            &["call munmap", "call mprotect", "call msync", "call madvise"],
            &["bytes"],
            "As above: the frame by which the stub is called.",
        ),
    ),
    reason(
        &["anonymous", "file"],
        &["bytes"],
        "The crate's functions are inlined, so that options that are known cost no instruction; mmap-rs, and memmap2 \
         without LTO, call functions, whose bytes aren't counted.",
    ),
    of(
        "no LTO",
        reason(&["whole"], &["bytes"], "As above: memmap2's function is called, and not counted."),
    ),
    reason(
        &[
            "aligned_small",
            "aligned_large",
            "aligned_memory",
            "aligned_memory_large",
            "page_alloc_aligned",
            "page_alloc_aligned_large",
        ],
        &["instructions"],
        "What is done by hand looks at no error, and doesn't keep away from where the main thread's stack may grow. \
         Between calls, of which the kernel's part is thousands of instructions each, they are 50 to 340 more for each.",
    ),
    reason(
        &["aligned_pool"],
        &["instructions"],
        "A `Pool` keeps a bit for each chunk: some 70 instructions for each, in place of four calls to the kernel.",
    ),
    reason(
        &["page_alloc_aligned"],
        &["calls"],
        "glibc maps 2 MiB more than what was asked for and leaves both ends mapped, and two pages touched. `PageAlloc` keeps \
         what was asked for, and unmaps both ends; a block as long as its alignment takes one call as a rule.",
    ),
    reason(
        &["page_alloc_reuse"],
        &["calls", "faults"],
        "`PageAlloc` keeps nothing, and has no state: it is the floor under allocators that do, as `examples/allocator` is, \
         which takes none of either.",
    ),
    reason(
        &["grow"],
        &["calls"],
        "glibc has blocks below 128 KiB on its heap, and larger ones too once one was freed; each doubling of `PageAlloc`'s is \
         an `mremap`.",
    ),
    reason(
        &["ring", "two_views", "commit"],
        &["instructions"],
        "What is done by hand looks at no error; it makes 2 to 32 calls to the kernel more.",
    ),
    reason(
        &["buffers", "phases"],
        &["peak KiB"],
        "A thread keeps up to 2 MiB of small free blocks for itself, and sizes are rounded up to 16 bytes, of which glibc \
         needs 8 beside the block; mimalloc has no header.",
    ),
    reason(
        &["hashmap", "phases", "index", "json"],
        &["faults"],
        "dlmalloc gives back to the system what is free at the end of what it has, and blocks from 4 MiB on are unmapped; \
         what comes back comes page by page. mimalloc keeps more.",
    ),
    reason(
        &["vec"],
        &["faults"],
        "A block of that size is a mapping, unmapped when it is freed; dlmalloc as a program's allocator keeps 2 GiB.",
    ),
];

impl Reason {
    fn covers(&self, loss: &Loss, row: &str, measure: &str) -> bool {
        loss.row == row
            && loss.measure == measure
            && self.build.is_none_or(|build| build == loss.build)
    }

    fn pairs(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.rows.iter().flat_map(|row| self.measures.iter().map(|measure| (*row, *measure)))
    }

    /// Whether it says why of this.
    pub fn says(&self, loss: &Loss) -> bool {
        self.pairs().any(|(row, measure)| self.covers(loss, row, measure))
    }
}

/// What is wrong with the reasons, given where the crate loses.
pub fn wrong(reasons: &[Reason], losses: &[Loss]) -> Vec<String> {
    let unsaid = losses.iter().filter(|loss| !reasons.iter().any(|it| it.says(loss)));
    let unsaid = unsaid.map(|it| {
        let Loss { build, row, measure, ours, peer, theirs } = it;
        format!("{build}, {row}: {ours} {measure}, and {peer} {theirs}: no sentence says why")
    });
    let idle = reasons.iter().flat_map(|reason| {
        let idle = reason
            .pairs()
            .filter(|(row, measure)| !losses.iter().any(|loss| reason.covers(loss, row, measure)));
        idle.map(|(row, measure)| {
            format!("{row}: a sentence says why it has more {measure}, and it hasn't")
        })
    });
    unsaid.chain(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{exact, losses};

    const LOSING: &str = "b,r,rawmap,calls,2\nb,r,libc,calls,1\n";

    #[test]
    fn a_row_that_loses_needs_a_reason() {
        let losses = losses(&exact(LOSING));
        assert_eq!(wrong(&[], &losses).len(), 1);
        assert_eq!(wrong(&[reason(&["r"], &["bytes"], "")], &losses).len(), 2);
        assert!(wrong(&[reason(&["r"], &["calls"], "")], &losses).is_empty());
    }

    #[test]
    fn a_reason_needs_a_row_that_loses() {
        let losses = losses(&exact("b,r,rawmap,calls,1\nb,r,libc,calls,1\n"));
        assert_eq!(wrong(&[reason(&["r"], &["calls"], "")], &losses).len(), 1);
    }

    #[test]
    fn memory_is_compared_with_the_kernels_rounding() {
        let of = |ours| format!("b,r,rawmap,peak KiB,{ours}\nb,r,libc,peak KiB,1000\n");
        assert!(losses(&exact(&of(1200))).is_empty());
        assert_eq!(losses(&exact(&of(1400))).len(), 1);
    }
}
