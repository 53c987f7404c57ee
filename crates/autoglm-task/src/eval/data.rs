//! What tells whether two evaluations looked at the same records.

use serde::Serialize;

use crate::row::Row;
use crate::strategy::content_hash;

/// The hash of the records that an evaluation looked at, with where their right answers stand.
/// Two evaluations can be compared where it is the same, whatever their files are called.
pub fn data_hash(gold_field: Option<&str>, rows: &[Row]) -> String {
    #[derive(Serialize)]
    struct Data<'a> {
        gold_field: Option<&'a str>,
        records: Vec<Option<&'a autoglm_spec::Record>>,
    }
    content_hash(&Data {
        gold_field,
        records: rows.iter().map(|row| row.input.as_ref()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::data_hash;
    use crate::row::Row;
    use crate::scripted::record;

    #[test]
    fn the_records_and_the_field_of_their_answers_count_and_what_was_answered_does_not() {
        let row = |n: u64, text: &str, error: &str| {
            let input = record(&json!({"text": text, "label": "x"}));
            Row::failed(n, n + 1, Some(input), error.to_owned())
        };
        let hash = data_hash(None, &[row(0, "好", "a"), row(1, "b", "")]);
        assert_eq!(hash, data_hash(None, &[row(0, "好", ""), row(1, "b", "c")]));
        assert_ne!(hash, data_hash(None, &[row(0, "好", "")]));
        assert_ne!(
            hash,
            data_hash(Some("label"), &[row(0, "好", ""), row(1, "b", "")])
        );
    }
}
