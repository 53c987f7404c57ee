//! How fast and how right search is in a large collection of generated passages.
//!
//! `cargo run --release -p autoglm-retrieve --example million -- FILE [PASSAGES]` makes the collection
//! where FILE is not there, and measures it. In the place of FILE may stand the address of a database
//! of PostgreSQL, `postgres://USER@HOST/DATABASE`.
//!
//! Words are drawn as in language, the n-th with a probability of about 1/n. Vectors are those of
//! topics with subjects of few dimensions inside each, as embeddings of texts are, and noise around
//! them; a query is a passage's vector with as much noise again.

#![expect(clippy::print_stdout, reason = "an example shows what it has measured")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use autoglm_retrieve::search::{SearchSettings, Searcher};
use autoglm_retrieve::store::{
    Filter, Hit, PostgresAddress, PostgresStore, SqliteStore, Store, VectorKey,
};
use autoglm_retrieve::text::{TextLanguage, content_words};
use autoglm_retrieve::{Document, DocumentState, Passage, PassageId, Place, RetrieveError, Within};
use autoglm_spec::{Cancel, Embed, Embedding, EmbeddingSpace, EngineError, Similarity};

/// Numbers of a vector, as many as those of the default model.
const WIDTH: usize = 384;
const TOPICS: usize = 2_000;
/// Dimensions of the subjects inside a topic.
const SUBJECT_WIDTH: usize = 16;
const WORDS: usize = 200_000;
const WORDS_PER_PASSAGE: usize = 60;
const PASSAGES_PER_DOCUMENT: usize = 1_000;
const QUERIES: usize = 500;
/// Queries whose exact neighbours are looked for.
const EXACT_QUERIES: usize = 100;

fn main() -> Result<(), RetrieveError> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments
        .next()
        .unwrap_or_else(|| "million.sqlite".to_owned());
    let passages: usize = arguments
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let mut store = open(&file)?;
    let world = World::new();
    if store.about()?.documents == 0 {
        let started = Instant::now();
        fill(&mut *store, &world, passages)?;
        println!(
            "{passages} passages written in {:.0} s",
            started.elapsed().as_secs_f64()
        );
        let started = Instant::now();
        store.tidy()?;
        println!("codes made in {:.0} s", started.elapsed().as_secs_f64());
    }
    println!("{:?}", store.about()?);
    if let Ok(file) = std::fs::metadata(&file) {
        println!("{} MiB on the disk", file.len() >> 20);
    }
    recall(&*store, &world, passages)?;
    meaning(&*store, &world, passages)?;
    words(&*store, passages)?;
    both(&*store, &world, passages)?;
    println!("memory: {}", memory());
    Ok(())
}

fn open(place: &str) -> Result<Box<dyn Store>, RetrieveError> {
    if place.starts_with("postgres") {
        let address = PostgresAddress::parse(place)?;
        return Ok(Box::new(PostgresStore::open(&address, "million")?));
    }
    Ok(Box::new(SqliteStore::open(Path::new(place))?))
}

/// Random numbers that are the same everywhere.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// About normal: the sum of four has the right deviation.
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.unit() - 0.5).sum();
        sum * 3.0_f32.sqrt()
    }
}

struct World {
    topics: Vec<Vec<f32>>,
    subjects: Vec<Vec<f32>>,
}

impl World {
    fn new() -> Self {
        let mut stream = Stream(1);
        let mut rows = |count: usize| -> Vec<Vec<f32>> {
            let row = |stream: &mut Stream| (0..WIDTH).map(|_| stream.normal()).collect();
            (0..count).map(|_| row(&mut stream)).collect()
        };
        Self {
            topics: rows(TOPICS),
            subjects: rows(TOPICS * SUBJECT_WIDTH / 16),
        }
    }

    /// The vector of a passage.
    fn vector(&self, passage: usize) -> Vec<f32> {
        let mut stream = Stream(passage as u64 + 1_000);
        let topic = stream.next() as usize % TOPICS;
        let mut vector = self.topics[topic].clone();
        for n in 0..SUBJECT_WIDTH {
            let weight = 0.5 * stream.normal();
            let subject = &self.subjects[(topic + n * 37) % self.subjects.len()];
            vector
                .iter_mut()
                .zip(subject)
                .for_each(|(x, s)| *x += weight * s);
        }
        noisy(vector, &mut stream)
    }

    fn query(&self, passage: usize) -> Vec<f32> {
        noisy(self.vector(passage), &mut Stream(passage as u64 + 77))
    }
}

/// A vector of length 1 with noise of a third of its length.
fn noisy(mut vector: Vec<f32>, stream: &mut Stream) -> Vec<f32> {
    let length = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let size = length(&vector) / (WIDTH as f32).sqrt() / 3.0;
    for x in &mut vector {
        *x += size * stream.normal();
    }
    let length = length(&vector);
    vector.iter().map(|x| x / length).collect()
}

fn text(passage: usize) -> String {
    let mut stream = Stream(passage as u64);
    let mut text = format!("p{passage}");
    for _ in 0..WORDS_PER_PASSAGE {
        // The logarithm of a word's rank is spread evenly.
        let rank = (f64::from(stream.unit()) * (WORDS as f64).ln()).exp() as usize;
        let _ = write!(text, " w{rank}");
    }
    text
}

fn fill(store: &mut dyn Store, world: &World, passages: usize) -> Result<(), RetrieveError> {
    store.set_space(Some(&space()))?;
    for first in (0..passages).step_by(PASSAGES_PER_DOCUMENT) {
        let numbers = first..(first + PASSAGES_PER_DOCUMENT).min(passages);
        let texts: Vec<String> = numbers.clone().map(text).collect();
        let vectors: Vec<_> = numbers
            .zip(&texts)
            .map(|(n, text)| (VectorKey::of(text), world.vector(n)))
            .collect();
        store.put_vectors(&vectors)?;
        store.put_document(&Document {
            path: format!("{first}.txt"),
            state: DocumentState {
                hash: [0; 32],
                size_bytes: 0,
                modified_ns: None,
            },
            format: "text".to_owned(),
            passages: texts.into_iter().map(passage).collect(),
        })?;
    }
    Ok(())
}

