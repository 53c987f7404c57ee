//! Documents are added, changed and removed at random by a process that is killed in between, on
//! both stores. Whatever was acknowledged is there, and nothing else: no passage, no word, no
//! vector.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it did"
)]

#[path = "support/postgres.rs"]
mod postgres_server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use autoglm_retrieve::store::{
    Filter, PostgresAddress, PostgresStore, SqliteStore, Store, VectorKey,
};
use autoglm_retrieve::text::{TextLanguage, terms};
use autoglm_retrieve::{Document, DocumentState, Passage, PassageId, Place, Within};
use postgres_server::Server;

/// Tells a process of this program where to write and from which operation on.
const WORK: &str = "AUTOGLM_CRASHES_WORK";
/// The name that the worker's connections have on the server.
const WORKER: &str = "crashes";
const DOCUMENTS: u64 = 60;
/// Operations between two times that the worker tidies up.
const TIDY_EVERY: u64 = 40;
/// Operations that a worker does before it is killed, at most.
const MOST_ACKNOWLEDGED: u64 = 100;
/// Operations that it does beyond them at most, until the kill comes.
const OVERRUN: u64 = 20;
/// Removed passages whose words are looked for after each crash; at the end it is all of them.
const REMEMBERED: usize = 200;
/// Numbers of a vector.
const WIDTH: usize = 8;

/// Where a collection is.
enum Target {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Target {
    fn parse(text: &str) -> Self {
        if text.starts_with("postgres") {
            Self::Postgres(text.to_owned())
        } else {
            Self::Sqlite(PathBuf::from(text))
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(address) => address.clone(),
        }
    }

    fn open(&self, name: &str) -> Box<dyn Store> {
        match self {
            Self::Sqlite(path) => Box::new(SqliteStore::open(path).unwrap()),
            Self::Postgres(address) => {
                let address = format!("{address}?application_name={name}");
                let address = PostgresAddress::parse(&address).unwrap();
                Box::new(PostgresStore::open(&address, "crashes").unwrap())
            }
        }
    }

    /// Waits until what a killed worker had sent is done or undone.
    fn settle(&self) {
        let Self::Postgres(address) = self else {
            return;
        };
        let mut client = postgres::Client::connect(address, postgres::NoTls).unwrap();
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        while client.query_one(sql, &[&WORKER]).unwrap().get::<_, i64>(0) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Rows that belong to nothing, by the store's own tables.
    fn ghosts(&self) -> i64 {
        match self {
            Self::Sqlite(path) => {
                let sql = "SELECT (SELECT count(*) FROM words_docsize \
                     WHERE id NOT IN (SELECT id FROM passages)) \
                     + (SELECT count(*) FROM passages \
                     WHERE id NOT IN (SELECT id FROM words_docsize) \
                     OR document NOT IN (SELECT id FROM documents) \
                     OR vector NOT IN (SELECT id FROM vectors))";
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Self::Postgres(address) => {
                let sql = "SELECT (SELECT count(*) FROM words \
                     WHERE passage NOT IN (SELECT id FROM passages)) \
                     + (SELECT count(*) FROM passages WHERE id NOT IN (SELECT passage FROM words) \
                     OR vector NOT IN (SELECT id FROM vectors)) \
                     + (SELECT abs(t.passages - (SELECT count(*) FROM passages)) + abs(t.words - \
                     (SELECT coalesce(sum(length), 0)::bigint FROM passages)) FROM totals t)";
                let mut client = postgres::Client::connect(address, postgres::NoTls).unwrap();
                client
                    .batch_execute("SET search_path TO autoglm_crashes")
                    .unwrap();
                client.query_one(sql, &[]).unwrap().get(0)
            }
        }
    }
}

/// Random numbers of a seed.
fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A document as it should be: which operation wrote it, and its passages.
type Written = (u64, Vec<String>);

/// What operation `n` does: the document, and what it becomes; none where it is removed.
fn operation(n: u64) -> (String, Option<Written>) {
    let drawn = random(n);
    let path = format!("doc {}", drawn % DOCUMENTS);
    let text = |p: u64| match random(n * 8 + p + 1) {
        // Passages with one text share a vector.
        drawn if drawn % 5 == 0 => format!("shared text {}", drawn / 5 % 10),
        _ => (0..8)
            .map(|w| format!("o{n}p{p}w{w}"))
            .collect::<Vec<_>>()
            .join(" "),
    };
    let is_removal = (drawn / DOCUMENTS).is_multiple_of(3);
    let passages = drawn / DOCUMENTS / 3 % 4;
    let texts = (0..=passages).map(text).collect();
    (path, (!is_removal).then_some((n, texts)))
}

fn vector(text: &str) -> Vec<f32> {
    let drawn = random(
        text.bytes()
            .fold(7, |sum, b| sum * 31 % 1_000_003 + u64::from(b)),
    );
    let numbers = (0..WIDTH as u64).map(|n| (random(drawn ^ n) % 1_000) as f32 - 500.0);
    let numbers: Vec<f32> = numbers.collect();
    let length = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    numbers.into_iter().map(|x| x / length).collect()
}

/// The hash by which a document says which operation wrote it.
fn hash(n: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_le_bytes());
    hash
}

fn document(path: &str, (n, texts): &Written) -> Document {
    let passage = |text: &String| Passage {
        id: PassageId(0),
        document: String::new(),
        titles: Vec::new(),
        record: None,
        place: Place {
            start: 0,
            end: text.len(),
            within: Within::File,
            line: None,
            page: None,
        },
        language: TextLanguage::of(text),
        meta: serde_json::Map::new(),
        tokens: 1,
        text: text.clone(),
    };
    Document {
        path: path.to_owned(),
        state: DocumentState {
            hash: hash(*n),
            size_bytes: 1,
            modified_ns: None,
        },
        format: "text".to_owned(),
        passages: texts.iter().map(passage).collect(),
    }
}

fn apply(store: &mut dyn Store, n: u64) {
    let (path, written) = operation(n);
    match written {
        Some(written) => {
            let texts = written.1.iter();
            let vectors = texts.map(|text| (VectorKey::of(text), vector(text)));
            store.put_vectors(&vectors.collect::<Vec<_>>()).unwrap();
            store.put_document(&document(&path, &written)).unwrap();
        }
        None => {
            store.remove_document(&path).unwrap();
        }
    }
    if n.is_multiple_of(TIDY_EVERY) {
        store.tidy().unwrap();
    }
}

#[test]
#[ignore = "the tests below start it as a process of its own"]
#[expect(
    clippy::disallowed_methods,
    reason = "a process is told its work by its environment"
)]
fn worker() {
    let Ok(work) = std::env::var(WORK) else {
        return;
    };
    let (target, range) = work.split_once('\n').unwrap();
    let (first, end) = range.split_once(' ').unwrap();
    let mut store = Target::parse(target).open(WORKER);
    let mut out = std::io::stdout();
    for n in first.parse::<u64>().unwrap()..end.parse().unwrap() {
        apply(&mut *store, n);
        // Written at once: what is read of it was done.
        writeln!(out, "\ndone {n}").unwrap();
        out.flush().unwrap();
    }
    // It waits to be killed, or for the end of whoever started it.
    let _ = std::io::stdin().read(&mut [0]);
}

