//! What a rule is, and how [`rules!`] makes code, list, and table from one text.

use super::{Kernel, Reason};
use crate::{Errno, ErrnoSet};
use core::fmt;

/// The versions of Linux in which a rule is in force.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Versions {
    /// All versions that the rules know, from 6.1 on.
    All,
    /// This version and later ones.
    Since(u16, u16),
    /// Versions before this one.
    Until(u16, u16),
}

impl Versions {
    pub(super) const fn of(only: &[Self]) -> Self {
        if let [versions] = only { *versions } else { Self::All }
    }
}

/// What the kernel does at a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Nothing. The text defines a name that later conditions use.
    Given,
    /// It refuses with this error, for this [`Reason`] (as it stands in the source). `None` stands for the
    /// error whose negated number the address is.
    Refuse(Option<Errno>, &'static str),
    /// It looks at what the words don't say: what is mapped, limits, the file. It may answer with one of these
    /// errors before it comes to the rules below.
    Ask(ErrnoSet),
    /// It may have changed something before it comes to the rules below.
    Change,
    /// The words and what is known of the kernel decide nothing more: no rule below applies.
    Pass,
}

/// One rule of the kernel, or a step between two rules.
///
/// ```
/// use rawmap::RULES;
/// let zero = RULES.munmap.iter().find(|rule| rule.text == "len == 0").unwrap();
/// assert_eq!(
///     zero.to_string(),
///     "munmap: refuse EINVAL if len == 0 (mm/vma.c: do_vmi_munmap)",
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// The call's name.
    pub call: &'static str,
    /// The kernel's file and function.
    pub source: &'static str,
    /// What the kernel does.
    pub step: Step,
    /// The condition under which it does that, in the terms of [`RULES`](super::RULES). For [`Step::Given`],
    /// the definition.
    pub text: &'static str,
    /// The versions in which the rule is in force.
    pub versions: Versions,
}

impl fmt::Display for Rule {
    /// Prints `munmap: refuse EINVAL if len == 0 (mm/vma.c: do_vmi_munmap)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, source, step, text, versions } = self;
        match step {
            Step::Given => return write!(f, "{call}: {text}"),
            Step::Refuse(Some(errno), _) => write!(f, "{call}: refuse {errno:?}")?,
            Step::Refuse(None, _) => write!(f, "{call}: refuse")?,
            Step::Ask(errnos) => write!(f, "{call}: ask {errnos:?}")?,
            Step::Change => write!(f, "{call}: change")?,
            Step::Pass => write!(f, "{call}: pass")?,
        }
        write!(f, " if {text} ({source}")?;
        match versions {
            Versions::All => f.write_str(")"),
            Versions::Since(major, minor) => write!(f, ", since {major}.{minor})"),
            Versions::Until(major, minor) => write!(f, ", until {major}.{minor})"),
        }
    }
}

/// Why the kernel refuses a call: by which rule, with which error, and for what reason.
///
/// `Display` prints the reason as a sentence with the numbers in it:
///
/// ```
/// use rawmap::{Arch, Call, Kernel, MapFlags, PageSize, Prot};
/// let kernel = Kernel::new(Arch::Aarch64, PageSize::new(16384).unwrap());
/// let call = Call::mmap(core::ptr::null_mut(), 1, Prot::READ, MapFlags::SHARED, 3, 4096);
/// let refusal = call.check(&kernel).unwrap_err();
/// assert_eq!(refusal.to_string(), "offset 4096 is not a multiple of the page size 16384");
/// assert_eq!(refusal.rule().source, "arch/*/kernel/sys*.c: mmap");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub(super) rule: &'static Rule,
    pub(super) reason: Reason,
    pub(super) errno: Errno,
    pub(super) earlier: ErrnoSet,
    pub(super) unchanged: bool,
}

impl Refusal {
    /// The rule by which the kernel refuses: one of [`RULES`](super::RULES).
    #[must_use]
    pub const fn rule(&self) -> &'static Rule {
        self.rule
    }

    /// The reason as an enum, with the numbers of the call.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The error that the kernel answers.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// Other errors that the kernel may answer instead: because it looks at the process's state (what is
    /// mapped, limits, the file) before it comes to this rule, or because, if no version is stated, some
    /// version refuses for another reason before.
    #[must_use]
    pub const fn earlier(&self) -> ErrnoSet {
        self.earlier
    }

    /// Whether the kernel has changed nothing when it comes to this rule: no mapping, no protection, no
    /// byte of memory or of a file.
    ///
    /// If it is false, the kernel may have changed something. A call on a range that has a hole has done its
    /// work on what lies before the hole. mremap with `MREMAP_FIXED` has unmapped the new place when it finds
    /// that the old range, which it shrinks, is too long. mmap with `MAP_FIXED` has unmapped what it replaces
    /// when the file system refuses.
    ///
    /// ```
    /// use rawmap::{Advice, Arch, Call, Kernel, PageSize};
    /// let kernel = Kernel::new(Arch::X86_64, PageSize::new(4096).unwrap());
    /// // Refused, since it runs over the end; but heap and stack have
    /// // been discarded by then.
    /// let call = Call::madvise(core::ptr::null_mut(), !0xfff, Advice::DONTNEED_LOCKED);
    /// assert!(!call.check(&kernel).unwrap_err().unchanged());
    /// ```
    #[must_use]
    pub const fn unchanged(&self) -> bool {
        self.unchanged
    }
}

