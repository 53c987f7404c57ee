//! `autoglm model versions|update|promote|rollback`: the versions of models that a running server
//! has, and which of them answers.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::model::write_table;
use crate::engine::ServerArgs;

/// List the versions of models that a running server has.
#[derive(Debug, Args)]
pub(super) struct VersionsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Load a version of a model into a running server, beside the live one: it is examined and, unless
/// told otherwise, takes over.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The name that the server serves the model by.
    name: String,
    /// The version: a GGUF file, a folder with safetensors or a name, as the server finds it.
    model: String,
    /// Let it answer this share of requests, in percent, until it is promoted or rolled back.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,
    /// Let it answer copies of requests, which are compared with what was given.
    #[arg(long, conflicts_with = "canary")]
    shadow: bool,
    /// Take a healthy version that is merely unlike the live one.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Promote: put the version on trial in the live one's place. Rollback: take it off its trial, or
/// take the version before the live one back.
#[derive(Debug, Args)]
pub(super) struct NamedArgs {
    /// The name that the server serves the model by.
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Prints all versions.
///
/// # Errors
/// A server that does not answer.
pub(super) fn list(args: &VersionsArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let told = args.server.call("admin/models", None)?;
    let models = told["models"].as_array();
    let models = models.context("the server does not tell its models")?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(models)?)?;
        return Ok(());
    }
    write_versions(models, out)
}

/// Loads a version.
///
/// # Errors
/// A server that does not answer, or a version that it refuses.
pub(super) fn update(args: &UpdateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut body = json!({"source": source(&args.model)?, "force": args.force});
    if let Some(percent) = args.canary {
        body["mode"] = "canary".into();
        body["percent"] = percent.into();
    } else if args.shadow {
        body["mode"] = "shadow".into();
    }
    change(&args.server, &args.name, "update", &body, out)
}

/// Puts the version on trial in the live one's place.
///
/// # Errors
/// A server that does not answer, or a model without a version on trial.
pub(super) fn promote(args: &NamedArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    change(&args.server, &args.name, "promote", &json!({}), out)
}

/// Ends a trial, or takes the version before back.
///
/// # Errors
/// A server that does not answer, or a model without such a version.
pub(super) fn roll_back(args: &NamedArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    change(&args.server, &args.name, "rollback", &json!({}), out)
}

fn change(
    server: &ServerArgs,
    name: &str,
    what: &str,
    body: &Value,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let path = format!("admin/models/{}/{what}", escaped(name));
    let told = server.call(&path, Some(body))?;
    write_versions(std::slice::from_ref(&told), out)
}

/// A file that is there is named as the server finds it, whatever folder that runs in.
fn source(model: &str) -> anyhow::Result<String> {
    let path = Path::new(model);
    if !path.exists() {
        return Ok(model.to_owned());
    }
    let path = std::path::absolute(path).context("cannot tell the model's whole path")?;
    let path = path.to_str().context("the model's path is no text")?;
    Ok(path.to_owned())
}

/// A name as a part of a path: bytes that are not plain stand as their numbers.
fn escaped(name: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(one).collect()
}

fn write_versions(models: &[Value], out: &mut dyn Write) -> anyhow::Result<()> {
    let header = [
        "NAME",
        "VERSION",
        "STATE",
        "FINGERPRINT",
        "ANSWERED",
        "FAILED",
        "CONTENT",
        "SOURCE",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for model in models {
        let places = [
            ("live", "live".to_owned()),
            ("candidate", trial(&model["candidate"])),
            ("previous", "before".to_owned()),
        ];
        let there = places.iter().filter(|(place, _)| !model[place].is_null());
        rows.extend(there.map(|(place, state)| row(&model["name"], &model[place], state)));
    }
    write_table(&rows, out)?;
    Ok(())
}

/// What a candidate's trial is.
fn trial(candidate: &Value) -> String {
    match candidate["mode"]["canary_percent"].as_u64() {
        Some(percent) => format!("canary {percent} %"),
        None => shown(&candidate["mode"]),
    }
}

fn row(name: &Value, version: &Value, state: &str) -> [String; 8] {
    let content: String = shown(&version["content"]).chars().take(12).collect();
    [
        shown(name),
        shown(&version["version"]),
        state.to_owned(),
        shown(&version["system_fingerprint"]),
        shown(&version["answered"]),
        shown(&version["failed"]),
        content,
        shown(&version["source"]),
    ]
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
