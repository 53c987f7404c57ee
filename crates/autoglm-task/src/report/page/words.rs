//! Numbers, names and command lines as the page writes them.

use std::time::Duration;

use autoglm_spec::Language;

use super::super::VersionScore;
use crate::moment;

/// A share, score or confidence.
pub(super) fn share(value: f64) -> String {
    format!("{value:.3}")
}

pub(super) fn percent(value: f64) -> String {
    format!("{:.0}\u{a0}%", value * 100.0)
}

/// Both ends of an interval.
pub(super) fn span([low, high]: [f64; 2]) -> String {
    format!("{low:.3}–{high:.3}")
}

/// A part of a whole; 0 of nothing.
pub(super) fn part(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A count with its noun, which takes an s where it is not one.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A time to the minute, in UTC.
pub(super) fn minute(millis: i64) -> String {
    let mut text = moment::utc(millis);
    text.truncate("2026-01-31 23:59".len());
    text
}

/// How long something took.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

pub(super) fn language(language: Language) -> &'static str {
    match language {
        Language::English => "en",
        Language::Chinese => "zh",
    }
}

/// What ran, in words.
pub(super) fn version(score: &VersionScore) -> String {
    let strategy = match score.strategy {
        Some(id) => format!("strategy {}", id.0),
        None => "as written".to_owned(),
    };
    let examples = (score.examples > 0).then(|| counted(score.examples as u64, "example"));
    let taught = score.taught.then(|| "taught".to_owned());
    let feedback =
        (score.feedback > 0).then(|| format!("{} of feedback", counted(score.feedback, "row")));
    let parts = [Some(strategy), examples, taught, feedback];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// An argument as a shell takes it.
pub(super) fn shell(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=+,@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) && !argument.starts_with('-') {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_a_program_as_they_are() {
        assert_eq!(shell("data/task.toml"), "data/task.toml");
        assert_eq!(shell("判断情感"), "判断情感");
        assert_eq!(shell("spam or not?"), "'spam or not?'");
        assert_eq!(shell("it's; rm -rf $HOME"), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn spans_and_files_read_well() {
        assert_eq!(duration(Duration::from_micros(12_345)), "12.3 ms");
        assert_eq!(duration(Duration::from_millis(4_200)), "4.2 s");
        assert_eq!(minute(951_827_696_000), "2000-02-29 12:34");
    }
}
