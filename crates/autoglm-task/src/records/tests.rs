use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::time::Duration;

use autoglm_spec::{Calibration, Field, Output, Record, Usage, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::row::Row;

fn read(format: InputFormat, text: &str) -> Vec<Result<(u64, Value), String>> {
    read_bytes(format, text.as_bytes())
}

fn read_bytes(format: InputFormat, bytes: &[u8]) -> Vec<Result<(u64, Value), String>> {
    Records::new(bytes, format, "text")
        .map(|item| match item {
            Ok(NumberedRecord { line, record }) => Ok((line, Value::Object(record))),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

#[test]
fn json_lines_give_objects_and_bare_strings_the_first_field() {
    let rows = read(
        InputFormat::Jsonl,
        "\u{feff}{\"text\": \"好\", \"id\": 7}\r\n\n\"plain\"\n",
    );
    assert_eq!(
        rows,
        [
            Ok((1, json!({"text": "好", "id": 7}))),
            Ok((3, json!({"text": "plain"}))),
        ]
    );
}

#[test]
fn a_malformed_line_is_an_item_and_reading_goes_on() {
    let rows = read(InputFormat::Jsonl, "{\"text\":\n[1]\n{\"text\":\"b\"}\n3");
    let errors: Vec<&String> = rows.iter().filter_map(|r| r.as_ref().err()).collect();
    assert_eq!(rows[2], Ok((3, json!({"text": "b"}))));
    assert!(errors[0].starts_with("line 1: not JSON"), "{}", errors[0]);
    assert_eq!(
        errors[1],
        "line 2: a record is a JSON object or a string, this is a list"
    );
    assert!(errors[2].contains("line 4") && errors[2].contains("a number"));
}

#[test]
fn bytes_that_are_not_utf_8_are_reported_by_line() {
    let rows = read_bytes(InputFormat::Lines, b"good\nbad \xff\nalso good");
    assert_eq!(rows.len(), 3);
    let error = rows[1].as_ref().unwrap_err();
    assert!(
        error.starts_with("line 2: not UTF-8 after 4 bytes"),
        "{error}"
    );
    assert_eq!(rows[2], Ok((3, json!({"text": "also good"}))));
}

#[test]
fn csv_fields_may_hold_quotes_delimiters_and_newlines() {
    let rows = read(
        InputFormat::Csv,
        "\u{feff}id,text\r\n1,\"a \"\"quoted\"\" word\"\r\n2,\"two\nlines, one\"\n\n3,5\" pipe\n",
    );
    assert_eq!(
        rows,
        [
            Ok((2, json!({"id": "1", "text": "a \"quoted\" word"}))),
            Ok((3, json!({"id": "2", "text": "two\nlines, one"}))),
            Ok((6, json!({"id": "3", "text": "5\" pipe"}))),
        ]
    );
}

#[test]
fn a_row_that_does_not_fit_its_header_is_an_error_with_both_counts() {
    let rows = read(InputFormat::Csv, "a,b\n1\n1,2\n");
    assert_eq!(
        rows[0],
        Err("line 2: the row has 1 fields, the header has 2".to_owned())
    );
    assert_eq!(rows[1], Ok((3, json!({"a": "1", "b": "2"}))));
}

#[test]
fn a_quote_without_end_is_reported_where_it_begins() {
    let rows = read(InputFormat::Csv, "a\nfine\n\"never closed\nand on\n");
    assert_eq!(rows[0], Ok((2, json!({"a": "fine"}))));
    let error = rows[1].as_ref().unwrap_err();
    assert!(error.starts_with("line 3: a quoted field"), "{error}");
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_header_that_names_a_column_twice_ends_the_reading() {
    let rows = read(InputFormat::Csv, "a,b,a\n1,2,3\n");
    let problem = "line 1: the header names the column \"a\" twice";
    assert_eq!(rows, [Err(problem.to_owned())]);
}

#[test]
fn tabs_separate_the_fields_of_tsv() {
    let rows = read(InputFormat::Tsv, "text\tid\n你好, 世界\t1\n");
    assert_eq!(rows, [Ok((2, json!({"text": "你好, 世界", "id": "1"})))]);
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_the_next_is_read() {
    let input = format!("{}\nshort\n", "x".repeat(100));
    let items: Vec<_> =
        Records::with_limit(input.as_bytes(), InputFormat::Lines, "text", 50).collect();
    assert!(matches!(
        items[0],
        Err(RecordError::TooLong {
            line: 1,
            limit_bytes: 50
        })
    ));
    assert_eq!(items[1].as_ref().unwrap().line, 2);
}

#[test]
fn a_quoted_field_beyond_the_limit_does_not_fill_the_memory() {
    let input = format!("a\n\"{}", "lines\n".repeat(100));
    let items: Vec<_> =
        Records::with_limit(input.as_bytes(), InputFormat::Csv, "text", 50).collect();
    assert!(matches!(
        items[0],
        Err(RecordError::TooLong { line: 2, .. })
    ));
}

/// Gives the same line over and over, without holding more than one.
struct Endless {
    line: Vec<u8>,
    at: usize,
    lines_left: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.lines_left == 0 {
            return Ok(0);
        }
        let rest = &self.line[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        if self.at == self.line.len() {
            self.at = 0;
            self.lines_left -= 1;
        }
        Ok(count)
    }
}

#[test]
fn a_hundred_thousand_lines_stream_through_a_buffer_of_one_line() {
    let input = Endless {
        line: "{\"text\": \"一行 one line\"}\n".into(),
        at: 0,
        lines_left: 100_000,
    };
    // The reader holds one frame; its capacity is what the longest line needed.
    let records = Records::new(
        BufReader::with_capacity(64, input),
        InputFormat::Jsonl,
        "text",
    );
    let last = records
        .map(|item| item.expect("every line is good").line)
        .last();
    assert_eq!(last, Some(100_000));
}

#[test]
fn counting_agrees_with_reading() {
    let csv = "a,b\n1,\"x\ny\"\n\n2\n3,4";
    for (format, text) in [
        (InputFormat::Csv, csv),
        (InputFormat::Csv, ""),
        (InputFormat::Jsonl, "{}\n\n[\n\"a\""),
        (InputFormat::Lines, "a\n \nb\n"),
    ] {
        let count = count_records(text.as_bytes(), format).unwrap();
        assert_eq!(count as usize, read(format, text).len(), "{text:?}");
    }
}

#[test]
fn the_extension_names_the_format() {
    let of = |path: &str| InputFormat::from_path(Path::new(path));
    assert_eq!(of("a/b.JSONL"), Some(InputFormat::Jsonl));
    assert_eq!(of("b.tsv"), Some(InputFormat::Tsv));
    assert_eq!(of("b.txt"), Some(InputFormat::Lines));
    assert_eq!(of("b"), None);
}

#[test]
fn the_first_bytes_tell_the_format() {
    let fields = [Field {
        name: "text".to_owned(),
        title: "Text".to_owned(),
    }];
    let check =
        |head: &str, format| assert_eq!(InputFormat::sniff(head.as_bytes(), &fields), format);
    check("\u{feff}{\"text\": \"cut o", InputFormat::Jsonl);
    check("\"a string\"\n", InputFormat::Jsonl);
    check("id,\"text\"\n1,a\n", InputFormat::Csv);
    check("id\ttext\n", InputFormat::Tsv);
    check("well, that was nice\n", InputFormat::Lines);
    check("", InputFormat::Lines);
}

fn record(value: Value) -> Record {
    match value {
        Value::Object(record) => record,
        other => panic!("{other} is no object"),
    }
}

fn answered(index: u64, input: Value, answer: &str) -> Row {
    Row {
        verdict: Some(Verdict {
            answer: answer.to_owned(),
            confidence: 0.123_456,
            distribution: vec![("是".to_owned(), 0.75), ("no".to_owned(), 0.25)],
            calibration: Calibration::None,
            vote: None,
            learnt: None,
        }),
        error: None,
        usage: Usage {
            compute: Duration::from_millis(3),
            ..Usage::default()
        },
        ..Row::failed(index, index + 1, Some(record(input)), String::new())
    }
}

fn write(format: OutputFormat, output: &Output, rows: &[Row]) -> String {
    let mut out = Vec::new();
    let mut writer = RowWriter::new(&mut out, format, output, false);
    writer.write_rows(rows).unwrap();
    writer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

const TEXT: Output = Output::Text { max_tokens: 8 };

#[test]
fn json_rows_hold_the_record_and_the_answer_and_error_rows_their_line() {
    let rows = [
        answered(0, json!({"text": "a", "id": 1}), "好"),
        Row::failed(1, 2, None, "not JSON".to_owned()),
        Row::failed(2, 3, Some(record(json!({"id": 2}))), "no field".to_owned()),
    ];
    assert_eq!(
        write(OutputFormat::Jsonl, &TEXT, &rows),
        "{\"text\":\"a\",\"id\":1,\"answer\":\"好\",\"confidence\":0.1235}\n\
         {\"line\":2,\"error\":\"not JSON\"}\n\
         {\"id\":2,\"line\":3,\"error\":\"no field\"}\n"
    );
}

#[test]
fn json_answers_are_values() {
    let output = Output::Json {
        schema: json!({}),
        max_tokens: 8,
    };
    let rows = [answered(0, json!({}), "{\"a\": [1]}")];
    let text = write(OutputFormat::Jsonl, &output, &rows);
    assert_eq!(text, "{\"answer\":{\"a\":[1]},\"confidence\":0.1235}\n");
}

#[test]
fn a_records_own_answer_is_kept_under_another_name() {
    let input = json!({"answer": "gold", "input_answer": "older", "x": 1});
    let text = write(OutputFormat::Jsonl, &TEXT, &[answered(0, input, "new")]);
    assert_eq!(
        text,
        "{\"input_answer\":\"gold\",\"input_input_answer\":\"older\",\"x\":1,\
         \"answer\":\"new\",\"confidence\":0.1235}\n"
    );
}

#[test]
fn the_distribution_is_written_where_it_is_asked_for() {
    for (format, wanted) in [
        (
            OutputFormat::Jsonl,
            "\"distribution\":{\"是\":0.75,\"no\":0.25}",
        ),
        (OutputFormat::Csv, "\"{\"\"是\"\":0.75,\"\"no\"\":0.25}\""),
    ] {
        let mut out = Vec::new();
        let mut writer = RowWriter::new(&mut out, format, &TEXT, true);
        writer.write_rows(&[answered(0, json!({}), "是")]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn csv_takes_its_columns_from_the_first_good_record_and_counts_what_has_none() {
    let rows = [
        Row::failed(0, 1, None, "not JSON".to_owned()),
        answered(1, json!({"text": "a, b", "n": 1}), "\"x\""),
        answered(2, json!({"n": null, "more": 2}), "line\nbreak"),
    ];
    let mut out = Vec::new();
    let mut writer = RowWriter::new(&mut out, OutputFormat::Csv, &TEXT, false);
    writer.write_rows(&rows).unwrap();
    assert_eq!(writer.fields_left_out(), 1);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "text,n,answer,confidence,line,error\n\
         ,,,,1,not JSON\n\
         \"a, b\",1,\"\"\"x\"\"\",0.1235,,\n\
         ,,\"line\nbreak\",0.1235,,\n"
    );
}

#[test]
fn csv_without_any_good_record_still_has_a_header() {
    let rows = [Row::failed(0, 1, None, "bad".to_owned())];
    let text = write(OutputFormat::Csv, &TEXT, &rows);
    assert_eq!(text, "answer,confidence,line,error\n,,1,bad\n");
}

fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("好评".to_owned()),
        Just("🙂".to_owned()),
        Just("\"".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just(",".to_owned()),
        "[ -~]{0,6}",
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_written_reads_back(texts in prop::collection::vec(any_text(), 1..8)) {
        let rows: Vec<Row> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| answered(i as u64, json!({"text": text, "id": "x"}), "a"))
            .collect();
        for (written, format) in [
            (OutputFormat::Jsonl, InputFormat::Jsonl),
            (OutputFormat::Csv, InputFormat::Csv),
        ] {
            let out = write(written, &TEXT, &rows);
            let read: Vec<String> = Records::new(Cursor::new(out), format, "text")
                .map(|item| item.unwrap().record["text"].as_str().unwrap().to_owned())
                .collect();
            prop_assert_eq!(&read, &texts);
        }
    }

    #[test]
    fn any_bytes_are_read_to_their_end_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for format in [InputFormat::Jsonl, InputFormat::Csv, InputFormat::Tsv, InputFormat::Lines] {
            let lines: Vec<u64> = Records::new(bytes.as_slice(), format, "text")
                .map(|item| item.map_or_else(|error| error.line(), |record| record.line))
                .collect();
            prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
