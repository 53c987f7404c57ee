//! Models from a hub, over a connection that breaks and a server that errs.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::hub_server::{COMMIT, HubServer};
use super::{Said, noise, store};
use crate::models::manifest::{Manifest, Source};
use crate::models::{HubFile, ModelStore, Standing, StoreError};

struct Scene {
    home: TempDir,
    hub: HubServer,
    content: Vec<u8>,
    store: ModelStore,
    said: Said,
}

impl Scene {
    fn new() -> Self {
        let content = noise(200_000);
        let home = tempfile::tempdir().unwrap();
        let hub = HubServer::start(content.clone());
        let (store, said) = store(home.path(), &["false"], hub.settings());
        Self {
            home,
            hub,
            content,
            store,
            said,
        }
    }

    fn pull(&self) -> Result<std::path::PathBuf, StoreError> {
        self.store.pull_from_hub("tiny", &file())
    }

    fn breaks(&self, breaks: &[usize]) {
        self.hub.behaviour.lock().unwrap().breaks.extend(breaks);
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.home.path().join("models/tiny.json")).unwrap()
    }

    fn assert_stored(&self, path: &Path) {
        assert_eq!(path, self.home.path().join("models/tiny.gguf"));
        assert!(
            fs::read(path).unwrap() == self.content,
            "the content is another"
        );
        assert!(!self.home.path().join("models/.fetch/tiny").exists());
    }
}

fn file() -> HubFile {
    HubFile {
        repository: "owner/tiny".to_owned(),
        file: "tiny.gguf".to_owned(),
        revision: "main".to_owned(),
    }
}

#[test]
fn a_file_is_fetched_checked_and_recorded() {
    let scene = Scene::new();
    scene.assert_stored(&scene.pull().unwrap());
    let manifest = scene.manifest();
    assert_eq!(manifest.sha256, scene.hub.behaviour.lock().unwrap().etag);
    assert_eq!(manifest.licence.as_deref(), Some("mit"));
    assert_eq!(
        manifest.source,
        Source::Hub {
            repository: "owner/tiny".to_owned(),
            file: "tiny.gguf".to_owned(),
            commit: COMMIT.to_owned(),
        }
    );
    assert_eq!(scene.store.verify("tiny").unwrap(), Standing::Sound);
    assert!(
        scene.said.text().contains("licence: mit"),
        "{}",
        scene.said.text()
    );
    assert!(
        scene
            .hub
            .tokens()
            .contains(&Some("Bearer secret".to_owned()))
    );
}

