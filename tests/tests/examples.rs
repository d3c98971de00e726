//! The examples run to their ends and leave behind what they should.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use telemetry_tests::{Client, DEADLINE, Settings, cargo, eventually, run, target_dir};

const CHAT: &str = "/v1/chat/completions";
/// The spans of an answered request: name, kind, model and status.
const TREE: &str = "\
POST /v1/chat/completions server parrot ok
  chat parrot parrot ok
";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Builds the examples once and returns the program of one.
fn program(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| run(&mut cargo(&["build", "--quiet", "--package", "telemetry-examples"])).unwrap());
    target_dir().join("debug").join(name)
}

/// Sends complete, continued, streamed, abandoned and refused requests, then queries them.
#[test]
fn the_chat_server_records_every_kind_of_request() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Settings::sqlite_in(folder.path()).example(program("chat-server")).start()?;
    let mut client = Client::connect(server.url())?;

    let whole = client.post(CHAT, &request("parrot", "one two three", false))?;
    ensure!(whole.status == 200, "{}", whole.text());
    ensure!(whole.json()["metrics"][2] == metric("total_tokens", 6), "{}", whole.text());

    let streamed = client.post(CHAT, &request("parrot", "one two", true))?;
    ensure!(streamed.text().trim_end().ends_with("data: [DONE]"), "{}", streamed.text());
    ensure!(streamed.text().contains(r#""total_tokens":4"#), "{}", streamed.text());

    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = [("content-type", "application/json"), ("traceparent", parent.as_str())];
    let body = request("parrot", "one", false).to_string();
    let continued = client.request("POST", CHAT, &headers, body.as_bytes())?;
    ensure!(continued.header("x-trace-id") == Some(TRACE), "{:?}", continued.headers);

    let refused = client.post(CHAT, &request("toucan", "one", false))?;
    ensure!(refused.status == 404, "{}", refused.text());
    hang_up(server.url())?;

    six_metrics(&mut client)?;
    let trace = whole.header("x-trace-id").context("no x-trace-id")?;
    let tree = eventually("the span tree of a request is complete", || tree(&mut client, trace))?;
    ensure!(tree == TREE, "{tree}");
    let tree =
        eventually("the span tree of a continued trace is complete", || self::tree(&mut client, TRACE))?;
    ensure!(tree == TREE, "{tree}");

    server.stop_cleanly()
}

fn request(model: &str, prompt: &str, stream: bool) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": prompt }], "stream": stream })
}

fn metric(name: &str, value: u64) -> Value {
    json!({ "metric": name, "value": value, "unit": "tokens" })
}

