use autoglm_spec::Calibration;
use serde_json::json;

use super::tests::{Desk, store};
use super::*;
use crate::eval::labelled;
use crate::scripted::{Script, record, review_task};
use crate::store::SqliteStore;
use crate::strategy::{Strategy, StrategyState};

/// Understands films where the prompt asks about films, and books where it asks about books; of the
/// other it says the contrary. Without either it finds everything good.
fn specialist(prompt: &str) -> Option<usize> {
    let text = prompt.rsplit("Review: ").next()?;
    let is_bad = usize::from(text.contains("awful"));
    let asks = |thing: &str| prompt.contains(&format!("Judge the {thing}."));
    match (asks("film"), asks("book"), text.contains("film")) {
        (true, _, true) | (_, true, false) => Some(is_bad),
        (true, _, false) | (_, true, true) => Some(1 - is_bad),
        (false, false, _) => Some(0),
    }
}

fn rows(count: usize) -> Vec<Labelled> {
    let row = |i: usize| {
        let thing = ["film", "book"][i % 2];
        let (word, gold) = [("great", "positive"), ("awful", "negative")][i / 2 % 2];
        record(&json!({"text": format!("a {word} {thing} number {i}"), "label": gold}))
    };
    labelled(&review_task(), None, (0..count).map(row))
}

fn candidate(instruction: &str) -> Candidate {
    let written = Strategy::as_written(&RunSettings::default());
    Candidate {
        version: None,
        strategy: Strategy {
            instruction: Some(instruction.to_owned()),
            calibration: Calibration::None,
            ..written
        },
    }
}

fn keen() -> Script {
    Script {
        prefers: Some(specialist),
        ..Script::default()
    }
}

fn routing(desk: &Desk) -> Routing<'_> {
    Routing {
        spec: &desk.spec,
        settings: &desk.settings,
        live: Candidate {
            version: None,
            strategy: desk.start.clone(),
        },
        branches: vec![candidate("Judge the film."), candidate("Judge the book.")],
        engine: &desk.engine,
        records: rows(300),
        told: Vec::new(),
        seed: 1,
        scope: "scripted",
        origin: "test",
        hold: None,
    }
}

fn teach(desk: &Desk, routing: &Routing<'_>, store: &mut SqliteStore) -> RouteReport {
    let report = desk.with_hooks(|hooks| route(routing, store, hooks));
    report.unwrap().expect("nobody stopped it")
}

#[test]
fn a_route_between_specialists_is_learnt_promoted_and_told() {
    let (desk, mut store) = (Desk::new(keen(), 0, 0), store());
    let report = teach(&desk, &routing(&desk), &mut store);
    assert_eq!(report.decision, Decision::Promoted, "{report}");
    assert!(report.untouched.worth.second > 0.95, "{report}");
    for branch in &report.branches {
        assert!((branch.accuracy - 0.5).abs() < 0.05, "{report}");
        assert!((branch.only - 0.5).abs() < 0.1, "{report}");
    }
    assert!(report.asked < 1.1, "{report}");
    assert_eq!(report.untouched.worth.rows, 100);
    let key = StrategyKey::of(&desk.spec);
    let live = store.live_strategy(&key).unwrap().unwrap();
    assert_eq!((live.id, live.state), (report.version, StrategyState::Live));
    let learnt = live.strategy.route.unwrap();
    assert_eq!(learnt.lessons.len(), report.lessons[0]);
    for part in ["alone for", "which is live", "is better, and live"] {
        assert!(report.to_string().contains(part), "{part}: {report}");
    }
}

#[test]
fn the_same_again_asks_nothing_and_is_the_same_version() {
    let (desk, mut store) = (Desk::new(keen(), 0, 0), store());
    let first = teach(&desk, &routing(&desk), &mut store);
    let requests = desk.engine.requests();
    let again = teach(&desk, &routing(&desk), &mut store);
    assert_eq!(desk.engine.requests(), requests);
    assert_eq!(
        (again.version, again.untouched),
        (first.version, first.untouched)
    );
}

#[test]
fn a_route_that_is_not_better_than_what_is_live_stays_a_candidate() {
    // Answers by hash: no strategy knows any records.
    for seed in 0..8 {
        let (desk, mut store) = (Desk::new(Script::default(), 0, 0), store());
        let mut routing = routing(&desk);
        routing.seed = seed;
        let report = teach(&desk, &routing, &mut store);
        let better = report.untouched.is_better();
        assert_eq!(report.decision == Decision::Promoted, better, "{report}");
        let live = store.live_strategy(&StrategyKey::of(&desk.spec)).unwrap();
        assert_eq!(live.is_some(), better);
    }
}

#[test]
fn a_route_is_compared_with_a_route_that_is_live() {
    let (desk, mut store) = (Desk::new(keen(), 0, 0), store());
    let first = teach(&desk, &routing(&desk), &mut store);
    let mut again = routing(&desk);
    again.live = Candidate {
        version: Some(first.version),
        strategy: store.strategy(first.version).unwrap().strategy,
    };
    again.branches.push(candidate("Say anything."));
    let second = teach(&desk, &again, &mut store);
    assert!(second.untouched.worth.first > 0.95, "{second}");
    assert_eq!(second.decision, Decision::NotBetter, "{second}");
}

#[test]
fn feedback_teaches_and_is_not_measured_on() {
    let (desk, mut store) = (Desk::new(keen(), 0, 0), store());
    let mut routing = routing(&desk);
    let known = routing.records[0].clone();
    routing.told = rows(340).split_off(300);
    routing.told.push(known);
    let report = teach(&desk, &routing, &mut store);
    assert_eq!(report.lessons, [200 + 40, 40]);
    assert_eq!(report.untouched.worth.rows, 100);
    routing.hold = Some("for a reason");
    let held = teach(&desk, &routing, &mut SqliteStore::in_memory().unwrap());
    assert_eq!(held.decision, Decision::Held);
    assert!(held.to_string().contains("for a reason"));
}

#[test]
fn what_cannot_be_routed_to_is_refused_with_the_reason() {
    let desk = Desk::new(keen(), 0, 0);
    let refused = |branches: Vec<Candidate>| {
        let routing = Routing {
            branches,
            ..routing(&desk)
        };
        let refused = desk.with_hooks(|hooks| route(&routing, &mut store(), hooks));
        refused.unwrap_err().to_string()
    };
    let film = || candidate("Judge the film.");
    assert!(refused(vec![film()]).contains("at least 2 strategies, not 1"));
    assert!(refused(vec![film(), film()]).contains("does what another of them does"));
    let mut store = store();
    let report = teach(&desk, &routing(&desk), &mut store);
    let nested = Candidate {
        version: Some(report.version),
        strategy: store.strategy(report.version).unwrap().strategy,
    };
    assert!(refused(vec![film(), nested]).contains("it is a route itself"));
}
