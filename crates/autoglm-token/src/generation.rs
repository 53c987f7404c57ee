//! The generations of the GLM family: what a vocabulary without a chat template is talked to with.

use crate::{Specials, TokenKind, Tokenizer};

/// A generation of the GLM family, as far as conversations differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GlmGeneration {
    /// `ChatGLM2`.
    ChatGlm2,
    /// `ChatGLM3`.
    ChatGlm3,
    /// GLM-4-9B, the models of April 2025 (0414) and Z1.
    Glm4,
    /// GLM-Edge.
    GlmEdge,
    /// GLM-4.5 and 4.6.
    Glm45,
    /// GLM-4.7 with a vocabulary of its own, as 4.7-Flash.
    Glm47,
}

/// Tokens from which on a vocabulary of GLM-4 is not one of GLM-Edge, which has 59,264.
const LARGE: usize = 100_000;

/// Tokens of GLM-4 and 4.5; later vocabularies have more.
const GLM45_TOKENS: usize = 151_552;

impl GlmGeneration {
    /// The generation whose special tokens a vocabulary has.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let len = tokenizer.vocabulary_len();
        let has = |text: &str| tokenizer.has_special(text);
        if !has("[gMASK]") {
            return None;
        }
        Some(match (has("<sop>"), has("<|user|>"), has("<arg_key>")) {
            (true, true, true) if len > GLM45_TOKENS => Self::Glm47,
            (true, true, true) => Self::Glm45,
            (true, true, false) if len < LARGE => Self::GlmEdge,
            (true, true, false) => Self::Glm4,
            (false, true, _) if has("sop") => Self::ChatGlm3,
            (false, false, _) if has("sop") => Self::ChatGlm2,
            _ => return None,
        })
    }

    /// The Jinja source of a chat template for it, written from the generation's format.
    pub fn template(self) -> &'static str {
        match self {
            Self::ChatGlm2 => include_str!("templates/chatglm2.jinja"),
            Self::ChatGlm3 => include_str!("templates/chatglm3.jinja"),
            Self::Glm4 => include_str!("templates/glm4.jinja"),
            Self::GlmEdge => include_str!("templates/glm_edge.jinja"),
            Self::Glm45 => include_str!("templates/glm45.jinja"),
            Self::Glm47 => include_str!("templates/glm47.jinja"),
        }
    }
}

impl Tokenizer {
    /// Whether a text is a token that is found before anything is merged.
    fn has_special(&self, text: &str) -> bool {
        let ids = self.encode(text, Specials::Parse);
        let [id] = ids[..] else {
            return false;
        };
        let kind = self.kind(id);
        let is_special = matches!(kind, TokenKind::Control | TokenKind::UserDefined);
        is_special && self.token_text(id) == text
    }
}