fn passage(text: String) -> Passage {
    Passage {
        id: PassageId(0),
        document: String::new(),
        titles: Vec::new(),
        record: None,
        place: Place {
            start: 0,
            end: text.len(),
            within: Within::File,
            line: Some(1),
            page: None,
        },
        language: TextLanguage::English,
        meta: serde_json::Map::new(),
        tokens: WORDS_PER_PASSAGE,
        text,
    }
}

/// Passages that queries are made of, at equal steps.
fn asked(passages: usize, queries: usize) -> impl Iterator<Item = usize> {
    (0..queries).map(move |n| n * passages / queries)
}

fn recall(store: &dyn Store, world: &World, passages: usize) -> Result<(), RetrieveError> {
    let queries: Vec<Vec<f32>> = asked(passages, EXACT_QUERIES)
        .map(|n| world.query(n))
        .collect();
    let mut best: Vec<Vec<(f32, usize)>> = vec![Vec::new(); queries.len()];
    for n in 0..passages {
        let vector = world.vector(n);
        for (query, best) in queries.iter().zip(&mut best) {
            let product: f32 = query.iter().zip(&vector).map(|(a, b)| a * b).sum();
            if best.len() < 10 || product > best[best.len() - 1].0 {
                best.push((product, n));
                best.sort_by(|a, b| b.0.total_cmp(&a.0));
                best.truncate(10);
            }
        }
    }
    let mut right = 0;
    for (query, best) in queries.iter().zip(&best) {
        let near = store.nearest(query, &Filter::default(), 10)?;
        let ids: Vec<PassageId> = near.iter().map(|hit| hit.passage).collect();
        let found = store.passages(&ids)?;
        let name = |n: &usize| format!("p{n} ");
        right += best
            .iter()
            .filter(|(_, n)| found.iter().any(|p| p.text.starts_with(&name(n))))
            .count();
    }
    println!(
        "recall@10 {:.4}",
        right as f64 / (queries.len() * 10) as f64
    );
    Ok(())
}

fn meaning(store: &dyn Store, world: &World, passages: usize) -> Result<(), RetrieveError> {
    for limit in [10, 100] {
        let mut times = Vec::new();
        for n in asked(passages, QUERIES) {
            let query = world.query(n + 13);
            let started = Instant::now();
            store.nearest(&query, &Filter::default(), limit)?;
            times.push(started.elapsed());
        }
        report(&format!("by meaning, {limit} passages"), times);
    }
    Ok(())
}

/// Six words of a passage, common and rare as they come.
fn six_words(passage: usize) -> String {
    let text = text(passage);
    let words: Vec<&str> = text.split(' ').skip(1).step_by(10).collect();
    words.join(" ")
}

fn words(store: &dyn Store, passages: usize) -> Result<(), RetrieveError> {
    let mut times = Vec::new();
    for n in asked(passages, QUERIES) {
        let query = six_words(n);
        let started = Instant::now();
        store.lexical(&content_words(&query), &Filter::default(), 100)?;
        times.push(started.elapsed());
    }
    report("by words, 100 passages", times);
    // A filter that lets all through makes a search rank whatever has any of the words.
    let all = Filter::parse(&["path=*"])?;
    let mut right = 0;
    for n in asked(passages, EXACT_QUERIES) {
        let words = content_words(&six_words(n));
        let exact = store.lexical(&words, &all, 10)?;
        let found = store.lexical(&words, &Filter::default(), 10)?;
        let is_found = |hit: &&Hit| found.iter().any(|other| other.passage == hit.passage);
        right += exact.iter().filter(is_found).count();
    }
    println!(
        "of the 10 best of all passages with any of the words: {:.4}",
        right as f64 / (EXACT_QUERIES * 10) as f64
    );
    Ok(())
}

/// A whole search as `autoglm search` does it, but for the vector of the query, which is there.
fn both(store: &dyn Store, world: &World, passages: usize) -> Result<(), RetrieveError> {
    let mut times = Vec::new();
    for n in asked(passages, QUERIES) {
        let embed = Query {
            space: space(),
            vector: world.query(n + 13),
        };
        let searcher = Searcher {
            store,
            embed: Some(&embed),
        };
        let (query, settings) = (six_words(n), SearchSettings::default());
        let started = Instant::now();
        searcher.search(&query, &settings, &Cancel::default())?;
        times.push(started.elapsed());
    }
    report("by both, 10 passages of 100 of each list", times);
    Ok(())
}

/// Knows the vector of one query.
struct Query {
    space: EmbeddingSpace,
    vector: Vec<f32>,
}

impl Embed for Query {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let embedding = Embedding {
            vector: self.vector.clone(),
            tokens: 6,
            cut_tokens: 0,
        };
        texts.iter().map(|_| Ok(embedding.clone())).collect()
    }
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace {
        name: "topics".to_owned(),
        dimensions: WIDTH,
        max_tokens: 512,
        similarity: Similarity::Cosine,
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| {
        times[times.len() * share / 100 - usize::from(share == 100)].as_secs_f64() * 1e3
    };
    println!(
        "{what}: median {:.1} ms, 99 % within {:.1} ms, the longest {:.1} ms",
        at(50),
        at(99),
        at(100)
    );
}

/// What the process holds, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status
        .lines()
        .filter(|line| line.starts_with("RssAnon") || line.starts_with("VmHWM"));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}
