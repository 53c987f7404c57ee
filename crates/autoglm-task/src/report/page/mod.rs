//! The page of a report: one HTML file that loads nothing, runs no script, and reads on a telephone
//! and on a desk, by day and by night.

mod accuracy;
mod confidence;
mod confusion;
mod learning;
mod overview;
mod plot;
mod records;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::TaskReport;
use crate::moment::utc;

const STYLE: &str = include_str!("style.css");

/// What a browser is told to refuse, in case a text of a record should ever pass for markup.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";

/// What all sections need.
#[derive(Clone, Copy)]
struct Context<'a> {
    report: &'a TaskReport,
    /// The task as command lines name it.
    task: &'a str,
    /// The language tag of the task's texts.
    language: &'static str,
}

/// A report as HTML.
///
/// `task` is how the user names the task, its file or its words: the page gives command lines for
/// what it shows.
pub fn page(report: &TaskReport, task: &str) -> String {
    let context = Context {
        report,
        task,
        language: words::language(report.task.language),
    };
    harmless(&whole(context).into_string())
}

fn whole(context: Context<'_>) -> Markup {
    let name = &context.report.task.name;
    let sections = sections(context);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (name) " · AutoGLM report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { bdi lang=(context.language) { (name) } }
                    nav aria-label="Sections" {
                        @for (id, title, _) in &sections { a href={"#" (id)} { (title) } " " }
                    }
                }
                main {
                    @for (id, title, content) in &sections {
                        section id=(id) aria-labelledby={(id) "-title"} {
                            h2 id={(id) "-title"} { (title) }
                            (content)
                        }
                    }
                }
                footer {
                    p { "Made by " code { "autoglm report" } " at " (utc(context.report.made_ms)) " UTC." }
                }
            }
        }
    }
}

/// The sections in their order: identifier, title, content.
fn sections(context: Context<'_>) -> [(&'static str, &'static str, Markup); 7] {
    [
        ("overview", "Overview", overview::section(context)),
        (
            "versions",
            "Accuracy by version",
            accuracy::section(context),
        ),
        ("confidence", "Confidence", confidence::section(context)),
        ("confusion", "Confusions", confusion::section(context)),
        ("learning", "Learning curve", learning::section(context)),
        (
            "costliest",
            "Costliest records",
            records::costliest(context),
        ),
        (
            "least-sure",
            "Least sure records",
            records::least_sure(context),
        ),
    ]
}

/// Says what command fills a section that has nothing to show.
fn nothing(why: &str, command: &str) -> Markup {
    html! {
        p.nothing { (why) }
        pre tabindex="0" { code { (command) } }
    }
}

/// A table that may be wider than the page.
fn scrolling(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// A text without the characters that no HTML document may hold; records may hold any.
fn harmless(html: &str) -> String {
    let is_plain = |c: char| {
        let is_blank = matches!(c, '\n' | '\t' | ' ');
        let is_noncharacter = matches!(c, '\u{FDD0}'..='\u{FDEF}') || c as u32 & 0xFFFE == 0xFFFE;
        is_blank || !(c.is_control() || is_noncharacter)
    };
    let replaced = |c: char| {
        if is_plain(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    let one_kind_of_line = html.replace("\r\n", "\n").replace('\r', "\n");
    one_kind_of_line.chars().map(replaced).collect()
}
