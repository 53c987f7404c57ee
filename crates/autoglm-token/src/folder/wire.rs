//! `tokenizer.model`, a model of SentencePiece: the protocol buffer `ModelProto`, as far as
//! byte-pair encoding needs it.
//!
//! # Source
//! `sentencepiece_model.proto` of SentencePiece, and the wire format of protocol buffers.

use super::TOKENS_LIMIT;
use crate::{MergeOrder, SpacePrefix, TokenError, TokenId, TokenKind, Vocabulary, VocabularyModel};

/// Whether a `tokenizer.model` is a protocol buffer: its first field is a piece, whose tag byte
/// is no character of the other format.
pub(super) fn is_sentence_piece(file: &[u8]) -> bool {
    file.first() == Some(&(1 << 3 | LENGTH_DELIMITED))
}

/// Wire types.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;

/// A field's value as the wire has it.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    /// The bits of a float.
    Fixed(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
struct Fields<'a> {
    rest: &'a [u8],
    /// Bytes of the message, to say where something is wrong.
    len: usize,
}

impl<'a> Fields<'a> {
    fn new(message: &'a [u8]) -> Self {
        Self {
            rest: message,
            len: message.len(),
        }
    }

    /// The next field's number and value.
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, TokenError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = match (tag & 7) as u8 {
            VARINT => Wire::Number(self.varint()?),
            FIXED_32 => {
                let bytes = self.take(4)?;
                Wire::Fixed(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
            }
            // No field that is read has eight bytes.
            FIXED_64 => {
                self.take(8)?;
                Wire::Number(0)
            }
            LENGTH_DELIMITED => {
                let len = self.varint()?;
                Wire::Bytes(self.take(usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            other => return Err(self.bad(format!("wire type {other}"))),
        };
        Ok(Some((tag >> 3, wire)))
    }

    fn varint(&mut self) -> Result<u64, TokenError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.bad("a number of more than ten bytes".to_owned()))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], TokenError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.bad(format!("a field of {len} bytes, {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn bad(&self, found: String) -> TokenError {
        let at = self.len - self.rest.len();
        bad(
            format!("byte {at} of a message"),
            found,
            "a protocol buffer",
        )
    }
}

fn bad(place: String, found: String, wanted: &'static str) -> TokenError {
    TokenError::ModelFile {
        place,
        found,
        wanted,
    }
}

/// A vocabulary entry.
struct Piece {
    text: String,
    score: f32,
    kind: TokenKind,
}

/// What the trainer's and the normaliser's settings say.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the form of the file")]
struct Spec {
    /// 1 for unigrams, 2 for byte pairs.
    model: u64,
    bos: i32,
    eos: i32,
    space_prefix: bool,
    removes_spaces: bool,
    escapes_spaces: bool,
    spaces_behind: bool,
    normalises: bool,
}

impl Default for Spec {
    /// What a file that states nothing means.
    fn default() -> Self {
        Self {
            model: 1,
            bos: 1,
            eos: 2,
            space_prefix: true,
            removes_spaces: true,
            escapes_spaces: true,
            spaces_behind: false,
            normalises: false,
        }
    }
}

/// Reads the file.
///
/// # Errors
/// [`TokenError::ModelFile`] for a broken file, [`TokenError::Unsupported`] for a kind of model or
/// a normaliser that we do not have.
pub(super) fn read(file: &[u8]) -> Result<Vocabulary, TokenError> {
    let (pieces, spec) = read_message(file)?;
    check(&spec)?;
    let texts = pieces.iter().map(|piece| piece.text.clone()).collect();
    let mut vocabulary = Vocabulary::new(VocabularyModel::SentencePiece, texts);
    vocabulary.kinds = pieces.iter().map(|piece| piece.kind).collect();
    vocabulary.merges = MergeOrder::Scores(pieces.iter().map(|piece| piece.score).collect());
    if !vocabulary.kinds.contains(&TokenKind::Byte) {
        return Err(unsupported("byte_fallback", "false", "true"));
    }
    if !spec.space_prefix {
        vocabulary.space_prefix = SpacePrefix::Never;
    }
    let has = |kind| vocabulary.kinds.iter().position(|&other| other == kind);
    let unk = has(TokenKind::Unknown).map(|id| id as TokenId);
    let control = |id: i32| {
        let id = TokenId::try_from(id).ok()?;
        let kind = vocabulary.kinds.get(id as usize)?;
        (*kind == TokenKind::Control).then_some(id)
    };
    (vocabulary.bos, vocabulary.eos) = (control(spec.bos), control(spec.eos));
    vocabulary.unk = unk;
    Ok(vocabulary)
}

fn unsupported(component: &str, found: &str, wanted: &'static str) -> TokenError {
    super::unsupported("tokenizer.model", component, found, wanted)
}

fn check(spec: &Spec) -> Result<(), TokenError> {
    if spec.model != 2 {
        let found = match spec.model {
            1 => "UNIGRAM",
            3 => "WORD",
            4 => "CHAR",
            _ => "unknown",
        };
        return Err(unsupported("trainer_spec.model_type", found, "BPE"));
    }
    let refused = [
        (
            "normalizer_spec.precompiled_charsmap",
            spec.normalises,
            "a table of replacements",
            "none",
        ),
        (
            "normalizer_spec.remove_extra_whitespaces",
            spec.removes_spaces,
            "true",
            "false",
        ),
        (
            "normalizer_spec.escape_whitespaces",
            !spec.escapes_spaces,
            "false",
            "true",
        ),
        (
            "trainer_spec.treat_whitespace_as_suffix",
            spec.spaces_behind,
            "true",
            "false",
        ),
    ];
    match refused.into_iter().find(|(_, is_so, ..)| *is_so) {
        Some((component, _, found, wanted)) => Err(unsupported(component, found, wanted)),
        None => Ok(()),
    }
}

/// Field numbers of `ModelProto`.
const PIECES: u64 = 1;
const TRAINER_SPEC: u64 = 2;
const NORMALIZER_SPEC: u64 = 3;

fn read_message(file: &[u8]) -> Result<(Vec<Piece>, Spec), TokenError> {
    let mut pieces = Vec::new();
    let mut spec = Spec::default();
    let mut fields = Fields::new(file);
    while let Some(field) = fields.next()? {
        match field {
            (PIECES, Wire::Bytes(piece)) if pieces.len() < TOKENS_LIMIT => {
                pieces.push(read_piece(piece, pieces.len())?);
            }
            (PIECES, _) => {
                let found = "one more piece".to_owned();
                return Err(bad(
                    format!("piece {}", pieces.len()),
                    found,
                    "fewer, each a message",
                ));
            }
            (TRAINER_SPEC, Wire::Bytes(message)) => read_trainer(message, &mut spec)?,
            (NORMALIZER_SPEC, Wire::Bytes(message)) => read_normalizer(message, &mut spec)?,
            _ => {}
        }
    }
    Ok((pieces, spec))
}

fn read_piece(message: &[u8], index: usize) -> Result<Piece, TokenError> {
    let place = || format!("piece {index}");
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: TokenKind::Normal,
    };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Wire::Bytes(text)) => {
                let text = std::str::from_utf8(text);
                let text = text.map_err(|error| bad(place(), error.to_string(), "UTF-8"))?;
                text.clone_into(&mut piece.text);
            }
            (2, Wire::Fixed(bits)) => piece.score = f32::from_bits(bits),
            (3, Wire::Number(kind)) => {
                // GGUF took its numbers from here.
                let known = i32::try_from(kind).ok().and_then(TokenKind::from_gguf);
                piece.kind = known.ok_or_else(|| bad(place(), format!("type {kind}"), "1 to 6"))?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn read_trainer(message: &[u8], spec: &mut Spec) -> Result<(), TokenError> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field {
            (3, Wire::Number(model)) => spec.model = model,
            (24, Wire::Number(flag)) => spec.spaces_behind = flag != 0,
            // Negative numbers are written as 64 bits.
            (41, Wire::Number(id)) => spec.bos = id as i32,
            (42, Wire::Number(id)) => spec.eos = id as i32,
            _ => {}
        }
    }
    Ok(())
}

fn read_normalizer(message: &[u8], spec: &mut Spec) -> Result<(), TokenError> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field {
            (2, Wire::Bytes(table)) => spec.normalises = !table.is_empty(),
            (3, Wire::Number(flag)) => spec.space_prefix = flag != 0,
            (4, Wire::Number(flag)) => spec.removes_spaces = flag != 0,
            (5, Wire::Number(flag)) => spec.escapes_spaces = flag != 0,
            _ => {}
        }
    }
    Ok(())
}
