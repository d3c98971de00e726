//! What the Collector wrote to its file, in the words of the workload.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};

use super::logged::id_of;
use super::object;

/// Everything the Collector got; what came twice stands twice.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) spans: BTreeMap<String, Vec<Json>>,
    pub(super) logs: BTreeMap<String, Vec<Json>>,
    /// Name → labels → what came last.
    metrics: BTreeMap<String, BTreeMap<String, Json>>,
}

impl Received {
    /// Reads the file. A last line without its end is not written yet: a kill may still cut it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut received = Self::default();
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let document: Json = serde_json::from_str(line).context("the Collector wrote no JSON")?;
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
                "no cumulative counter: {metric}"
            );
        }
        let expects_counter = name.ends_with("_total");
        ensure!(is_counter == expects_counter, "{name} came as another instrument: {metric}");
        let unit = match name {
            "llama_stack_requests_total" => "requests",
            "llama_stack_request_duration_seconds" => "seconds",
            _ => "tokens",
        };
        ensure!(metric["unit"] == unit, "{name} has another unit: {}", metric["unit"]);
        let points = if is_counter { &metric["sum"]["dataPoints"] } else { &metric["gauge"]["dataPoints"] };
        for point in each(points) {
            let labels = sorted(&attributes(&point["attributes"])?.to_string())?;
            let value = point["asDouble"].as_f64().context("values are doubles")?;
            self.metrics.entry(name.to_owned()).or_default().insert(labels, json!(value));
        }
        Ok(())
    }

    /// The latest values are the sums that were logged, no more and no fewer.
    pub(super) fn same_metrics(&self, logged: &Json) -> Result<()> {
        let mut expected: BTreeMap<String, BTreeMap<String, Json>> = BTreeMap::new();
        for (name, series) in logged.as_object().context("metrics were told")? {
            for (labels, value) in series.as_object().context("series by labels")? {
                expected.entry(name.clone()).or_default().insert(sorted(labels)?, value.clone());
            }
        }
        ensure!(self.metrics == expected, "metrics\n  logged   {expected:?}\n  received {:?}", self.metrics);
        Ok(())
    }

    pub(super) fn series(&self) -> usize {
        self.metrics.values().map(BTreeMap::len).sum()
    }
}

/// Labels have no order.
fn sorted(labels: &str) -> Result<String> {
    let labels: BTreeMap<String, Json> = serde_json::from_str(labels)?;
    Ok(object(labels).to_string())
}

fn each(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

/// Everything comes from the workload, by our SDK.
fn check_resource(resource: &Json) -> Result<()> {
    let attributes = attributes(&resource["resource"]["attributes"])?;
    ensure!(attributes["service.name"] == "otel-workload", "another service: {attributes}");
    ensure!(attributes["telemetry.sdk.language"] == "rust", "no telemetry.sdk: {attributes}");
    Ok(())
}

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

fn log_of(log: &Json) -> Result<Json> {
    // OpenTelemetry's numbers, and the words they stand for here.
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

/// 64-bit numbers are text in OTLP's JSON.
fn number(text: &Json) -> Result<i64> {
    text.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{text} is no number"))
}

/// Attributes with their types: an integer is not a double.
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
