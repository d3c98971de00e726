//! The part of OpenAI's chat API that the example needs, with Llama Stack's `metrics` in the answer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telemetry_tokens::MetricInResponse;

#[derive(Deserialize)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<Message>,
    #[serde(default)]
    pub(crate) stream: bool,
}

#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) content: String,
}

impl ChatRequest {
    pub(crate) fn prompt(&self) -> String {
        let contents: Vec<&str> = self.messages.iter().map(|message| message.content.as_str()).collect();
        contents.join(" ")
    }
}

/// The tokens of a call: OpenAI's `usage` and Llama Stack's `metrics`, from the same counts.
#[derive(Default, Serialize)]
pub(crate) struct Usage {
    usage: Value,
    metrics: Vec<MetricInResponse>,
}

impl Usage {
    pub(crate) fn of(metrics: &[MetricInResponse]) -> Self {
        let usage = metrics.iter().map(|metric| (metric.metric.to_string(), json!(metric.value))).collect();
        Self { usage: Value::Object(usage), metrics: metrics.to_vec() }
    }
}

/// Counts tokens. A token of this model is a word.
pub(crate) fn count_tokens(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

pub(crate) fn completion(model: &str, content: &str, Usage { usage, metrics }: &Usage) -> Value {
    json!({
        "object": "chat.completion",
        "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": content },
            "finish_reason": "stop",
        }],
        "usage": usage,
        "metrics": metrics,
    })
}

pub(crate) fn chunk(model: &str, word: &str) -> Value {
    json!({
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [{ "index": 0, "delta": { "content": word }, "finish_reason": null }],
    })
}

pub(crate) fn last_chunk(model: &str, Usage { usage, metrics }: &Usage) -> Value {
    json!({
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }],
        "usage": usage,
        "metrics": metrics,
    })
}

pub(crate) fn unknown_model(model: &str) -> Value {
    json!({ "error": { "message": format!("no model `{model}`"), "type": "invalid_request_error" } })
}
