//! Reads what the Collector wrote to its file, in the form that the workload prints.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};

use super::workload::id_of;

/// Everything that the Collector received. Duplicates are kept.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) spans: BTreeMap<String, Vec<Json>>,
    pub(super) logs: BTreeMap<String, Vec<Json>>,
    /// Last values: name → labels → value.
    metrics: BTreeMap<String, BTreeMap<String, Json>>,
}

impl Received {
    /// Reads the file. Skips a last line without an end: a kill may have cut it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut received = Self::default();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let document: Json =
                serde_json::from_str(line).context("the Collector wrote a line that is not JSON")?;
            for resource in each(&document["resourceSpans"]) {
                check_resource(resource)?;
                for span in each(&resource["scopeSpans"]).flat_map(|scope| each(&scope["spans"])) {
                    let span = span_of(span)?;
                    received.spans.entry(id_of(&span)).or_default().push(span);
                }
            }
            for resource in each(&document["resourceLogs"]) {
                check_resource(resource)?;
                for log in each(&resource["scopeLogs"]).flat_map(|scope| each(&scope["logRecords"])) {
                    let log = log_of(log)?;
                    received.logs.entry(id_of(&log)).or_default().push(log);
                }
            }
            for resource in each(&document["resourceMetrics"]) {
                check_resource(resource)?;
                for metric in each(&resource["scopeMetrics"]).flat_map(|scope| each(&scope["metrics"])) {
                    received.add_metric(metric)?;
                }
            }
        }
        Ok(received)
    }

    fn add_metric(&mut self, metric: &Json) -> Result<()> {
        let name = metric["name"].as_str().context("a metric has a name")?;
        let is_counter = metric.get("sum").is_some();
        if is_counter {
            let sum = &metric["sum"];
            ensure!(
                sum["isMonotonic"] == true && sum["aggregationTemporality"] == 2,
                "not a cumulative counter: {metric}"
            );
        }
        let expects_counter = name.ends_with("_total");
        ensure!(is_counter == expects_counter, "{name} arrived as the wrong instrument: {metric}");
        let unit = match name {
            "llama_stack_requests_total" => "requests",
            "llama_stack_request_duration_seconds" => "seconds",
            _ => "tokens",
        };
        ensure!(metric["unit"] == unit, "{name} has the unit {}; expected `{unit}`", metric["unit"]);
        let points = if is_counter { &metric["sum"]["dataPoints"] } else { &metric["gauge"]["dataPoints"] };
        for point in each(points) {
            let labels = sorted(&attributes(&point["attributes"])?.to_string())?;
            let value = point["asDouble"].as_f64().context("values are doubles")?;
            self.metrics.entry(name.to_owned()).or_default().insert(labels, json!(value));
        }
        Ok(())
    }

    /// Checks that the last values are exactly the sums that were logged.
    pub(super) fn ensure_same_metrics(&self, logged: &Json) -> Result<()> {
        let mut expected: BTreeMap<String, BTreeMap<String, Json>> = BTreeMap::new();
        for (name, series) in logged.as_object().context("the workload printed metrics")? {
            for (labels, value) in series.as_object().context("series by labels")? {
                expected.entry(name.clone()).or_default().insert(sorted(labels)?, value.clone());
            }
        }
        ensure!(self.metrics == expected, "metrics\n  logged   {expected:?}\n  received {:?}", self.metrics);
        Ok(())
    }

    /// Returns the number of metric series.
    pub(super) fn series(&self) -> usize {
        self.metrics.values().map(BTreeMap::len).sum()
    }
}

/// Checks that each logged span or log was received once and is equal in every field.
pub(super) fn ensure_same(
    what: &str,
    logged: &BTreeMap<String, Json>,
    received: &BTreeMap<String, Vec<Json>>,
) -> Result<()> {
    for (id, expected) in logged {
        let found = received.get(id).with_context(|| format!("{what}: {id} did not arrive"))?;
        ensure!(found.len() == 1, "{what}: {id} arrived {} times", found.len());
        ensure!(found[0] == *expected, "{what}: {id}\n  logged   {expected}\n  received {}", found[0]);
    }
    let unknown: Vec<_> = received.keys().filter(|id| !logged.contains_key(*id)).take(3).collect();
    ensure!(unknown.is_empty(), "{what} that were not logged: {unknown:?}");
    Ok(())
}

