use autoglm_spec::Cancel;

use super::*;
use crate::scripted::{Words, Writer, document, passage};
use crate::store::{SqliteStore, VectorKey};

fn collection(texts: &[&str]) -> (SqliteStore, Words) {
    use autoglm_spec::Embed as _;
    let (mut store, words) = (SqliteStore::in_memory().unwrap(), Words::new("words"));
    store.set_space(Some(words.space())).unwrap();
    let vectors: Vec<_> = texts
        .iter()
        .map(|text| (VectorKey::of(text), Words::vector(text)))
        .collect();
    store.put_vectors(&vectors).unwrap();
    let passages = texts.iter().map(|text| passage(&[], text)).collect();
    store.put_document(&document("a", passages)).unwrap();
    (store, words)
}

fn texts(found: &[Ranked]) -> Vec<&str> {
    found
        .iter()
        .map(|ranked| ranked.passage.text.as_str())
        .collect()
}

#[test]
fn further_connections_find_the_same_for_as_many_queries_as_there_are() {
    use autoglm_spec::Embed as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    let words = Words::new("words");
    let mut store = SqliteStore::open(&path).unwrap();
    store.set_space(Some(words.space())).unwrap();
    let texts = ["oil the pump", "oil paint", "the red valve"];
    let vectors = texts.map(|text| (VectorKey::of(text), Words::vector(text)));
    store.put_vectors(&vectors).unwrap();
    let passages = texts.iter().map(|text| passage(&[], text)).collect();
    store.put_document(&document("a", passages)).unwrap();
    let searcher = Searcher {
        store: &store,
        embed: Some(&words),
    };
    let (settings, cancel) = (SearchSettings::default(), Cancel::default());
    let queries = ["oil", "valve", "red paint", "pump", "the oil"];
    for connections in 0..4 {
        let open = |_| Box::new(SqliteStore::open(&path).unwrap()) as Box<dyn Store>;
        let mut others: Vec<_> = (0..connections).map(open).collect();
        for count in 0..=queries.len() {
            let queries = &queries[..count];
            let wanted: Vec<_> = queries
                .iter()
                .map(|query| searcher.search(query, &settings, &cancel).unwrap())
                .collect();
            let found = searcher.search_all_on(&mut others, queries, &settings, &cancel);
            assert_eq!(found.unwrap(), wanted);
        }
    }
}

#[test]
fn both_lists_are_told_and_add_up_to_the_score() {
    let (store, words) = collection(&["oil the pump", "oil paint", "the red valve"]);
    let searcher = Searcher {
        store: &store,
        embed: Some(&words),
    };
    for fusion in [Fusion::Blend, Fusion::ReciprocalRank { constant: 60.0 }] {
        let settings = SearchSettings {
            fusion,
            ..SearchSettings::default()
        };
        let found = searcher
            .search("oil pump", &settings, &Cancel::default())
            .unwrap();
        assert_eq!(texts(&found)[0], "oil the pump");
        assert_eq!(found.len(), 3);
        for ranked in &found {
            let sum: f64 = ranked.lists.iter().map(|share| share.adds).sum();
            assert!((sum - ranked.score).abs() < 1e-12);
        }
        let first: Vec<(ListName, usize)> =
            found[0].lists.iter().map(|s| (s.list, s.rank)).collect();
        assert_eq!(first, [(ListName::Words, 1), (ListName::Meaning, 1)]);
    }
    let rrf = SearchSettings {
        fusion: Fusion::ReciprocalRank { constant: 60.0 },
        ..SearchSettings::default()
    };
    let found = searcher
        .search("oil pump", &rrf, &Cancel::default())
        .unwrap();
    assert!((found[0].score - 1.0 / 61.0).abs() < 1e-12);
}

#[test]
fn weights_of_zero_and_no_model_leave_a_list_out() {
    let (store, words) = collection(&["oil the pump", "the red valve"]);
    let searcher = Searcher {
        store: &store,
        embed: Some(&words),
    };
    let lists = |searcher: &Searcher<'_>, settings: &SearchSettings| {
        let found = searcher
            .search("pump", settings, &Cancel::default())
            .unwrap();
        let mut lists: Vec<ListName> = found
            .iter()
            .flat_map(|r| &r.lists)
            .map(|s| s.list)
            .collect();
        lists.sort();
        lists.dedup();
        lists
    };
    let words_alone = SearchSettings {
        dense_weight: 0.0,
        ..SearchSettings::default()
    };
    let meaning_alone = SearchSettings {
        lexical_weight: 0.0,
        ..SearchSettings::default()
    };
    assert_eq!(lists(&searcher, &words_alone), [ListName::Words]);
    assert_eq!(lists(&searcher, &meaning_alone), [ListName::Meaning]);
    let without = Searcher {
        store: &store,
        embed: None,
    };
    assert_eq!(
        lists(&without, &SearchSettings::default()),
        [ListName::Words]
    );
}

