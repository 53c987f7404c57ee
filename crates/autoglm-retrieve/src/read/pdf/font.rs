//! Fonts: what the codes of shown strings mean, and how wide they are.

use std::collections::HashMap;

use encoding_rs::{BIG5, EUC_KR, GBK, SHIFT_JIS, UTF_16BE};
use lopdf::{Dictionary, Document, Encoding, Object, dictionary};

use super::names::byte_texts;

/// Widths that fonts without any have, in thousandths of their size: roughly those of Helvetica.
const NARROW: (&str, f32) = ("iljtfrI.,:;'|![]()/ ", 278.0);
const WIDE: (&str, f32) = ("mwMW@%", 850.0);
/// Ranges of codes of one width that are taken of a font: each character is looked for in all of them.
const MOST_RANGES: usize = 1_000;
const CAPITAL: f32 = 680.0;
const MIDDLE: f32 = 530.0;

/// A font as far as text needs it.
pub(super) struct Font {
    to_unicode: Option<Encoding<'static>>,
    meaning: Meaning,
    widths: HashMap<u32, f32>,
    /// The widths of codes from one to another.
    ranges: Vec<(u32, u32, f32)>,
    other_width: Option<f32>,
}

/// What codes mean where the font's own map to Unicode says nothing.
enum Meaning {
    /// A byte each.
    Bytes(Vec<String>),
    /// Two bytes each, UTF-16.
    Utf16,
    /// One byte or two, in an encoding of before Unicode.
    National(&'static encoding_rs::Encoding),
    /// Two bytes each, which only the font knows.
    Glyphs,
}

/// A code of a shown string.
pub(super) struct Shown {
    /// Its text; empty where the font does not tell.
    pub(super) text: String,
    /// Its width in thousandths of the size.
    pub(super) width: f32,
    /// Whether it is the one byte that word spacing widens.
    pub(super) is_blank: bool,
}

impl Font {
    /// The font of a dictionary; maps that unpack to more than `limit` bytes are passed over.
    pub(super) fn of(font: &Dictionary, document: &Document, limit: usize) -> Self {
        let is_composite = matches!(font.get(b"Subtype").and_then(Object::as_name), Ok(b"Type0"));
        let mut found = Self {
            to_unicode: to_unicode(font, document, limit),
            meaning: if is_composite {
                composite_meaning(font, document)
            } else {
                Meaning::Bytes(byte_texts(font, document, limit))
            },
            widths: HashMap::new(),
            ranges: Vec::new(),
            other_width: None,
        };
        if is_composite {
            found.read_composite_widths(font, document);
        } else {
            found.read_widths(font, document);
        }
        found
    }

    /// The codes of a shown string.
    pub(super) fn show(&self, bytes: &[u8]) -> Vec<Shown> {
        let mut shown = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let length = self.meaning.code_length(*first).min(rest.len());
            let (code, after) = rest.split_at(length);
            let text = self.text_of(code);
            let number = code.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
            let width = self.width_of(number).or(self.other_width);
            shown.push(Shown {
                width: width.unwrap_or_else(|| guessed_width(&text)),
                text,
                is_blank: code == b" ",
            });
            rest = after;
        }
        shown
    }

    fn width_of(&self, code: u32) -> Option<f32> {
        let in_range = || {
            let mut ranges = self.ranges.iter();
            let found = ranges.find(|(first, last, _)| (*first..=*last).contains(&code));
            found.map(|(_, _, width)| *width)
        };
        self.widths.get(&code).copied().or_else(in_range)
    }

    fn text_of(&self, code: &[u8]) -> String {
        let mapped = self
            .to_unicode
            .as_ref()
            .map(|map| map.bytes_to_string(code));
        if let Some(Ok(text)) = mapped
            && !text.is_empty()
            && !text.contains(char::REPLACEMENT_CHARACTER)
        {
            return text.replace('\0', "");
        }
        let text = match &self.meaning {
            Meaning::Bytes(texts) => texts[usize::from(code[0])].clone(),
            Meaning::Utf16 => UTF_16BE.decode_without_bom_handling(code).0.into_owned(),
            Meaning::National(encoding) => {
                encoding.decode_without_bom_handling(code).0.into_owned()
            }
            Meaning::Glyphs => String::new(),
        };
        text.replace([char::REPLACEMENT_CHARACTER, '\0'], "")
    }