/// Reads the beginning of a long stream and closes the connection.
fn hang_up(url: &str) -> Result<()> {
    let mut connection = TcpStream::connect(url.trim_start_matches("http://"))?;
    connection.set_read_timeout(Some(DEADLINE))?;
    let body = request("parrot", &"word ".repeat(10_000), true).to_string();
    let head = "host: test\r\ncontent-type: application/json";
    write!(connection, "POST {CHAT} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    let mut beginning = [0; 512];
    ensure!(connection.read(&mut beginning)? > 0, "the stream has not begun");
    Ok(())
}

/// The labels of a series, and its value if it is the same in every run.
type ExpectedSeries = (String, Option<f64>);

/// Checks that every metric has exactly the expected series.
fn six_metrics(client: &mut Client) -> Result<()> {
    let api = |status: &str| format!("api=inference,status={status}");
    let model = "model_id=parrot,provider_id=aviary".to_owned();
    let requests = [(api("200"), Some(3.0)), (api("404"), Some(1.0)), (api("499"), Some(1.0))];
    let durations = requests.clone().map(|(labels, _)| (labels, None));
    // The abandoned stream has a prompt of 10,000 words, of which it repeated some.
    let expected: [(&str, &[ExpectedSeries]); 6] = [
        ("llama_stack_requests_total", &requests),
        ("llama_stack_request_duration_seconds", &durations),
        ("llama_stack_concurrent_requests", &[("api=inference".to_owned(), Some(0.0))]),
        ("llama_stack_prompt_tokens_total", &[(model.clone(), Some(10_006.0))]),
        ("llama_stack_completion_tokens_total", &[(model.clone(), None)]),
        ("llama_stack_tokens_total", &[(model, None)]),
    ];
    for (name, expected) in expected {
        let mut found = Vec::new();
        let as_expected = eventually(name, || {
            found = series(client, name).ok()?;
            let same = |((labels, value), (known, wanted)): (&(String, f64), &ExpectedSeries)| {
                labels == known && wanted.is_none_or(|wanted| (wanted - value).abs() < 1e-9)
            };
            (found.len() == expected.len() && found.iter().zip(expected).all(same)).then_some(())
        });
        as_expected.with_context(|| format!("{name}: found {found:?}, expected {expected:?}"))?;
    }
    Ok(())
}

/// Returns the series of a metric: labels and latest value, sorted.
fn series(client: &mut Client, name: &str) -> Result<Vec<(String, f64)>> {
    let query = json!({ "start_time": 0, "query_type": "instant" });
    let answer = client.post(&format!("/v1/telemetry/metrics/{name}"), &query)?.json();
    let mut found = Vec::new();
    for series in answer["data"].as_array().context("no data")? {
        let mut labels: Vec<String> = series["labels"]
            .as_array()
            .context("no labels")?
            .iter()
            .map(|label| format!("{}={}", text(&label["name"]), text(&label["value"])))
            .collect();
        labels.sort();
        let value = series["values"][0]["value"].as_f64().context("no value")?;
        found.push((labels.join(","), value));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a trace as text, one line per span. `None` while one of its spans is open.
fn tree(client: &mut Client, trace: &str) -> Option<String> {
    let root = client.get(&format!("/v1/telemetry/traces/{trace}")).ok()?.json();
    let path = format!("/v1/telemetry/spans/{}/tree", root["root_span_id"].as_str()?);
    let answer = client.post(&path, &json!({ "trace_id": trace })).ok()?.json();
    let spans = answer["data"].as_object()?;
    let mut lines = String::new();
    for span in spans.values() {
        let is_below = spans.contains_key(text(&span["parent_span_id"]));
        let indent = if is_below { "  " } else { "" };
        let model = &span["attributes"]["gen_ai.request.model"];
        let about = [text(&span["name"]), text(&span["kind"]), text(model), span["status"].as_str()?];
        // The answer has no kind for `internal`.
        let about: Vec<&str> = about.into_iter().filter(|part| !part.is_empty()).collect();
        lines.extend([indent, &about.join(" "), "\n"]);
    }
    Some(lines)
}

/// Runs a program to its end with its store in `folder`, and returns what it printed.
fn outcome(name: &str, sinks: &str, folder: &Path) -> Result<(String, String)> {
    let output = Command::new(program(name))
        .env("TELEMETRY_SINKS", sinks)
        .env("SQLITE_STORE_DIR", folder)
        .env("NO_COLOR", "1")
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{name} exited with {}:\n{stderr}", output.status);
    Ok((stdout, stderr))
}

#[test]
fn the_agent_prints_its_answer_and_its_trace() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (stdout, _) = outcome("agent", "sqlite", folder.path())?;
    let expected = "\
Lisbon: sunny, a room for 80 euros.

invoke_agent traveller
  step 1
    chat parrot
    execute_tool weather
    execute_tool hotel
      execute_tool exchange_rate (error)
  step 2
    chat parrot
";
    ensure!(stdout == expected, "unexpected output of the agent:\n{stdout}");
    Ok(())
}

#[test]
fn spans_and_events_of_plain_tracing_reach_the_console() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_, stderr) = outcome("plain-tracing", "console", folder.path())?;
    for wanted in [
        "[START] index",
        "[START] split",
        "[INFO] indexed",
        "[METRIC] chunks_indexed=3 chunks",
        "[WARN] only text can be split",
        "[END] index [ERROR]",
    ] {
        ensure!(stderr.contains(wanted), "plain-tracing did not print `{wanted}`:\n{stderr}");
    }
    Ok(())
}
