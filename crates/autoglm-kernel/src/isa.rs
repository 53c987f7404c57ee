//! Which instruction set the kernels run on, found out once.

use std::sync::OnceLock;

/// An instruction set that kernels are written for, the slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, which is the definition of every kernel.
    Scalar,
    /// NEON of 64-bit ARM.
    Neon,
    /// NEON with the dot products of bytes that came with ARMv8.2.
    NeonDot,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL with VNNI.
    Avx512,
    /// The same with tiles of bytes (Advanced Matrix Extensions).
    Amx,
}

impl Isa {
    /// Every instruction set, the slowest first.
    pub const ALL: [Self; 6] = [
        Self::Scalar,
        Self::Neon,
        Self::NeonDot,
        Self::Avx2,
        Self::Avx512,
        Self::Amx,
    ];

    /// The fastest instruction set of this machine.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let fastest_first = Self::ALL.into_iter().rev();
            fastest_first
                .into_iter()
                .find(|isa| isa.is_available())
                .unwrap_or(Self::Scalar)
        })
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Neon => has_neon(),
            Self::NeonDot => has_neon_dot(),
            Self::Avx2 => has_avx2(),
            Self::Avx512 => has_avx512(),
            Self::Amx => has_amx(),
        }
    }

    /// The name that people use for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "NEON",
            Self::NeonDot => "NEON with dot products",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
            Self::Amx => "AMX",
        }
    }
}

#[cfg(target_arch = "aarch64")]
fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

#[cfg(target_arch = "aarch64")]
fn has_neon_dot() -> bool {
    has_neon() && std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(target_arch = "aarch64"))]
fn has_neon() -> bool {
    false
}

#[cfg(not(target_arch = "aarch64"))]
fn has_neon_dot() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Whether the processor has tiles of bytes and of bfloat16, and the system lets this process use them. It saves
/// their eight kilobytes only for processes that have asked.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_amx() -> bool {
    // Both questions leave the program: a virtual machine answers the first by its host.
    static HAS_AMX: OnceLock<bool> = OnceLock::new();
    *HAS_AMX.get_or_init(ask_for_amx)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask_for_amx() -> bool {
    /// Bits of `edx` of leaf 7.
    const TILES_OF_BRAINS: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    const TILES_OF_BYTES: u32 = 1 << 25;
    /// `ARCH_REQ_XCOMP_PERM` and the state that is asked for, `XFEATURE_XTILEDATA`.
    const ASK_FOR_STATE: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    let wanted = TILES | TILES_OF_BYTES | TILES_OF_BRAINS;
    if !has_avx512() || leaf.edx & wanted != wanted {
        return false;
    }
    // SAFETY: the call takes two numbers and touches no memory of ours; systems that do not know it
    // say so.
    let refused = unsafe { libc::syscall(libc::SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) };
    refused == 0
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn has_amx() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::Isa;

    #[test]
    fn the_best_instruction_set_is_the_last_available_one() {
        let available = Isa::ALL.into_iter().filter(|isa| isa.is_available());
        assert_eq!(available.max(), Some(Isa::best()));
    }
}
