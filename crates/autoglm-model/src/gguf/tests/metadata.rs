//! Typed access to metadata.

use super::super::writer::{Writer, array, string};
use super::read;
use crate::{FromValue, GgufFile, Value};

fn wrong<'a, T: FromValue<'a>>(file: &'a GgufFile, key: &str) -> String {
    match file.get::<T>(key) {
        Ok(_) => panic!("{key} was read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_missing_key_is_nothing_unless_it_is_required() {
    let file = read(&Writer::new());
    assert_eq!(file.get::<u32>("llama.block_count").unwrap(), None);
    assert_eq!(file.get_array::<u32>("llama.list").unwrap(), None);
    assert_eq!(
        file.require::<u32>("llama.block_count")
            .unwrap_err()
            .to_string(),
        "metadata key llama.block_count is missing"
    );
    assert_eq!(
        file.architecture().unwrap_err().to_string(),
        "metadata key general.architecture is missing"
    );
}

#[test]
fn a_value_of_another_type_is_named_with_key_value_and_wish() {
    let file = read(
        &Writer::new()
            .string("text", "four")
            .i32("negative", -1)
            .f32("half", 0.5)
            .strings("words", &["a", "b"])
            .raw("noise", 8, &string(b"\xff\xfe")),
    );
    assert_eq!(
        wrong::<u32>(&file, "text"),
        "metadata key text: got \"four\", want an integer from 0 to 4294967295"
    );
    assert_eq!(
        wrong::<usize>(&file, "negative"),
        "metadata key negative: got -1, want a size"
    );
    assert_eq!(
        wrong::<bool>(&file, "half"),
        "metadata key half: got 0.5, want a bool"
    );
    assert_eq!(
        wrong::<f32>(&file, "words"),
        "metadata key words: got an array of 2 string, want a floating-point number"
    );
    assert_eq!(
        wrong::<&str>(&file, "noise"),
        "metadata key noise: got a string that is not UTF-8, want a UTF-8 string"
    );
}

#[test]
fn an_array_is_refused_for_its_first_wrong_element() {
    let file = read(&Writer::new().i32s("ids", &[1, 2, -3]).u32("one", 1));
    assert_eq!(file.require_array::<i32>("ids").unwrap(), [1, 2, -3]);
    assert_eq!(
        file.require_array::<u32>("ids").unwrap_err().to_string(),
        "metadata key ids: got -3 at index 2, want an integer from 0 to 4294967295"
    );
    assert_eq!(
        file.require_array::<u32>("one").unwrap_err().to_string(),
        "metadata key one: got 1, want an integer from 0 to 4294967295"
    );
}

#[test]
fn arrays_of_arrays_are_walked() {
    let inner = [array(0, 2, &[1, 2]), array(0, 1, &[3])].concat();
    let file = read(&Writer::new().raw("nested", 9, &array(9, 2, &inner)));
    let Some(Value::Array(outer)) = file.value("nested") else {
        panic!("not an array");
    };
    let numbers: Vec<u64> = outer
        .iter()
        .filter_map(|v| match v {
            Value::Array(a) => Some(a),
            _ => None,
        })
        .flat_map(|a| a.iter())
        .filter_map(|v| match v {
            Value::Unsigned(n) => Some(n),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn metadata_is_listed_in_the_files_order() {
    let file = read(
        &Writer::new()
            .u32("z", 1)
            .bool("a", false)
            .string("m", "x\ny"),
    );
    let shown: Vec<String> = file
        .metadata()
        .map(|(key, value)| format!("{key}={}", value.describe()))
        .collect();
    assert_eq!(shown, ["z=1", "a=false", "m=\"x\\ny\""]);
}
