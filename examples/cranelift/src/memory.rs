//! [`Memory`]: where cranelift's code and data lie.

use cranelift_jit::{BranchProtection, JITMemoryProvider};
use cranelift_module::{ModuleError, ModuleResult};
use rawmap::{Executable, Mapping, Mode, Prot, Raw, ReadOnly, ReadWrite, Reservation};
use std::io::{self, ErrorKind};
use std::mem::{self, ManuallyDrop};

/// Memory for a JIT: all of it in one reservation, so that code reaches code and data by a short distance.
/// Pieces are cut off its front and written, and become what they are for when they are finalized: no page is
/// both written and run at any time.
///
/// As cranelift has it, what was finalized stays when this is dropped, since functions may still be called;
/// `free_memory` is for when none is.
pub struct Memory {
    space: Reservation,
    written: Vec<Piece>,
    done: ManuallyDrop<Vec<Done>>,
}

/// What is written still. Only raw pointers refer to it.
struct Piece {
    kind: Kind,
    memory: Mapping<Raw>,
    used: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Data,
    Constants,
}

/// What is kept, and never looked at.
#[allow(dead_code)]
enum Done {
    Code(Mapping<Executable>),
    GuardedCode(Mapping<Raw>),
    Data(Mapping<ReadWrite>),
    Constants(Mapping<ReadOnly>),
}

impl Memory {
    /// Pieces are as long at least, so that many small functions share one.
    const PIECE: usize = 64 << 10;

    /// Memory for `len` bytes of code and data: address space, until it is used.
    pub fn reserve(len: usize) -> io::Result<Self> {
        let space = Reservation::new(len, Mode::Strict)?;
        Ok(Self { space, written: Vec::new(), done: ManuallyDrop::new(Vec::new()) })
    }

    fn allocate(&mut self, kind: Kind, size: usize, align: u64) -> io::Result<*mut u8> {
        let align = align as usize;
        if align > self.space.granule().bytes() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let last = self.written.iter_mut().rev().find(|piece| piece.kind == kind);
        if let Some(at) = last.and_then(|piece| piece.take(size, align)) {
            return Ok(at);
        }
        let mut piece = Piece { kind, memory: self.cut(size)?, used: 0 };
        let at = piece.take(size, align).ok_or(ErrorKind::OutOfMemory)?;
        self.written.push(piece);
        Ok(at)
    }

    /// At least `size` bytes of the reservation, which can be written.
    fn cut(&mut self, size: usize) -> io::Result<Mapping<Raw>> {
        let len = size.max(Self::PIECE.min(self.space.len()));
        let len = self.space.granule().round_up(len).ok_or(ErrorKind::OutOfMemory)?;
        let rest = self.space.split_off(len)?;
        let front = mem::replace(&mut self.space, rest);
        Ok(front.into_mapping()?.into_raw())
    }
}

impl Piece {
    fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        let start = self.used.next_multiple_of(align);
        let end = start.checked_add(size).filter(|end| *end <= self.memory.len())?;
        self.used = end;
        Some(self.memory.as_ptr().wrapping_add(start))
    }

    fn finalize(self, branch_protection: BranchProtection) -> Result<Done, rawmap::Error> {
        // SAFETY: private memory of a reservation, committed; cranelift has written all that it writes of code
        // and constants, and refers to data by raw pointers, while nothing looks at this owner's slice.
        let memory: Mapping<ReadWrite> = unsafe { self.memory.assume() };
        Ok(match self.kind {
            Kind::Data => Done::Data(memory),
            Kind::Constants => Done::Constants(memory.make_read_only()?),
            // With its instruction cache seen to; cranelift sees to the other threads.
            Kind::Code => {
                let code = memory.make_executable()?;
                match branch_protection {
                    BranchProtection::None => Done::Code(code),
                    BranchProtection::BTI => {
                        const PROT_BTI: usize = 0x10;
                        let code = code.into_raw();
                        let prot = Prot::READ | Prot::EXEC | Prot::from_bits(PROT_BTI);
                        // EINVAL where the processor does not have it; it is code all the same.
                        let _ = code.protect(.., prot);
                        Done::GuardedCode(code)
                    }
                }
            }
        })
    }
}

impl JITMemoryProvider for Memory {
    fn allocate_readexec(&mut self, size: usize, align: u64) -> io::Result<*mut u8> {
        self.allocate(Kind::Code, size, align)
    }

    fn allocate_readwrite(&mut self, size: usize, align: u64) -> io::Result<*mut u8> {
        self.allocate(Kind::Data, size, align)
    }

    fn allocate_readonly(&mut self, size: usize, align: u64) -> io::Result<*mut u8> {
        self.allocate(Kind::Constants, size, align)
    }

    unsafe fn free_memory(&mut self) {
        self.written.clear();
        self.done.clear();
    }

    fn finalize(&mut self, branch_protection: BranchProtection) -> ModuleResult<()> {
        for piece in self.written.drain(..) {
            let done = piece.finalize(branch_protection).map_err(|error| {
                let message = "the memory can't become what it is for";
                ModuleError::Allocation { message, err: error.into() }
            })?;
            self.done.push(done);
        }
        Ok(())
    }
}