#[test]
fn a_hub_that_serves_the_content_itself_will_do() {
    let scene = Scene::new();
    scene.hub.behaviour.lock().unwrap().redirects = false;
    scene.assert_stored(&scene.pull().unwrap());
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_stopped() {
    let scene = Scene::new();
    scene.breaks(&[50_000, 70_000]);
    scene.assert_stored(&scene.pull().unwrap());
    let transfers = scene.hub.transfers();
    assert!(
        transfers.contains(&"bytes=50000-".to_owned()),
        "{transfers:?}"
    );
    assert!(
        transfers.contains(&"bytes=120000-".to_owned()),
        "{transfers:?}"
    );
}

#[test]
fn a_fetch_that_was_given_up_goes_on_the_next_time() {
    let scene = Scene::new();
    scene.breaks(&[60_000, 0, 0, 0, 0]);
    let error = scene.pull().unwrap_err();
    assert!(matches!(error, StoreError::Hub { .. }), "{error}");
    assert!(!scene.home.path().join("models/tiny.gguf").exists());
    let before = scene.hub.transfers().len();
    scene.assert_stored(&scene.pull().unwrap());
    let transfers = scene.hub.transfers();
    assert!(
        transfers[before..]
            .iter()
            .all(|range| range == "bytes=60000-"),
        "{transfers:?}"
    );
}

#[test]
fn a_fetch_that_was_stopped_behind_its_last_byte_needs_no_more() {
    let scene = Scene::new();
    let blobs = scene
        .home
        .path()
        .join("models/.fetch/tiny/models--owner--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let etag = scene.hub.behaviour.lock().unwrap().etag.clone();
    fs::write(blobs.join(format!("{etag}.part")), &scene.content).unwrap();
    scene.assert_stored(&scene.pull().unwrap());
    assert_eq!(scene.hub.transfers(), [""; 0]);
}

#[test]
fn a_hub_that_sends_everything_instead_of_the_rest_is_noticed() {
    let scene = Scene::new();
    scene.breaks(&[50_000]);
    scene.hub.behaviour.lock().unwrap().ignores_range_once = true;
    scene.assert_stored(&scene.pull().unwrap());
    assert!(
        scene.said.text().contains("damaged: 250000 bytes"),
        "{}",
        scene.said.text()
    );
}

#[test]
fn content_that_is_not_what_the_hub_states_is_refused() {
    let scene = Scene::new();
    scene.hub.behaviour.lock().unwrap().content[9] ^= 1;
    let error = scene.pull().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the model tiny is damaged: SHA-256 "),
        "{error}"
    );
    assert!(!scene.home.path().join("models/tiny.gguf").exists());
    assert_eq!(
        scene.hub.transfers().len(),
        4,
        "two attempts, each redirected once"
    );
}

#[test]
fn an_etag_that_is_no_checksum_is_no_obstacle() {
    let scene = Scene::new();
    scene.hub.behaviour.lock().unwrap().etag = "a1b2".to_owned();
    scene.assert_stored(&scene.pull().unwrap());
    assert_eq!(scene.manifest().sha256, super::sha256_of(&scene.content));
}

#[test]
fn an_etag_that_could_leave_the_folder_is_refused() {
    let scene = Scene::new();
    scene.hub.behaviour.lock().unwrap().etag = "../../../x".to_owned();
    let error = scene.pull().unwrap_err().to_string();
    assert!(
        error.contains("its ETag is \"../../../x\", want letters and digits"),
        "{error}"
    );
}

#[test]
fn a_file_that_the_hub_does_not_have_is_named() {
    let scene = Scene::new();
    let from = HubFile {
        file: "other.gguf".to_owned(),
        ..file()
    };
    let error = scene
        .store
        .pull_from_hub("other", &from)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot fetch other.gguf of owner/tiny from the model hub: ")
            && error.contains("404")
            && error.contains("\nhint: "),
        "{error}"
    );
}

#[test]
fn what_is_here_already_is_not_fetched_again() {
    let scene = Scene::new();
    let path = scene.pull().unwrap();
    let before = scene.hub.transfers().len();
    assert_eq!(scene.pull().unwrap(), path);
    assert_eq!(scene.hub.transfers().len(), before);
    assert!(
        scene
            .said
            .text()
            .ends_with("the model tiny is here already\n")
    );
}

#[test]
fn a_stored_model_that_was_cut_is_fetched_again_when_it_is_used() {
    let scene = Scene::new();
    let path = scene.pull().unwrap();
    fs::write(&path, "cut").unwrap();
    let used = scene
        .store
        .resolve(Some("tiny"), crate::models::Need::Open)
        .unwrap();
    scene.assert_stored(&used);
    assert!(
        scene
            .said
            .text()
            .contains("the model tiny is damaged: 3 bytes"),
        "{}",
        scene.said.text()
    );
}

#[test]
fn a_name_that_another_model_has_is_refused() {
    let scene = Scene::new();
    scene.pull().unwrap();
    let from = HubFile {
        repository: "another/tiny".to_owned(),
        ..file()
    };
    assert_eq!(
        scene
            .store
            .pull_from_hub("tiny", &from)
            .unwrap_err()
            .to_string(),
        "a model named tiny is here already, from hub owner/tiny\n\
         hint: give another name with `--name`"
    );
    for name in ["", "../x", ".x", "a b"] {
        let error = scene.store.pull_from_hub(name, &file()).unwrap_err();
        assert!(matches!(error, StoreError::BadName { .. }), "{error}");
    }
}