/// Returns labels as JSON text with sorted keys.
fn sorted(labels: &str) -> Result<String> {
    let labels: BTreeMap<String, Json> = serde_json::from_str(labels)?;
    Ok(object(labels).to_string())
}

fn each(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

/// Checks that the resource describes the workload and OpenTelemetry's SDK for Rust.
fn check_resource(resource: &Json) -> Result<()> {
    let attributes = attributes(&resource["resource"]["attributes"])?;
    ensure!(attributes["service.name"] == "otel-workload", "wrong service.name: {attributes}");
    ensure!(attributes["telemetry.sdk.language"] == "rust", "wrong telemetry.sdk.language: {attributes}");
    Ok(())
}

/// Converts a span to the workload's form.
fn span_of(span: &Json) -> Result<Json> {
    let events = each(&span["events"]).map(|event| {
        Ok(json!({
            "name": event["name"], "nanos": number(&event["timeUnixNano"])?,
            "attributes": attributes(&event["attributes"])?,
        }))
    });
    let parent = span["parentSpanId"].as_str().unwrap_or_default();
    Ok(json!({
        "trace_id": span["traceId"], "span_id": span["spanId"],
        "parent_span_id": if parent.is_empty() { Json::Null } else { json!(parent) },
        "name": span["name"],
        "kind": if span["kind"] == 1 { "internal" } else { "another" },
        "start_nanos": number(&span["startTimeUnixNano"])?, "end_nanos": number(&span["endTimeUnixNano"])?,
        "status": match span["status"]["code"].as_u64() { Some(1) => "ok", Some(2) => "error", _ => "unset" },
        "attributes": attributes(&span["attributes"])?,
        "events": events.collect::<Result<Vec<_>>>()?,
    }))
}

/// Converts a log to the workload's form.
fn log_of(log: &Json) -> Result<Json> {
    // Our severities by OpenTelemetry's numbers.
    let severity = match log["severityNumber"].as_u64() {
        Some(1) => "verbose",
        Some(5) => "debug",
        Some(9) => "info",
        Some(13) => "warn",
        Some(17) => "error",
        Some(21) => "critical",
        _ => "another",
    };
    ensure!(log["severityText"] == severity, "severity text and number differ: {log}");
    Ok(json!({
        "trace_id": log["traceId"], "span_id": log["spanId"], "message": log["body"]["stringValue"],
        "severity": severity, "nanos": number(&log["timeUnixNano"])?,
        "attributes": attributes(&log["attributes"])?,
    }))
}

/// Parses a 64-bit number, which is text in OTLP's JSON.
fn number(text: &Json) -> Result<i64> {
    text.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{text} is not a number"))
}

/// Converts attributes and keeps their types: an integer does not become a double.
fn attributes(list: &Json) -> Result<Json> {
    let pairs = each(list).map(|pair| {
        let key = pair["key"].as_str().context("an attribute has a key")?.to_owned();
        let value = &pair["value"];
        let value = if let Some(text) = value.get("intValue") {
            json!(number(text)?)
        } else if let Some(double) = value.get("doubleValue") {
            json!(double.as_f64())
        } else {
            value.get("stringValue").or_else(|| value.get("boolValue")).cloned().unwrap_or(Json::Null)
        };
        Ok((key, value))
    });
    Ok(object(pairs.collect::<Result<Vec<_>>>()?))
}

/// Builds an object. Without pairs it is empty and not null.
fn object(pairs: impl IntoIterator<Item = (String, Json)>) -> Json {
    json!(pairs.into_iter().collect::<serde_json::Map<_, _>>())
}