    /// # Source
    /// ISO 32000-1, 9.6.2.1.
    fn read_widths(&mut self, font: &Dictionary, document: &Document) {
        let first = font
            .get_deref(b"FirstChar", document)
            .and_then(Object::as_i64);
        let first = u32::try_from(first.unwrap_or(0)).unwrap_or(0);
        // Glyphs that are drawn by procedures have widths in a space of their own.
        let matrix = font
            .get_deref(b"FontMatrix", document)
            .and_then(Object::as_array);
        let scale = matrix.ok().and_then(|m| m.first()?.as_float().ok());
        let scale = scale.map_or(1.0, |unit| unit * 1000.0);
        if let Ok(widths) = font
            .get_deref(b"Widths", document)
            .and_then(Object::as_array)
        {
            for (code, width) in (first..=255).zip(widths) {
                if let Ok(width) = number(width, document) {
                    self.widths.insert(code, width * scale);
                }
            }
        }
    }

    /// # Source
    /// ISO 32000-1, 9.7.4.3. Codes are taken for glyphs, which they are in the encodings `Identity-H`
    /// and `Identity-V`; in others all are as wide as the font says of most.
    fn read_composite_widths(&mut self, font: &Dictionary, document: &Document) {
        self.other_width = Some(1000.0);
        let descendants = font.get_deref(b"DescendantFonts", document);
        let Some(own) = descendants
            .and_then(Object::as_array)
            .ok()
            .and_then(|fonts| document.dereference(fonts.first()?).ok())
            .and_then(|(_, font)| font.as_dict().ok())
        else {
            return;
        };
        if let Ok(width) = own.get_deref(b"DW", document).and_then(Object::as_float) {
            self.other_width = Some(width);
        }
        let Ok(widths) = own.get_deref(b"W", document).and_then(Object::as_array) else {
            return;
        };
        if !matches!(self.meaning, Meaning::Glyphs) {
            return;
        }
        let mut at = 0;
        while let Some(first) = widths.get(at).and_then(|n| number(n, document).ok()) {
            let first = first as u32;
            let next = widths
                .get(at + 1)
                .and_then(|n| document.dereference(n).ok());
            match next {
                Some((_, Object::Array(list))) => {
                    for (code, width) in (first..=0xffff).zip(list) {
                        self.widths
                            .insert(code, number(width, document).unwrap_or(1000.0));
                    }
                    at += 2;
                }
                Some((_, last)) => {
                    let last = (last.as_float().unwrap_or(0.0) as u32).min(0xffff);
                    let width = widths.get(at + 2).and_then(|n| number(n, document).ok());
                    if self.ranges.len() == MOST_RANGES {
                        return;
                    }
                    self.ranges.push((first, last, width.unwrap_or(1000.0)));
                    at += 3;
                }
                None => return,
            }
        }
    }
}

impl Meaning {
    fn code_length(&self, first: u8) -> usize {
        match self {
            Self::Bytes(_) => 1,
            Self::Utf16 | Self::Glyphs => 2,
            Self::National(_) => 1 + usize::from(first >= 0x81),
        }
    }
}

fn number(object: &Object, document: &Document) -> lopdf::Result<f32> {
    document.dereference(object)?.1.as_float()
}

fn guessed_width(text: &str) -> f32 {
    match text.chars().next() {
        None => MIDDLE,
        Some(c) if NARROW.0.contains(c) => NARROW.1,
        Some(c) if WIDE.0.contains(c) => WIDE.1,
        Some(c) if c.is_uppercase() => CAPITAL,
        Some(c) if c.is_ascii() => MIDDLE,
        Some(_) => 1000.0,
    }
}

/// The font's own map, whatever encoding it has besides.
fn to_unicode(font: &Dictionary, document: &Document, limit: usize) -> Option<Encoding<'static>> {
    let map = font.get(b"ToUnicode").ok()?.clone();
    let alone = dictionary! { "Type" => "Font", "ToUnicode" => map };
    match alone.get_font_encoding_with_limit(document, limit).ok()? {
        Encoding::UnicodeMapEncoding(map) => Some(Encoding::UnicodeMapEncoding(map)),
        _ => None,
    }
}

/// # Source
/// ISO 32000-1, 9.7.5.2, table 118.
fn composite_meaning(font: &Dictionary, document: &Document) -> Meaning {
    let name = font
        .get_deref(b"Encoding", document)
        .and_then(Object::as_name);
    let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    if begins(&["UniGB", "UniCNS", "UniJIS", "UniKS"]) {
        Meaning::Utf16
    } else if begins(&["GB-EUC", "GBpc", "GBK"]) {
        Meaning::National(GBK)
    } else if begins(&["B5pc", "ETen", "ETHK", "HKscs"]) {
        Meaning::National(BIG5)
    } else if begins(&["90ms", "90msp", "90pv", "83pv"]) {
        Meaning::National(SHIFT_JIS)
    } else if begins(&["KSC"]) {
        Meaning::National(EUC_KR)
    } else {
        Meaning::Glyphs
    }
}
