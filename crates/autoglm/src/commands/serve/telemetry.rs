//! Where `autoglm serve` sends what it observes.

use std::time::Duration;

use autoglm_server::{LogFormat, LogWriter, OtlpSettings, Sampling, Telemetry, TelemetrySettings};
use clap::{Args, ValueEnum};

/// How long what is not sent yet may take when the server ends.
const CLOSING: Duration = Duration::from_secs(5);

/// What is told of requests, and to whom.
#[derive(Debug, Args)]
pub(super) struct TelemetryArgs {
    /// One line a request on standard error; none when not given. Lines hold no prompt, no answer
    /// and no key.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log: Option<LogName>,
    /// A collector of OpenTelemetry, such as `http://localhost:4318`: traces, metrics and log records
    /// are sent to it.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// The share of requests that are followed by traces, from 0 to 1; it can be changed while the
    /// server runs.
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = ratio)]
    trace_ratio: f64,
    /// Put what is said to models and what they answer into traces.
    #[arg(long)]
    trace_content: bool,
}

/// [`LogFormat`] by the names of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogName {
    /// An object of JSON.
    Json,
    /// For people.
    Text,
}

impl From<LogName> for LogFormat {
    fn from(name: LogName) -> Self {
        match name {
            LogName::Json => Self::Json,
            LogName::Text => Self::Text,
        }
    }
}

/// What writes lines, for as long as the server runs.
pub(super) struct Log(Option<LogWriter>);

impl TelemetryArgs {
    /// What is observed, and what writes its lines.
    pub(super) fn open(&self) -> (Telemetry, Log) {
        let writer = self
            .log
            .map(|format| LogWriter::start(std::io::stderr(), format.into()));
        let telemetry = Telemetry {
            settings: TelemetrySettings {
                sampling: Sampling {
                    ratio: self.trace_ratio,
                    ..Sampling::default()
                },
                content: self.trace_content,
            },
            export: self.otlp.as_ref().map(|endpoint| OtlpSettings {
                endpoint: endpoint.clone(),
                ..OtlpSettings::default()
            }),
            log: writer.as_ref().map(LogWriter::sink),
            ..Telemetry::default()
        };
        (telemetry, Log(writer))
    }
}

impl Log {
    /// Writes what was not written yet, and says whether what was not sent has been sent.
    pub(super) fn close(self, app: &autoglm_server::App) -> bool {
        let sent = app.close_telemetry(CLOSING);
        if let Some(writer) = self.0 {
            writer.close();
        }
        sent
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: Option<f64> = text.parse().ok();
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("{text:?} is no share, want a number from 0 to 1"))
}
