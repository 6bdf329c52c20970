//! Vector loops around a system call: what ci/disasm.sh searches for vector and predicate registers
//! that live across the call. Compiled, never run.
//!
//! Each outer loop has something that the compiler would like to compute once, before it: a
//! register full of `k`, or a predicate.
#![no_std]
#![cfg_attr(all(caller, target_arch = "riscv64"), feature(riscv_target_feature))]

use rawmap::munmap;

/// Expands to functions that make a system call after each pass over two arrays. With
/// `--cfg caller` they have vectors though the crate, and this one, are built without.
macro_rules! loops {
    ($($name:ident($a:ident, $b:ident, $k:ident: $t:ty) $pass:block)*) => {$(
        /// # Safety
        /// Never run.
        #[unsafe(no_mangle)]
        #[inline(never)]
        #[cfg_attr(all(caller, target_arch = "riscv64"), target_feature(enable = "v"))]
        #[cfg_attr(all(caller, target_arch = "aarch64"), target_feature(enable = "sve"))]
        pub unsafe fn $name(
            a: &mut [$t; 256], b: &[$t; 256], $k: $t, addr: *mut u8, calls: usize,
        ) -> usize {
            let mut failed = 0;
            for len in 0..calls {
                let ($a, $b) = (&mut *a, b);
                $pass
                // SAFETY: never run.
                failed += usize::from(unsafe { munmap(addr, len) }.is_err());
            }
            failed
        }
    )*};
}

loops! {
    fill(a, _b, k: u64) {
        a.fill(k);
        core::hint::black_box(a);
    }
    xor(a, b, k: u8) {
        for (x, y) in a.iter_mut().zip(b) {
            *x ^= *y ^ k;
        }
    }
    scale(a, b, k: u8) {
        for (x, y) in a.iter_mut().zip(b) {
            *x = x.wrapping_mul(k).wrapping_add(*y);
        }
    }
    select(a, b, k: u32) {
        for (x, y) in a.iter_mut().zip(b) {
            if *y > k {
                *x = x.wrapping_add(k);
            }
        }
    }
}
