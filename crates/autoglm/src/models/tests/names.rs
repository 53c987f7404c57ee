//! Which file a name or a path means.

use std::fs;

use super::store;
use crate::models::{HubSettings, Need, name_of};

#[test]
fn a_path_is_taken_as_it_is_and_must_exist() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = store(home.path(), &["false"], HubSettings::default());
    let path = home.path().join("own.gguf");
    fs::write(&path, "x").unwrap();
    let spec = path.to_str().unwrap();
    assert_eq!(store.resolve(Some(spec), Need::Open).unwrap(), path);
    fs::remove_file(&path).unwrap();
    assert_eq!(
        store
            .resolve(Some(spec), Need::Open)
            .unwrap_err()
            .to_string(),
        format!("there is no model file {spec}")
    );
}

#[test]
fn a_name_that_nothing_has_is_answered_with_the_names_that_exist() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = store(home.path(), &["false"], HubSettings::default());
    fs::create_dir(home.path().join("models")).unwrap();
    fs::write(home.path().join("models/mine.gguf"), "x").unwrap();
    let error = store.resolve(Some("gemma"), Need::Closed).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "there is no model gemma, the models are all-minilm-l6-v2, gemma-3-270m-q4_k_m, mine, \
             smollm2-135m-instruct-q4_1\nhint: "
        ),
        "{error}"
    );
}

#[test]
fn a_file_put_into_the_folder_is_found_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = store(home.path(), &["false"], HubSettings::default());
    let path = home.path().join("models/mine.gguf");
    fs::create_dir(home.path().join("models")).unwrap();
    fs::write(&path, "x").unwrap();
    assert_eq!(store.resolve(Some("mine"), Need::Open).unwrap(), path);
    assert_eq!(store.find("mine").unwrap(), path);
}

#[test]
fn describing_a_default_that_is_not_here_does_not_fetch_it() {
    let home = tempfile::tempdir().unwrap();
    let (store, said) = store(home.path(), &["false"], HubSettings::default());
    assert_eq!(
        store.find("gemma-3-270m-q4_k_m").unwrap_err().to_string(),
        "the model gemma-3-270m-q4_k_m is not here\n\
         hint: `autoglm model pull gemma-3-270m-q4_k_m` fetches it"
    );
    assert_eq!(said.text(), "");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_defaults_are_listed_before_anything_was_fetched() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = store(home.path(), &["false"], HubSettings::default());
    let models = store.list().unwrap();
    let needs: Vec<_> = models.iter().map(|model| model.default_for).collect();
    assert_eq!(
        needs,
        [Need::Embeddings, Need::Closed, Need::Open].map(Some)
    );
    assert_eq!(models[1].size_bytes, 253_113_024);
    assert_eq!(models[1].licence.as_deref(), Some("Gemma Terms of Use"));
}

#[test]
fn a_hub_files_name_is_its_last_part_without_the_extension() {
    assert_eq!(name_of("glm-edge-1.5b-q4_0.gguf"), "glm-edge-1.5b-q4_0");
    assert_eq!(name_of("Q4/model.gguf"), "model");
    assert_eq!(name_of("weights"), "weights");
}
