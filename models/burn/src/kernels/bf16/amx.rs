//! The product on the tile registers of AMX.

use std::arch::asm;

use super::{Operands, Product};

/// While this lives the tile registers of this thread are configured.
pub(in crate::kernels) struct Amx(());

/// What `ldtilecfg` reads (Intel SDM, LDTILECFG): palette 1, and the size of each tile.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of 16 rows of 64 bytes, the largest there are.
static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl Product for Amx {
    unsafe fn begin() -> Self {
        // SAFETY: by the caller AMX is there; the configuration is valid for palette 1.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const CONFIGURATION,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        Amx(())
    }

    #[inline]
    unsafe fn run(&self, operands: &Operands) {
        // SAFETY: by the caller the operands are sound; the tiles are configured, for a
        // value of this type exists.
        unsafe { if operands.blocks == 1 { one_block(operands) } else { two_blocks(operands) } }
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: AMX is there, for `begin` configured it.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) }
    }
}

/// Sums in tiles 0 to 3 as they lie in `into`, left tiles in 4 and 5, right ones in 6 and 7.
///
/// # Safety
/// As [`Product::run`], with two blocks.
#[inline]
unsafe fn two_blocks(operands: &Operands) {
    // SAFETY: by the caller the left operand has `depth` tiles at both blocks, the right one
    // twice as many, and `into` 32 rows of 128 bytes.
    unsafe {
        asm!(
            "test {keep:e}, {keep:e}",
            "jz 2f",
            "tileloadd tmm0, [{into} + 2 * {row}]",
            "tileloadd tmm1, [{into} + 2 * {row} + 64]",
            "tileloadd tmm2, [{into} + 2 * {row} + 2048]",
            "tileloadd tmm3, [{into} + 2 * {row} + 2112]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm4, [{left} + {row}]",
            "tileloadd tmm6, [{right} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{below} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 1024",
            "add {below}, 1024",
            "add {right}, 2048",
            "dec {depth}",
            "jnz 3b",
            "tilestored [{into} + 2 * {row}], tmm0",
            "tilestored [{into} + 2 * {row} + 64], tmm1",
            "tilestored [{into} + 2 * {row} + 2048], tmm2",
            "tilestored [{into} + 2 * {row} + 2112], tmm3",
            keep = in(reg) u32::from(operands.keep),
            into = in(reg) operands.into,
            row = in(reg) 64usize,
            left = inout(reg) operands.left => _,
            below = inout(reg) operands.left.wrapping_add(operands.left_step) => _,
            right = inout(reg) operands.right => _,
            depth = inout(reg) operands.depth => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums in tiles 0 and 1, the left tile in 4, right ones in 6 and 7.
///
/// # Safety
/// As [`Product::run`], with one block.
#[inline]
unsafe fn one_block(operands: &Operands) {
    // SAFETY: as in `two_blocks`; only the upper 16 rows of `into` are touched.
    unsafe {
        asm!(
            "test {keep:e}, {keep:e}",
            "jz 2f",
            "tileloadd tmm0, [{into} + 2 * {row}]",
            "tileloadd tmm1, [{into} + 2 * {row} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "3:",
            "tileloadd tmm4, [{left} + {row}]",
            "tileloadd tmm6, [{right} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {left}, 1024",
            "add {right}, 2048",
            "dec {depth}",
            "jnz 3b",
            "tilestored [{into} + 2 * {row}], tmm0",
            "tilestored [{into} + 2 * {row} + 64], tmm1",
            keep = in(reg) u32::from(operands.keep),
            into = in(reg) operands.into,
            row = in(reg) 64usize,
            left = inout(reg) operands.left => _,
            right = inout(reg) operands.right => _,
            depth = inout(reg) operands.depth => _,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
