//! Tags of reasoning and of calls, which stay in a text even where they are control tokens.

use crate::{TokenId, TokenKind, Vocabulary};

/// What an answer is taken apart by. GLM's vocabularies have these as tokens of texts; where they
/// are control tokens they would be lost from the text, and what they tell apart with them.
///
/// # Source
/// The tokenizer files of GLM-4.5 and later, which mark them `"special": false`, so that they are
/// decoded where control tokens are not; the preserved tokens of llama.cpp's server, which are
/// decoded for its parsers of answers even where they are control tokens.
const TAGS: [&str; 8] = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
];

/// The control tokens that are tags, in ascending order.
pub(crate) fn control_tags(vocabulary: &Vocabulary) -> Vec<TokenId> {
    let tokens = vocabulary.tokens.iter().zip(&vocabulary.kinds);
    let is_tag =
        tokens.map(|(text, &kind)| kind == TokenKind::Control && TAGS.contains(&text.as_str()));
    (0..)
        .zip(is_tag)
        .filter_map(|(id, is_tag)| is_tag.then_some(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Answer, AnswerParser, ChatOptions, ChatTemplate, Message, SpacePrefix, Specials,
        TextStream, Tokenizer, ToolCallFormat, ToolDefinition, VocabularyModel,
    };

    const FIRST_TAG: usize = 256;

    /// Every byte, the tags as tokens of a kind, and the ends of turns of the GLM family.
    fn tokenizer(kind: TokenKind) -> Tokenizer {
        let mut tokens: Vec<String> = (0..=u8::MAX).map(|b| format!("<0x{b:02X}>")).collect();
        tokens.extend(TAGS.map(str::to_owned));
        tokens.extend(["<|assistant|>", "<|user|>"].map(str::to_owned));
        let mut vocabulary = Vocabulary::new(VocabularyModel::SentencePiece, tokens);
        vocabulary.space_prefix = SpacePrefix::Never;
        vocabulary.kinds[..FIRST_TAG].fill(TokenKind::Byte);
        vocabulary.kinds[FIRST_TAG..FIRST_TAG + TAGS.len()].fill(kind);
        vocabulary.kinds[FIRST_TAG + TAGS.len()..].fill(TokenKind::Control);
        Tokenizer::new(vocabulary).unwrap()
    }

    fn is_tag(id: TokenId) -> bool {
        (FIRST_TAG..FIRST_TAG + TAGS.len()).contains(&(id as usize))
    }

    fn answer(tokenizer: &Tokenizer, ids: &[TokenId]) -> Answer {
        let now = ToolDefinition::from_json(json!({"name": "now"})).unwrap();
        let parser = AnswerParser::new(Some(ToolCallFormat::Tags), &[now], false);
        let mut stream = TextStream::default();
        let text: String = ids.iter().map(|&id| stream.push(tokenizer, id)).collect();
        parser.parse(&text)
    }

    #[test]
    fn thoughts_and_calls_are_told_apart_whatever_kind_the_tags_are() {
        let written = "<think>hm</think>\nIt is<tool_call>now\n<arg_key>zone</arg_key>\n\
            <arg_value>UTC</arg_value>\n</tool_call><|user|>";
        for kind in [
            TokenKind::Control,
            TokenKind::UserDefined,
            TokenKind::Normal,
        ] {
            let tokenizer = tokenizer(kind);
            let ids = tokenizer.encode(written, Specials::Parse);
            if kind != TokenKind::Normal {
                assert_eq!(ids.iter().filter(|&&id| is_tag(id)).count(), 8, "{kind:?}");
            }
            let answer = answer(&tokenizer, &ids);
            assert_eq!(answer.reasoning, "hm", "{kind:?}");
            assert_eq!(answer.content, "It is");
            assert_eq!(answer.tool_calls[0].arguments["zone"], "UTC");
        }
    }

    #[test]
    fn other_control_tokens_stay_out_of_the_text() {
        let tokenizer = tokenizer(TokenKind::Control);
        let ids = tokenizer.encode("a<|assistant|><think>b<|user|>", Specials::Parse);
        assert_eq!(tokenizer.decode(&ids), "a<think>b");
    }

    #[test]
    fn text_from_outside_becomes_no_control_tag() {
        let tokenizer = tokenizer(TokenKind::Control);
        let said = TAGS.concat();
        let ids = tokenizer.encode(&said, Specials::AsText);
        assert!(!ids.iter().any(|&id| is_tag(id)));
        let source = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<think>";
        let template = ChatTemplate::new(source, &tokenizer).unwrap();
        let user = [Message::new("user", said)];
        let options = ChatOptions::default();
        let ids = template.encode(&tokenizer, &user, &options).unwrap();
        let tags: Vec<bool> = ids.iter().map(|&id| is_tag(id)).collect();
        assert_eq!(tags.iter().filter(|&&tag| tag).count(), 1);
        assert!(tags[tags.len() - 1], "the template's own");
    }
}