/// A worker, and the operations that it acknowledges.
struct Worker {
    process: Child,
    end: u64,
    acknowledged: Receiver<u64>,
}

impl Worker {
    fn start(target: &Target, first: u64, end: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "worker",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(WORK, format!("{}\n{first} {end}", target.text()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, acknowledged) = channel();
        std::thread::spawn(move || {
            let done = |line: String| line.strip_prefix("done ")?.parse().ok();
            for n in lines.map_while(Result::ok).filter_map(done) {
                if sender.send(n).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            end,
            acknowledged,
        }
    }

    /// Lets it do some operations, kills it in the middle of something, and gives the last one that
    /// it has acknowledged.
    fn run(mut self, patience: u64, random: u64) -> Option<u64> {
        let mut last = None;
        for _ in 0..patience {
            let Ok(n) = self.acknowledged.recv() else {
                break;
            };
            last = Some(n);
            if n + 1 == self.end {
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(random % 3_000));
        // SIGKILL; one that has failed has ended already.
        let _ = self.process.kill();
        let status = self.process.wait().unwrap();
        assert_ne!(status.code(), Some(101), "the worker failed");
        // What it said before it was killed.
        self.acknowledged.iter().last().or(last)
    }
}

/// What should be there.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, Written>,
    /// Words that no passage has any more.
    gone: Vec<String>,
}

impl Model {
    fn apply(&mut self, n: u64) {
        let (path, written) = operation(n);
        let before = match written {
            Some(written) => self.documents.insert(path, written),
            None => self.documents.remove(&path),
        };
        let texts = before.into_iter().flat_map(|(_, texts)| texts);
        self.gone
            .extend(texts.filter(|t| is_own(t)).map(|text| first_word(&text)));
    }

    /// Whether an operation was done that the model does not know of yet.
    fn is_done(&self, store: &dyn Store, n: u64) -> bool {
        let (path, written) = operation(n);
        let state = store.state(&path).unwrap();
        match written {
            Some((n, _)) => state.is_some_and(|state| state.hash == hash(n)),
            None => state.is_none() && self.documents.contains_key(&path),
        }
    }

    fn check(&self, store: &mut dyn Store, remembered: usize) {
        for (path, (n, _)) in &self.documents {
            let state = store.state(path).unwrap();
            assert_eq!(state.map(|state| state.hash), Some(hash(*n)), "{path}");
        }
        let listed = store.documents().unwrap();
        let listed = listed.into_iter().map(|one| (one.path, one.passages));
        let wanted = self
            .documents
            .iter()
            .map(|(path, (_, t))| (path.clone(), t.len()));
        assert_eq!(listed.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        let all = self.documents.iter().flat_map(|(path, (_, texts))| {
            texts.iter().map(move |text| (path.clone(), text.clone()))
        });
        let (own, mut shared): (Vec<_>, Vec<_>) = all.partition(|(_, text)| is_own(text));
        assert_eq!(store.about().unwrap().passages, own.len() + shared.len());
        shared.sort();
        assert_eq!(found(store, "shared"), shared);
        for one in own {
            assert_eq!(found(store, &first_word(&one.1)), [one]);
        }
        let gone = &self.gone[self.gone.len().saturating_sub(remembered)..];
        let left = store.frequencies(gone).unwrap();
        assert_eq!(left.iter().sum::<usize>(), 0, "words of removed passages");
        store.tidy().unwrap();
        let texts = self.documents.values().flat_map(|(_, texts)| texts);
        let texts: BTreeSet<&String> = texts.collect();
        assert_eq!(store.about().unwrap().vectors, texts.len());
    }
}

fn is_own(text: &str) -> bool {
    text.starts_with('o')
}

fn first_word(text: &str) -> String {
    terms(text).remove(0)
}

/// The passages with a word and their documents; their vectors must be those of their texts.
fn found(store: &dyn Store, word: &str) -> Vec<(String, String)> {
    let hits = store
        .lexical(&[word.to_owned()], &Filter::default(), 1_000)
        .unwrap();
    let ids: Vec<PassageId> = hits.iter().map(|hit| hit.passage).collect();
    let passages = store.passages(&ids).unwrap();
    let vectors = store.vectors(&ids).unwrap();
    assert_eq!(passages.len(), ids.len());
    for (passage, given) in passages.iter().zip(vectors) {
        assert_eq!(given, Some(vector(&passage.text)), "{}", passage.text);
    }
    let mut found: Vec<_> = passages.into_iter().map(|p| (p.document, p.text)).collect();
    found.sort();
    found
}

/// Does so many operations with a worker that is killed again and again.
fn survive(target: &Target, operations: u64, kills: u64) {
    let began = Instant::now();
    let (mut model, mut next, mut crashes, mut unsaid) = (Model::default(), 0, 0, 0);
    let most = (2 * operations / kills).min(MOST_ACKNOWLEDGED);
    drop(target.open("first"));
    while next < operations {
        let drawn = random(next ^ (crashes << 32));
        let end = operations.min(next + most + OVERRUN);
        let last = Worker::start(target, next, end).run(drawn % (most + 1), drawn >> 8);
        target.settle();
        if let Some(last) = last {
            (next..=last).for_each(|n| model.apply(n));
            next = last + 1;
        }
        crashes += 1;
        let mut store = target.open("check");
        // The operation that was under way is done as a whole or not at all.
        if next < operations && model.is_done(&*store, next) {
            model.apply(next);
            next += 1;
            unsaid += 1;
        }
        model.check(&mut *store, REMEMBERED);
        assert_eq!(target.ghosts(), 0);
    }
    model.check(&mut *target.open("check"), usize::MAX);
    assert_eq!(target.ghosts(), 0);
    assert!(crashes >= kills / 3, "{crashes} crashes");
    println!(
        "{operations} operations, {crashes} crashes, {unsaid} of them between a commit and its \
         acknowledgement, {} passages left, {} gone: none lost, no ghosts; {:.1} s",
        model
            .documents
            .values()
            .map(|(_, texts)| texts.len())
            .sum::<usize>(),
        model.gone.len(),
        began.elapsed().as_secs_f64()
    );
}

fn in_a_file(operations: u64, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::Sqlite(folder.path().join("c.sqlite"));
    survive(&target, operations, kills);
}

fn in_a_database(operations: u64, kills: u64) {
    let Some(server) = Server::shared() else {
        return;
    };
    // A database of its own, for tests of this file run beside each other.
    let name = format!("crashes{operations}");
    let mut client = postgres::Client::connect(&server.address(), postgres::NoTls).unwrap();
    client
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .unwrap();
    let address = server.address();
    let (server, _) = address.rsplit_once('/').unwrap();
    survive(
        &Target::Postgres(format!("{server}/{name}")),
        operations,
        kills,
    );
}

#[test]
fn a_file_loses_nothing_to_crashes_and_keeps_no_ghosts() {
    in_a_file(500, 12);
}

#[test]
fn a_database_loses_nothing_to_crashes_and_keeps_no_ghosts() {
    in_a_database(500, 12);
}

#[test]
#[ignore = "takes minutes; `docs/knowledge.md` has its output"]
fn a_file_survives_ten_thousand_operations() {
    in_a_file(10_000, 200);
}

#[test]
#[ignore = "takes minutes; `docs/knowledge.md` has its output"]
fn a_database_survives_ten_thousand_operations() {
    in_a_database(10_000, 200);
}
