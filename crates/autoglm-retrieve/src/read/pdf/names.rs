//! Characters of fonts of single bytes: by the name of an encoding, and by the names of glyphs.

use lopdf::{Dictionary, Document, Encoding, Object, dictionary};

/// Bytes in which the clear part of a Type 1 font has its encoding.
const CLEAR_BYTES: usize = 64 << 10;

/// The text of each of the 256 codes of a font; what the font does not tell is empty.
///
/// # Source
/// ISO 32000-1, 9.6.6.
pub(super) fn byte_texts(font: &Dictionary, document: &Document, limit: usize) -> Vec<String> {
    let said = font.get_deref(b"Encoding", document).ok();
    let (base, names) = match said {
        Some(Object::Name(name)) => (Some(name.clone()), None),
        Some(Object::Dictionary(own)) => (
            own.get_deref(b"BaseEncoding", document)
                .and_then(Object::as_name)
                .map(<[u8]>::to_vec)
                .ok(),
            own.get_deref(b"Differences", document)
                .and_then(Object::as_array)
                .ok()
                .cloned(),
        ),
        _ => (None, None),
    };
    let mut texts = base_texts(base.as_deref());
    // A font that names no encoding has one of its own, in its file.
    if base.is_none() {
        for (code, name) in type1_names(font, document, limit) {
            texts[usize::from(code)] = glyph_text(&name);
        }
    }
    let mut code = 0_u8;
    for entry in names.unwrap_or_default() {
        match entry {
            Object::Integer(start) => code = u8::try_from(start).unwrap_or(0),
            Object::Name(name) => {
                texts[usize::from(code)] = glyph_text(&name);
                code = code.wrapping_add(1);
            }
            _ => {}
        }
    }
    texts
}

/// The texts of an encoding that all readers know.
fn base_texts(name: Option<&[u8]>) -> Vec<String> {
    let known: &[&[u8]] = &[
        b"WinAnsiEncoding",
        b"MacRomanEncoding",
        b"MacExpertEncoding",
        b"StandardEncoding",
    ];
    let name = name.filter(|name| known.contains(name));
    let name = name.unwrap_or(b"StandardEncoding").to_vec();
    let font = dictionary! { "Type" => "Font", "Encoding" => Object::Name(name) };
    let none = Document::new();
    let encoding = font.get_font_encoding(&none).ok();
    let text = |code: u8| encoding.as_ref()?.bytes_to_string(&[code]).ok();
    (0..=255)
        .map(|code| text(code).unwrap_or_default())
        .collect()
}

/// The text of a glyph's name: `A`, `fi`, `uni6C34`, `u1F600`, `f_f_i`, `a.alt`.
///
/// # Source
/// Adobe Glyph List Specification 1.7, 2.
fn glyph_text(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let name = name.split('.').next().unwrap_or_default();
    name.split('_').map(component_text).collect()
}

fn component_text(name: &str) -> String {
    if let Some(digits) = name.strip_prefix("uni")
        && digits.len() >= 4
        && digits.len().is_multiple_of(4)
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        let units = (0..digits.len()).step_by(4).map(|at| &digits[at..at + 4]);
        let units = units.map(|unit| u16::from_str_radix(unit, 16).unwrap_or(0));
        return char::decode_utf16(units).flatten().collect();
    }
    if let Some(digits) = name.strip_prefix('u')
        && (4..=6).contains(&digits.len())
        && let Ok(number) = u32::from_str_radix(digits, 16)
    {
        return char::from_u32(number).into_iter().collect();
    }
    // The library knows the list, but tells of a name only as part of an encoding.
    let differences = vec![65.into(), Object::Name(name.as_bytes().to_vec())];
    let encoding = dictionary! { "Differences" => differences };
    let font = dictionary! { "Type" => "Font", "Encoding" => encoding };
    let none = Document::new();
    match font.get_font_encoding(&none) {
        Ok(found @ Encoding::Differences(_)) => found.bytes_to_string(b"A").unwrap_or_default(),
        _ => String::new(),
    }
}

/// The encoding that a Type 1 font has in the clear part of its file: `dup 12 /fi put`.
///
/// # Source
/// Adobe Type 1 Font Format, 2.3.
fn type1_names(font: &Dictionary, document: &Document, limit: usize) -> Vec<(u8, Vec<u8>)> {
    let file = font
        .get_deref(b"FontDescriptor", document)
        .and_then(Object::as_dict)
        .and_then(|descriptor| descriptor.get_deref(b"FontFile", document))
        .and_then(Object::as_stream)
        .and_then(|file| file.get_plain_content_with_limit(limit));
    let Ok(file) = file else { return Vec::new() };
    let clear = String::from_utf8_lossy(&file[..file.len().min(CLEAR_BYTES)]);
    let clear = clear.split("eexec").next().unwrap_or_default();
    let words: Vec<&str> = clear.split_ascii_whitespace().collect();
    let entry = |words: &[&str]| match words {
        ["dup", code, name, "put"] => Some((
            code.parse().ok()?,
            name.strip_prefix('/')?.as_bytes().to_vec(),
        )),
        _ => None,
    };
    words.windows(4).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::glyph_text;

    #[test]
    fn names_of_glyphs_are_characters() {
        for (name, text) in [
            ("A", "A"),
            ("fi", "\u{fb01}"),
            ("uni6C346CF5", "水泵"),
            ("u1F600", "😀"),
            ("f_f_i", "ffi"),
            ("a.alt", "a"),
            ("g123", ""),
        ] {
            assert_eq!(glyph_text(name.as_bytes()), text, "{name}");
        }
    }
}
