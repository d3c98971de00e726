//! rotel, a receiver that shares no code with the Collector. What it prints is compared with what was logged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;

use super::workload::{Logged, Workload};
use crate::peers::{Process, free_port, install, wait_for};

/// Sends a workload to rotel and compares.
pub(super) fn run(folder: &Path) -> Result<()> {
    let (http, grpc) = (free_port()?, free_port()?);
    let printed = folder.join("rotel.log");
    let mut command = install::rotel()?;
    command.args(["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]);
    command.args(["--debug-log", "traces", "--debug-log", "metrics", "--debug-log", "logs"]);
    command.args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")]);
    command.args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")]);
    let url = format!("http://127.0.0.1:{http}");
    let _process = Process::start("rotel", &mut command, &printed)?.wait_until_up(&url)?;
    // Compressed, so that another program checks the compression as well.
    let arguments = ["traces=20".to_owned(), "sink.compression=gzip".to_owned()];
    let logged = Workload::start(&url, &arguments)?.finish()?;
    logged.ensure_all_delivered()?;

    let blocks: Vec<String> =
        logged.spans.values().map(span_block).chain(logged.logs.values().map(log_block)).collect();
    let text = wait_for("rotel has printed everything", || {
        let text = std::fs::read_to_string(&printed).ok()?;
        blocks.iter().all(|block| text.contains(block.as_str())).then_some(text)
    });
    let text = text.with_context(|| {
        let text = std::fs::read_to_string(&printed).unwrap_or_default();
        let missing = blocks.iter().find(|block| !text.contains(block.as_str()));
        format!("{} lacks\n{}", printed.display(), missing.map_or("", String::as_str))
    })?;
    let count = |line: &str| text.lines().filter(|found| found.trim_start().starts_with(line)).count();
    ensure!(count("Span #") == logged.spans.len(), "{} spans, not {}", count("Span #"), logged.spans.len());
    ensure!(count("LogRecord #") == logged.logs.len(), "{} logs", count("LogRecord #"));
    check_metrics(&text, &logged)?;
    println!(
        "ok   rotel has every span, log and metric as it was logged, compressed with gzip: {} spans",
        logged.spans.len()
    );
    Ok(())
}

/// Formats a value and its type as rotel does.
fn value_of(value: &Json) -> String {
    match value {
        Json::String(text) => format!("Str({text})"),
        Json::Bool(flag) => format!("Bool({flag})"),
        Json::Number(number) if number.is_i64() => format!("Int({number})"),
        Json::Number(number) => format!("Double({})", number.as_f64().unwrap_or(f64::NAN)),
        other => format!("{other}"),
    }
}

/// Formats attributes as rotel does, one per line.
fn attributes_of(attributes: &Json, indent: &str) -> String {
    let mut lines = String::new();
    for (key, value) in attributes.as_object().into_iter().flatten() {
        // Writing to a string never fails.
        let _ = writeln!(lines, "{indent}-> {key}: {}", value_of(value));
    }
    lines
}

fn text<'a>(signal: &'a Json, field: &str) -> &'a str {
    signal[field].as_str().unwrap_or_default()
}

/// Formats a span as rotel prints it.
fn span_block(span: &Json) -> String {
    let mut block = format!(
        "    Trace ID       : {}\n    Parent ID      : {}\n    ID             : {}\n    Name           : {}\n    \
         Kind           : SPAN_KIND_INTERNAL\nStart time: {}\nEnd time: {}\n    Status code    : STATUS_CODE_{}\n    \
         Status message : \nAttributes:\n{}",
        text(span, "trace_id"),
        text(span, "parent_span_id"),
        text(span, "span_id"),
        text(span, "name"),
        span["start_nanos"],
        span["end_nanos"],
        text(span, "status").to_uppercase(),
        attributes_of(&span["attributes"], "     "),
    );
    for (number, event) in span["events"].as_array().into_iter().flatten().enumerate() {
        let _ = write!(
            block,
            "Events:\nSpanEvent #{number}\n     -> Name: {}\n     -> Timestamp: {}\n     \
             -> DroppedAttributesCount: 0\n     -> Attributes::\n{}",
            text(event, "name"),
            event["nanos"],
            attributes_of(&event["attributes"], "          "),
        );
    }
    block
}

/// Formats a log as rotel prints it.
fn log_block(log: &Json) -> String {
    let number = match text(log, "severity") {
        "verbose" => "TRACE(1)",
        "debug" => "DEBUG(5)",
        "info" => "INFO(9)",
        "warn" => "WARN(13)",
        "error" => "ERROR(17)",
        _ => "FATAL(21)",
    };
    format!(
        "Timestamp: {}\nSeverityText: {}\nSeverityNumber: SEVERITY_NUMBER_{number}\nBody: Str({})\nAttributes:\n{}    \
         Trace ID       : {}\n    Span ID        : {}\n",
        log["nanos"],
        text(log, "severity"),
        text(log, "message"),
        attributes_of(&log["attributes"], "     "),
        text(log, "trace_id"),
        text(log, "span_id"),
    )
}

/// Checks that the last value printed for every series is what was logged.
fn check_metrics(printed: &str, logged: &Logged) -> Result<()> {
    let mut found: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let (mut name, mut labels, mut in_labels) = ("", BTreeMap::new(), false);
    for line in printed.lines() {
        if let Some(value) = line.strip_prefix("     -> Name: ") {
            name = value;
        } else if line == "Data point attributes:" {
            (labels, in_labels) = (BTreeMap::new(), true);
        } else if let (true, Some(label)) = (in_labels, line.strip_prefix("     -> ")) {
            let (key, value) = label.split_once(": ").context("a label")?;
            labels.insert(key.to_owned(), value.trim_start_matches("Str(").trim_end_matches(')').to_owned());
        } else if let Some(value) = line.strip_prefix("Value: ") {
            found.entry(name.to_owned()).or_default().insert(serde_json::to_string(&labels)?, value.parse()?);
        } else {
            in_labels = false;
        }
    }
    let expected = logged.metrics.as_object().context("the workload printed metrics")?;
    ensure!(found.len() == expected.len(), "metrics {:?}", found.keys());
    for (name, series) in expected {
        for (labels, value) in series.as_object().context("series by labels")? {
            let labels: BTreeMap<String, String> = serde_json::from_str(labels)?;
            let printed =
                found.get(name).and_then(|series| series.get(&serde_json::to_string(&labels).ok()?));
            ensure!(printed.copied() == value.as_f64(), "{name} {labels:?} is {printed:?}; expected {value}");
        }
    }
    Ok(())
}