#[test]
fn chinese_queries_are_not_compared_by_vectors_that_know_no_chinese() {
    let (store, words) = collection(&["给水泵加油", "oil the pump"]);
    let searcher = Searcher {
        store: &store,
        embed: Some(&words),
    };
    let settings = SearchSettings {
        vectors_know_chinese: false,
        ..SearchSettings::default()
    };
    let found = searcher
        .search_all(&["水泵", "pump"], &settings, &Cancel::default())
        .unwrap();
    assert_eq!(texts(&found[0]), ["给水泵加油"]);
    assert_eq!(found[1].len(), 2);
}

#[test]
fn another_model_than_the_collections_is_refused() {
    let (store, _) = collection(&["oil"]);
    let other = Words::new("other");
    let searcher = Searcher {
        store: &store,
        embed: Some(&other),
    };
    let error = searcher
        .search("oil", &SearchSettings::default(), &Cancel::default())
        .unwrap_err();
    assert!(matches!(error, RetrieveError::Space { .. }), "{error}");
}

#[test]
fn diversity_takes_an_unlike_passage_before_one_that_says_the_same() {
    let (store, words) = collection(&["oil pump", "oil pump pump", "oil gold"]);
    let searcher = Searcher {
        store: &store,
        embed: Some(&words),
    };
    let plain = SearchSettings {
        limit: 2,
        ..SearchSettings::default()
    };
    let found = searcher
        .search("oil pump", &plain, &Cancel::default())
        .unwrap();
    assert!(!texts(&found).contains(&"oil gold"));
    let diverse = SearchSettings {
        diversity: 0.7,
        ..plain
    };
    let found = searcher
        .search("oil pump", &diverse, &Cancel::default())
        .unwrap();
    assert_eq!(texts(&found)[1], "oil gold");
}

#[test]
fn the_models_opinion_moves_passages_and_is_told() {
    let (store, words) = collection(&["oil oil", "pump oil monthly"]);
    let searcher = Searcher {
        store: &store,
        embed: Some(&words),
    };
    let model = Writer::new("");
    for relevance in [Relevance::Likelihood, Relevance::YesNo] {
        let found = searcher
            .search(
                "oil monthly",
                &SearchSettings::default(),
                &Cancel::default(),
            )
            .unwrap();
        let rerank = Rerank {
            relevance,
            weight: 1.0,
            ..Rerank::default()
        };
        let found = rerank
            .apply(&model, "oil monthly", found, &Cancel::default())
            .unwrap();
        assert!(found.iter().all(|ranked| ranked.relevance.is_some()));
        if relevance == Relevance::Likelihood {
            assert_eq!(texts(&found)[0], "pump oil monthly");
        }
    }
}

#[test]
fn a_question_that_leans_on_another_is_made_to_stand_alone() {
    let turns = [Turn {
        question: "How often is the pump oiled?".to_owned(),
        answer: "Monthly.".to_owned(),
    }];
    let ask = |wording: Option<&str>, question: &str| {
        let model = wording.map(Writer::new);
        let model = model
            .as_ref()
            .map(|model| model as &dyn autoglm_spec::Generate);
        rewrite(model, &turns, question, &Cancel::default()).unwrap()
    };
    assert_eq!(ask(None, "And the valve?"), "pump oiled And the valve?");
    assert_eq!(
        ask(Some("How often is the valve oiled?"), "And the valve?"),
        "How often is the valve oiled?"
    );
    // A wording with words that nobody said is not believed, nor one that is about something else.
    assert_eq!(
        ask(Some("Is the valve of steel?"), "And the valve?"),
        "pump oiled And the valve?"
    );
    assert_eq!(
        ask(Some("How often is the pump oiled?"), "And the valve?"),
        "pump oiled And the valve?"
    );
    assert_eq!(
        rewrite(None, &[], "And the valve?", &Cancel::default()).unwrap(),
        "And the valve?"
    );
}
