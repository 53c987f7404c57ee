//! The table `[knowledge]` of a task file: documents whose passages are put before each record.

use std::ops::RangeInclusive;

use autoglm_spec::{Knowledge, TaskSpec};

use super::entry::Section;
use super::error::FileError;
use super::read::texts;
use crate::remark::Remark;

/// Passages of a record.
const PASSAGES: RangeInclusive<u64> = 1..=50;
/// As many passages and tokens as `autoglm ask` takes.
const USUAL_PASSAGES: usize = 3;
const USUAL_TOKENS: usize = 1_200;
/// Tokens of passages: more than the context of any model holds.
const TOKENS: RangeInclusive<u64> = 1..=1 << 20;

/// Reads the table, where there is one.
///
/// # Errors
/// No collections, a number out of its range, a field of records in whose place passages stand.
pub(super) fn knowledge(
    root: &Section<'_>,
    spec: &TaskSpec,
    remarks: &mut Vec<Remark>,
) -> Result<Option<Knowledge>, FileError> {
    let Some(entry) = root.get("knowledge") else {
        return Ok(None);
    };
    let table = entry.section("a table with `collections`")?;
    remarks.extend(table.unknown_keys("knowledge"));
    let wanted = "a list of at least one collection's name";
    let named = table.get("collections");
    let named = named.ok_or_else(|| table.missing("collections", wanted))?;
    let collections = texts(&named)?;
    if collections.is_empty() {
        return Err(named.not(wanted));
    }
    let is_taken = |name: &str| name == Knowledge::FIELD;
    if spec.fields.iter().any(|field| is_taken(&field.name)) {
        return Err(entry.got(
            "a field of records that is called `knowledge`",
            "another name for it: a record's passages stand there",
        ));
    }
    let whole = |name, range, usual| match table.get(name) {
        Some(entry) => entry.whole(range).map(|number| number as usize),
        None => Ok(usual),
    };
    Ok(Some(Knowledge {
        collections,
        passages: whole("passages", PASSAGES, USUAL_PASSAGES)?,
        tokens: whole("tokens", TOKENS, USUAL_TOKENS)?,
    }))
}

#[cfg(test)]
mod tests {
    use crate::file::{FileError, read_task_file};
    use crate::remark::Severity;

    use super::*;

    fn read(table: &str) -> Result<Knowledge, FileError> {
        let text = format!("instruction = \"Answer the question.\"\n[knowledge]\n{table}\n");
        read_task_file(&text).map(|(file, _)| file.spec.knowledge.unwrap())
    }

    #[test]
    fn what_is_not_said_is_as_with_ask() {
        let usual = read("collections = [\"guide\"]").unwrap();
        assert_eq!((usual.passages, usual.tokens), (3, 1_200));
        let own = read("collections = [\"guide\", \"手册\"]\npassages = 5\ntokens = 90").unwrap();
        assert_eq!(own.collections, ["guide", "手册"]);
        assert_eq!((own.passages, own.tokens), (5, 90));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_key() {
        let told = |table: &str| read(table).unwrap_err().to_string();
        for (table, key, wanted) in [
            ("passages = 2", "knowledge.collections", "at least one"),
            ("collections = []", "knowledge.collections", "at least one"),
            ("collections = [7]", "knowledge.collections", "text"),
            (
                "collections = [\"a\"]\npassages = 0",
                "knowledge.passages",
                "from 1 to 50",
            ),
            (
                "collections = [\"a\"]\ntokens = \"x\"",
                "knowledge.tokens",
                "from 1 to 1048576",
            ),
            (
                "collections = [\"a\"]\n[input]\nfields = [\"knowledge\"]",
                "`knowledge`",
                "another name",
            ),
        ] {
            let told = told(table);
            assert!(told.contains(key) && told.contains(wanted), "{told}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_remarked_on() {
        let text = "instruction = \"Answer.\"\n[knowledge]\ncollections = [\"a\"]\ntop = 3\n";
        let (_, remarks) = read_task_file(text).unwrap();
        let warns = |remark: &Remark| {
            let known = remark.suggestion.as_deref().unwrap_or_default();
            remark.severity == Severity::Warning
                && remark.message.contains("unknown key `top`")
                && known.contains("collections, passages, tokens")
        };
        assert!(remarks.iter().any(warns), "{remarks:?}");
    }
}