impl fmt::Display for Refusal {
    /// Prints the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl core::error::Error for Refusal {}

/// A walk through the list of a call.
pub(super) struct Walk {
    pub(super) list: &'static [Rule],
    pub(super) line: usize,
    pub(super) earlier: ErrnoSet,
    pub(super) unchanged: bool,
}

impl Walk {
    /// What stands on the last line, in versions that the kernel may have. A shorter list ends early.
    #[inline(always)]
    const fn step(&self, kernel: &Kernel) -> Step {
        if self.line <= self.list.len() && kernel.may_have(self.list[self.line - 1].versions) {
            return self.list[self.line - 1].step;
        }
        Step::Given
    }

    /// The condition of a refusal holds: refuses, or remembers that some version would.
    #[inline(always)]
    pub(super) const fn refuse(
        &mut self,
        kernel: &Kernel,
        reason: Reason,
        error: &[Option<Errno>],
    ) -> Option<Refusal> {
        let errno = match (self.step(kernel), error) {
            (Step::Refuse(Some(errno), _), _) | (Step::Refuse(None, _), &[Some(errno)]) => errno,
            _ => return None,
        };
        let (rule, earlier) = (&self.list[self.line - 1], self.earlier.without(errno));
        if kernel.has(rule.versions) {
            return Some(Refusal { rule, reason, errno, earlier, unchanged: self.unchanged });
        }
        self.earlier = self.earlier.and(ErrnoSet::of(&[errno]));
        None
    }

    /// The condition of another step holds: takes it, and says whether it is the last.
    #[inline(always)]
    pub(super) const fn ends(&mut self, kernel: &Kernel) -> bool {
        match self.step(kernel) {
            Step::Ask(errnos) => self.earlier = self.earlier.and(errnos),
            Step::Change => self.unchanged = false,
            Step::Pass => return true,
            Step::Given | Step::Refuse(..) => {}
        }
        false
    }
}

impl Kernel {
    /// Whether every kernel that this may be has such a version.
    #[inline(always)]
    pub(super) const fn has(&self, versions: Versions) -> bool {
        match (versions, self.version) {
            (Versions::All, _) => true,
            (Versions::Since(a, b), Some((major, minor))) => major > a || major == a && minor >= b,
            (Versions::Until(a, b), Some((major, minor))) => major < a || major == a && minor < b,
            (_, None) => false,
        }
    }

