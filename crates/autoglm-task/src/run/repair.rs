//! The turn that tells a chat model what is wrong with its samples.

use autoglm_spec::{Language, Prompt, Role, Segment};

use crate::judge::agreement::{Counted, leader};

/// Below this share of its samples an answer is in doubt: no majority is for it.
const DOUBT_SHARE: f64 = 0.5;
/// So many samples must have voted before they count as disagreeing.
const DOUBT_SAMPLES: usize = 3;

/// What is wrong, as the model is told, and the answer that it is told of.
pub(super) struct Wrong {
    pub(super) answer: String,
    pub(super) text: String,
}

/// What is wrong with a record's samples: none can be used, or no answer has a majority.
pub(super) fn what_is_wrong(counted: &Counted, language: Language) -> Option<Wrong> {
    if let Some(reason) = counted.unusable() {
        return Some(Wrong {
            answer: counted.first_text().to_owned(),
            text: unusable_text(reason, language),
        });
    }
    let ballot = &counted.ballot;
    let winner = leader(&ballot.counts)?;
    let share = ballot.counts[winner] as f64 / ballot.samples as f64;
    if ballot.samples < DOUBT_SAMPLES || share >= DOUBT_SHARE {
        return None;
    }
    let answers = counted.alternatives(winner);
    let (first, second) = (answers.first()?, answers.get(1)?);
    Some(Wrong {
        answer: first.answer.clone(),
        text: doubt_text(&second.answer, language),
    })
}

/// The prompt with the answer in doubt and what is wrong with it; none for models without turns.
pub(super) fn prompt(prompt: &Prompt, answer: &str, wrong: String) -> Option<Prompt> {
    let Prompt::Chat(turns) = prompt else {
        return None;
    };
    let mut turns = turns.clone();
    // What the model's turn begins with, such as the fence of code, begins the next one too.
    let opening = turns.pop_if(|turn| turn.role == Role::Assistant);
    let begun = opening.as_ref().map_or("", |turn| turn.text.as_str());
    let turn = |role, text| Segment { role, text };
    turns.push(turn(Role::Assistant, format!("{begun}{answer}")));
    turns.push(turn(Role::User, wrong));
    turns.extend(opening);
    Some(Prompt::Chat(turns))
}

fn unusable_text(reason: &str, language: Language) -> String {
    match language {
        Language::English => format!("This cannot be used: {reason}. Answer again, shorter."),
        Language::Chinese => format!("这个答案无法使用：{reason}。请重新回答，简短一些。"),
    }
}

fn doubt_text(other: &str, language: Language) -> String {
    match language {
        Language::English => {
            format!("Another attempt answered:\n{other}\nCheck both and answer again.")
        }
        Language::Chinese => format!("另一次的回答是：\n{other}\n请核对两个答案，然后重新回答。"),
    }
}
