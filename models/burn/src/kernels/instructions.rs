//! Which instructions for bf16 this chip has and this process may use, asked once.

use std::sync::OnceLock;

/// Instructions that multiply bf16 with sums in f32, the slower first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// `vdpbf16ps` on 512 bits: Intel since Cooper Lake, AMD since Zen 4.
    Avx512Bf16,
    /// Tiles: Intel since Sapphire Rapids, on Linux since 5.16.
    Amx,
}

impl Instructions {
    /// The name used in a model's card.
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Avx512Bf16 => "avx512-bf16",
            Instructions::Amx => "amx",
        }
    }

    /// Whether this chip has them and the system lets this process use them.
    pub fn available(self) -> bool {
        Instructions::best().is_some_and(|best| self <= best)
    }

    /// Whether bf16 on them is faster than f32 on this chip. On Intel `vdpbf16ps` runs at a
    /// fifth of the rate of an addition and multiplication in f32 (measured on Sapphire
    /// Rapids), on AMD at its full rate or half of it.
    pub fn pays(self) -> bool {
        match self {
            Instructions::Amx => true,
            Instructions::Avx512Bf16 => is_amd(),
        }
    }

    /// The fastest that are available; `None` where bf16 would be emulated.
    pub fn best() -> Option<Self> {
        static BEST: OnceLock<Option<Instructions>> = OnceLock::new();
        *BEST.get_or_init(detect)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Option<Instructions> {
    None
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Option<Instructions> {
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16");
    match avx512 {
        // The steps between the tiles run on AVX-512.
        true if has_amx() && may_use_tiles() => Some(Instructions::Amx),
        true => Some(Instructions::Avx512Bf16),
        false => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

/// Leaf 0 of CPUID holds the vendor's name: "Auth", "enti", "cAMD".
#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    name.as_flattened() == b"AuthenticAMD"
}

/// AMX-BF16 and AMX-TILE: leaf 7 of CPUID, EDX bits 22 and 24 (Intel SDM, CPUID).
#[cfg(target_arch = "x86_64")]
fn has_amx() -> bool {
    const LEAF: u32 = 7;
    const BITS: u32 = 1 << 22 | 1 << 24;
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    __cpuid(0).eax >= LEAF && __cpuid_count(LEAF, 0).edx & BITS == BITS
}

/// Asks Linux for the tile registers, whose contents make every thread's saved state larger;
/// the answer holds for the whole process (`arch_prctl`, Documentation/arch/x86/xstate.rst).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers, touches no memory of ours and fails with a code
    // on systems that do not know it.
    let code =
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    code == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn may_use_tiles() -> bool {
    false
}
