//! The number formats of tensors, with GGUF's numbering.

use autoglm_kernel::BlockFormat;

/// The formats that kernels exist for, with their numbers.
const NUMBERS: [(u32, BlockFormat); 11] = [
    (0, BlockFormat::F32),
    (1, BlockFormat::F16),
    (2, BlockFormat::Q4_0),
    (3, BlockFormat::Q4_1),
    (6, BlockFormat::Q5_0),
    (7, BlockFormat::Q5_1),
    (8, BlockFormat::Q8_0),
    (12, BlockFormat::Q4K),
    (13, BlockFormat::Q5K),
    (14, BlockFormat::Q6K),
    (30, BlockFormat::Bf16),
];

/// The format with this number, where it is one that kernels exist for.
pub(super) fn format(number: u32) -> Option<BlockFormat> {
    let known = NUMBERS.iter().find(|(known, _)| *known == number);
    known.map(|(_, format)| *format)
}

/// The number of a format.
pub(super) fn number(format: BlockFormat) -> u32 {
    let known = NUMBERS.iter().find(|(_, known)| *known == format);
    known.expect("the table has every format").0
}

/// The field's name for a format that is not supported, for messages.
pub(super) fn name(number: u32) -> &'static str {
    match number {
        4 => "q4_2",
        5 => "q4_3",
        9 => "q8_1",
        10 => "q2_k",
        11 => "q3_k",
        15 => "q8_k",
        16 => "iq2_xxs",
        17 => "iq2_xs",
        18 => "iq3_xxs",
        19 => "iq1_s",
        20 => "iq4_nl",
        21 => "iq3_s",
        22 => "iq2_s",
        23 => "iq4_xs",
        24 => "i8",
        25 => "i16",
        26 => "i32",
        27 => "i64",
        28 => "f64",
        29 => "iq1_m",
        31 => "q4_0_4_4",
        32 => "q4_0_4_8",
        33 => "q4_0_8_8",
        34 => "tq1_0",
        35 => "tq2_0",
        36 => "iq4_nl_4_4",
        37 => "iq4_nl_4_8",
        38 => "iq4_nl_8_8",
        39 => "mxfp4",
        _ => "unknown",
    }
}