    /// Whether a kernel that this may be has such a version.
    #[inline(always)]
    pub(super) const fn may_have(&self, versions: Versions) -> bool {
        self.version.is_none() || self.has(versions)
    }
}

/// Expands, for each call, to a `const fn` that goes through its lines in order, to another that only says
/// whether none of them refuses ([`Passes`]), and to the list of them; and to `RULES`, whose documentation is
/// the same as a table. A line is one of
///
/// - `refuse(ERRNO if condition => reason);`
/// - `refuse(error(addr) if condition => reason);`: with the error that the address is, if it is one
/// - `ask([ERRNO ..] if condition);`
/// - `change(if condition);`, `pass(if condition);`
/// - `given(let name = value);`
///
/// With `[Since(6, 17)]` or `[Until(6, 17)]` before the `if`, it is in force only in those versions. When it
/// isn't known whether the kernel is one, a refusal is a question: its error may come earlier. Before a call
/// may stand an attribute of its function in [`Passes`].
macro_rules! rules {
    ($(#[$doc:meta])* $($(#![$attribute:meta])? $call:ident($k:ident $(, $arg:ident: $ty:ty)*) {
        $($source:literal: $($verb:ident($($line:tt)*);)*)*
    })*) => {
        /// A list of rules for each call.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs)] // Each field is of the call of that name.
        pub struct Rules { $(pub $call: &'static [Rule]),* }

        impl Rules {
            /// The lists, in the order of the fields.
            #[must_use]
            pub const fn lists(&self) -> [&'static [Rule]; [$(stringify!($call)),*].len()] {
                [$(self.$call),*]
            }

            $(#[allow(unused_variables, unused_mut)]
            #[inline(always)]
            pub(super) const fn $call(&self, $k: &Kernel $(, $arg: $ty)*) -> Result<(), Refusal> {
                let (list, earlier) = (self.$call, ErrnoSet::of(&[]));
                let mut walk = Walk { list, line: 0, earlier, unchanged: true };
                $($(line!($verb $k walk; $($line)*);)*)*
                Ok(())
            })*
        }

        /// The same lines, asked only whether none of them refuses, of a kernel of the host
        /// ([`Kernel::of_host`]): what a call costs that passes. Nothing is kept for the refusal that isn't there.
        #[derive(Clone, Copy)]
        pub(super) struct Passes;

        impl Passes {
            $(#[allow(unused_variables)]
            $(#[$attribute])?
            pub(super) const fn $call(self, $k: &Kernel $(, $arg: $ty)*) -> bool {
                let $k = &$k.of_host();
                $($(passes!($verb $k; $($line)*);)*)*
                true
            })*
        }

        $(#[$doc])*
        #[doc = "<table><tr><th>call</th><th>step</th><th>reason</th><th>if</th><th>versions</th><th>where</th></tr>"]
        $($($(#[doc = html!($verb $call $source; $($line)*)])*)*)*
        #[doc = "</table>"]
        pub const RULES: Rules = Rules { $($call: &[$($(row!($verb $call $source; $($line)*),)*)*]),* };
    };
}

/// Expands to what one line does. What stands in its brackets, the walk reads in the list.
macro_rules! line {
    (given $k:ident $walk:ident; let $name:ident = $value:expr) => {
        $walk.line += 1;
        let $name = $value;
    };
    (refuse $k:ident $walk:ident; $errno:ident $(($addr:ident))? $([$when:expr])? if $cond:expr => $reason:expr) => {
        $walk.line += 1;
        if $cond {
            if let Some(refusal) = $walk.refuse($k, $reason, &[$($k.$errno($addr))?]) {
                return Err(refusal);
            }
        }
    };
    ($verb:ident $k:ident $walk:ident; $([$($errno:ident)*] $([$when:expr])?)? if $cond:expr) => {
        $walk.line += 1;
        if $cond && $walk.ends($k) {
            return Ok(());
        }
    };
}

/// Expands to what one line does where only yes or no counts. In doubt it is no: a refusal counts whatever the
/// version, but for one whose condition always holds.
macro_rules! passes {
    (given $k:ident; let $name:ident = $value:expr) => { let $name = $value; };
    (refuse $k:ident; $errno:ident [$when:expr] if true => $reason:expr) => { if $k.has($when) { return false; } };
    (refuse $k:ident; $errno:ident $(($addr:ident))? $([$when:expr])? if $cond:expr => $reason:expr) => {
        if $cond $(&& $k.$errno($addr).is_some())? { return false; }
    };
    (pass $k:ident; if $cond:expr) => { if $cond { return true; } };
    ($verb:ident $k:ident; $($line:tt)*) => {};
}

/// Expands to the [`Rule`] of one line.
macro_rules! row {
    (refuse $call:ident $source:literal; $errno:ident($addr:ident) if $cond:expr => $reason:expr) => {
        row!($call $source (Step::Refuse(None, stringify!($reason))) stringify!($cond);)
    };
    (refuse $call:ident $source:literal; $errno:ident $([$when:expr])? if $cond:expr => $reason:expr) => {
        row!($call $source (Step::Refuse(Some(Errno::$errno), stringify!($reason))) stringify!($cond); $($when)?)
    };
    (ask $call:ident $source:literal; [$($errno:ident)*] $([$when:expr])? if $cond:expr) => {
        row!($call $source (Step::Ask(ErrnoSet::of(&[$(Errno::$errno),*]))) stringify!($cond); $($when)?)
    };
    (change $call:ident $source:literal; if $cond:expr) => { row!($call $source (Step::Change) stringify!($cond);) };
    (pass $call:ident $source:literal; if $cond:expr) => { row!($call $source (Step::Pass) stringify!($cond);) };
    (given $call:ident $source:literal; let $name:ident = $value:expr) => {
        row!($call $source (Step::Given) concat!(stringify!($name), " = ", stringify!($value));)
    };
    ($call:ident $source:literal ($step:expr) $text:expr; $($when:expr)?) => {
        Rule { call: stringify!($call), source: $source, step: $step, text: $text, versions: Versions::of(&[$($when)?]) }
    };
}

/// Expands to the row of one line in the table.
macro_rules! html {
    (given $call:ident $source:literal; let $name:ident = $value:expr) => {
        html!($call "given"; ""; concat!(stringify!($name), " = ", stringify!($value)); ""; "")
    };
    ($verb:ident $call:ident $source:literal; $what:tt $(($addr:ident))? $([$when:expr])? if $cond:expr $(=> $reason:expr)?) => {
        html!($call concat!(stringify!($verb), " ", stringify!($what)); concat!($(stringify!($reason))?); stringify!($cond);
            concat!($(stringify!($when))?); $source)
    };
    ($verb:ident $call:ident $source:literal; if $cond:expr) => {
        html!($call stringify!($verb); ""; stringify!($cond); ""; $source)
    };
    ($call:ident $step:expr; $reason:expr; $text:expr; $when:expr; $source:expr) => {
        concat!(
            "<tr><td>", stringify!($call), "</td><td>", $step, "</td><td><code>", $reason, "</code></td><td><code>",
            $text, "</code></td><td>", $when, "</td><td>", $source, "</td></tr>",
        )
    };
}
