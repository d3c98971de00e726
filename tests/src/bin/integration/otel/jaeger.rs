//! A running Jaeger and checks of its query API.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};

use super::workload::Logged;
use crate::peers::{Process, encoded, free_port, get_json, wait_for};

/// A running Jaeger. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Jaeger {
    _process: Process,
    url: String,
    /// Address of its OTLP receiver, by gRPC.
    pub(super) otlp: String,
}

impl Jaeger {
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (query, query_grpc, otlp) = (free_port()?, free_port()?, free_port()?);
        let config = format!(
            "service:\n  extensions: [jaeger_storage, jaeger_query]\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}\n  \
             telemetry: {{metrics: {{level: none}}}}\n\
             extensions:\n  jaeger_query:\n    storage: {{traces: mem}}\n    \
             http: {{endpoint: \"127.0.0.1:{query}\"}}\n    grpc: {{endpoint: \"127.0.0.1:{query_grpc}\"}}\n  \
             jaeger_storage: {{backends: {{mem: {{memory: {{max_traces: 10000}}}}}}}}\n\
             receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:{otlp}\"}}}}}}\n\
             exporters:\n  jaeger_storage_exporter: {{trace_storage: mem}}\n"
        );
        let path = folder.join("jaeger.yaml");
        std::fs::write(&path, config)?;
        let url = format!("http://127.0.0.1:{query}");
        let mut command = Command::new(program);
        let process =
            Process::start("Jaeger", command.arg("--config").arg(&path), &folder.join("jaeger.log"))?;
        Ok(Self { _process: process.wait_until_up(&url)?, url, otlp: format!("127.0.0.1:{otlp}") })
    }

    /// Checks that traces are found by service, operation and tag, with the right parents and error flags.
    pub(super) fn check(&self, logged: &Logged) -> Result<()> {
        let roots: Vec<&Json> =
            logged.spans.values().filter(|span| span["parent_span_id"].is_null()).collect();
        wait_for("Jaeger has all traces", || {
            let found = self.find("chat", &json!({})).ok()?;
            (found.len() == roots.len()).then_some(())
        })?;
        let operations = get_json(&self.url, "/api/services/otel-workload/operations")?;
        let mut names: Vec<_> =
            operations["data"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        names.sort_unstable();
        ensure!(names == ["chat", "inference"], "operations: {operations}");
        for (tag, value) in
            [("model_id", json!("llama-3.2-1b")), ("number", json!(7)), ("stream", json!(true))]
        {
            let has_it = |root: &&&Json| root["attributes"][tag] == value;
            let mut expected: Vec<&str> =
                roots.iter().filter(has_it).filter_map(|root| root["trace_id"].as_str()).collect();
            expected.sort_unstable();
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let found = self.find("chat", &json!({ tag: text }))?;
            ensure!(
                !found.is_empty() && found == expected,
                "{tag}={value}: expected {expected:?}, found {found:?}"
            );
        }
        for root in &roots {
            self.check_trace(root["trace_id"].as_str().context("a trace id")?, logged)?;
        }
        println!(
            "ok   Jaeger finds the traces by service, operation and tag, with parents and error flags: {} traces",
            roots.len()
        );
        Ok(())
    }

    /// Returns the sorted ids of the traces that match.
    fn find(&self, operation: &str, tags: &Json) -> Result<Vec<String>> {
        let tags = encoded(&tags.to_string());
        let path = format!("/api/traces?service=otel-workload&operation={operation}&tags={tags}&limit=1000");
        let answer = get_json(&self.url, &path)?;
        let traces = answer["data"].as_array().context("a list of traces")?;
        let mut ids: Vec<String> =
            traces.iter().filter_map(|trace| trace["traceID"].as_str().map(str::to_owned)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn check_trace(&self, trace_id: &str, logged: &Logged) -> Result<()> {
        let answer = get_json(&self.url, &format!("/api/traces/{trace_id}"))?;
        let spans = answer["data"][0]["spans"].as_array().context("spans of a trace")?;
        ensure!(spans.len() == 2, "trace {trace_id} has {} spans", spans.len());
        for span in spans {
            let id = format!("{trace_id}/{}", span["spanID"].as_str().unwrap_or_default());
            let expected = logged.spans.get(&id).with_context(|| format!("{id} was not logged"))?;
            let parent = span["references"].as_array().and_then(|references| references.first());
            let parent =
                parent.filter(|parent| parent["refType"] == "CHILD_OF" && parent["traceID"] == trace_id);
            let parent = parent.map_or(&Json::Null, |parent| &parent["spanID"]);
            ensure!(*parent == expected["parent_span_id"], "the parent of {id} is {parent}");
            let tags = span["tags"].as_array().context("tags")?;
            let is_error = tags.iter().any(|tag| tag["key"] == "error" && tag["value"] == true);
            ensure!(is_error == (expected["status"] == "error"), "the error flag of {id} is {is_error}");
            ensure!(
                span["operationName"] == expected["name"],
                "the name of {id} is {}",
                span["operationName"]
            );
            let micros = expected["start_nanos"].as_i64().unwrap_or_default() / 1_000;
            ensure!(span["startTime"] == micros, "{id} starts at {}, not {micros}", span["startTime"]);
        }
        Ok(())
    }
}
