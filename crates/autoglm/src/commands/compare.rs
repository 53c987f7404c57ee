//! `autoglm eval --compare`: two strategies on the same records, with a paired test.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use autoglm_task::Row;
use autoglm_task::eval::{Compared, Evaluation, Grade, Measure, Report};
use autoglm_task::file::TaskFile;
use autoglm_task::optimize::LEAST_UNTOUCHED;
use autoglm_task::store::SqliteStore;
use autoglm_task::strategy::{Strategy, StrategyKey, StrategyVersion};
use serde_json::json;

use super::choice::{StrategyName, numbered, with_soft_prompt};
use super::eval::{EvalArgs, Measured, answer};
use super::knowledge::passages::Passages;
use super::records::readable;
use super::select::{Library, choosing, counter, open_selector};
use super::task::{engine_args, need};
use super::teach::Teacher;
use super::workbench::Site;
use crate::engine::{OpenEngine, Pool};
use crate::exit;
use crate::interrupt::cancel_on_interrupt;

/// Seed of the samples that the interval is made of: the same comparison gives the same interval.
const SEED: u64 = 1;

/// Runs both strategies and tells which is better.
///
/// # Errors
/// A strategy that does not exist, and whatever ends an evaluation.
pub(super) fn compare(
    args: &EvalArgs,
    task: &TaskFile,
    store: &mut SqliteStore,
    home: &Path,
    names: [StrategyName; 2],
) -> anyhow::Result<ExitCode> {
    let key = StrategyKey::of(&task.spec);
    let version = |name, store: &SqliteStore| match name {
        StrategyName::None => Ok(None),
        StrategyName::Number(id) => numbered(id, &key, store).map(Some),
    };
    let versions = [version(names[0], store)?, version(names[1], store)?];
    let held_out = readable(args.data(), &task.spec)?;
    let mut engine: Option<(Option<String>, OpenEngine)> = None;
    let cancel = cancel_on_interrupt();
    let site = Site {
        home,
        pool: &Pool::default(),
        cancel: &cancel,
    };
    let passages = Passages::shared(&task.spec, args.engine.local.threads, home)?;
    let mut sides = Vec::new();
    for version in &versions {
        let strategy = version.as_ref().map(|version| &version.strategy);
        let adapter = soft_prompt_of(strategy);
        let with = with_soft_prompt(engine_args(&args.engine, task), strategy)?;
        if engine.as_ref().is_none_or(|(with, _)| *with != adapter) {
            // The first is given back before the second is loaded.
            drop(engine.take());
            engine = Some((adapter, with.open(home, need(&task.spec))?));
        }
        let (_, engine) = engine.as_ref().expect("it was opened above");
        let (spec, settings) = args.calibration.plan(task, strategy);
        args.calibration.check(&settings)?;
        let teacher = Teacher::new(engine, &with, site);
        let library = Library::Stored(&held_out);
        let selector = open_selector(&spec, &settings, &library, &teacher, store)?;
        let tokens = counter(engine);
        let measured = Measured {
            engine,
            taught: None,
            choosing: choosing(selector.as_ref(), &teacher, &tokens),
            learning: None,
            similar: args.calibration.similar(home, task, &settings)?,
            strategy: version.as_ref().map(|version| version.id),
            passages: passages.clone(),
            settings,
        };
        let Some(answered) = answer(args, &spec, &measured, store, &cancel)? else {
            return Ok(exit::interrupted());
        };
        let evaluation = answered.evaluation(args, &spec, &measured);
        let side = Side::new(version.as_ref(), &evaluation, &answered.rows)?;
        answered.keep(args, measured.strategy, &side.report, store)?;
        sides.push(side);
    }
    print(args, &sides)?;
    Ok(ExitCode::SUCCESS)
}

fn soft_prompt_of(strategy: Option<&Strategy>) -> Option<String> {
    let soft = strategy.and_then(|strategy| strategy.soft_prompt.as_ref());
    soft.map(|soft| soft.hash.clone())
}

/// One of the two.
struct Side {
    name: String,
    changes: Vec<String>,
    report: Report,
    measure: Measure,
    grades: BTreeMap<u64, Grade>,
}

impl Side {
    fn new(
        version: Option<&StrategyVersion>,
        evaluation: &Evaluation<'_>,
        rows: &[Row],
    ) -> anyhow::Result<Self> {
        let (measure, grades) = evaluation.grades(rows)?;
        Ok(Self {
            name: version.map_or("the task as written".to_owned(), |version| {
                format!("strategy {}", version.id.0)
            }),
            changes: version.map_or_else(Vec::new, |version| version.changes.clone()),
            report: evaluation.of(rows)?,
            measure,
            grades,
        })
    }
}

/// The second beside the first, and the first beside the second.
fn compared(sides: &[Side]) -> [Compared; 2] {
    let both = sides[0].grades.iter().filter_map(|(place, first)| {
        let second = sides[1].grades.get(place)?;
        Some((first.clone(), second.clone()))
    });
    let (first, second): (Vec<Grade>, Vec<Grade>) = both.unzip();
    [
        Compared::of(&first, &second, SEED),
        Compared::of(&second, &first, SEED),
    ]
}

fn print(args: &EvalArgs, sides: &[Side]) -> anyhow::Result<()> {
    let [compared, turned] = compared(sides);
    let mut out = std::io::stdout().lock();
    if args.json {
        let found = json!({
            "measure": sides[0].measure,
            "a": {"strategy": sides[0].name, "report": sides[0].report},
            "b": {"strategy": sides[1].name, "report": sides[1].report},
            "paired": compared,
            "b_is_better": is_better(&compared),
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(());
    }
    for (letter, side) in ["A", "B"].iter().zip(sides) {
        writeln!(out, "{letter}: {}", side.name)?;
        for change in &side.changes {
            writeln!(out, "   {change}")?;
        }
    }
    writeln!(out, "{}, B against A: {compared}", sides[0].measure)?;
    writeln!(out, "{}", told(&compared, &turned))?;
    Ok(())
}

/// Whether the second is better by the rule of promotion.
fn is_better(compared: &Compared) -> bool {
    compared.worth.rows >= LEAST_UNTOUCHED && compared.is_better()
}

/// Which one is better, in words.
fn told(compared: &Compared, turned: &Compared) -> &'static str {
    if is_better(compared) {
        "B is better"
    } else if is_better(turned) {
        "A is better"
    } else {
        "these records do not tell which is better"
    }
}
