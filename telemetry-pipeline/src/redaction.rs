//! Redaction: content of people and models stays out of telemetry by default.
//!
//! It runs on the assembler thread, before the assembler.

use std::sync::Arc;

use telemetry_core::{Attributes, Event, Text, Value};

use crate::catch_panic::catch_panic;

/// What to do with attributes that hold content: prompts, answers, arguments and results of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Removes them. This is the default.
    #[default]
    Drop,
    /// Replaces their value by the text [`MASK`].
    Mask,
    /// Keeps them.
    Capture,
}

/// What a [`Redact`] hook decides about a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Keeps it.
    Keep,
    /// Removes it. A log's message becomes [`MASK`].
    Drop,
    /// Replaces it by this value.
    Replace(Value),
}

/// A hook that sees every attribute of logs and spans, by key and value, and the message of every log
/// under the key `message`. It runs on the assembler thread, never on the caller's. If it panics, the value
/// is removed as by [`Verdict::Drop`].
pub type Redact = dyn Fn(&str, &Value) -> Verdict + Send + Sync;

/// The text in place of a masked value.
pub const MASK: &str = "[redacted]";

/// What is removed from events that this process logs, before any sink sees them. Events that other
/// processes submit over HTTP or OTLP are not changed.
///
/// ```
/// use std::sync::Arc;
/// use telemetry_core::Value;
/// use telemetry_pipeline::{Content, PipelineConfig, Redaction, Verdict};
///
/// let hook = |key: &str, value: &Value| match value.as_str() {
///     _ if key == "user.email" => Verdict::Drop,
///     Some(text) if text.contains("sk-") => Verdict::Replace("[a key]".into()),
///     _ => Verdict::Keep,
/// };
/// let redaction = Redaction { content: Content::Mask, hook: Some(Arc::new(hook)), ..Redaction::default() };
/// let config = PipelineConfig { redaction, ..PipelineConfig::default() };
/// # assert_eq!(config.redaction.content, Content::Mask);
/// ```
#[derive(Clone, Default)]
pub struct Redaction {
    /// What to do with content.
    pub content: Content,
    /// Keys that hold content, in addition to the known ones: those of OpenTelemetry's GenAI conventions,
    /// OpenInference, OpenLLMetry and Llama Stack.
    pub content_keys: Vec<Text>,
    /// Called for every value that is not content.
    pub hook: Option<Arc<Redact>>,
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redaction")
            .field("content", &self.content)
            .field("content_keys", &self.content_keys)
            .field("hook", &self.hook.is_some())
            .finish()
    }
}

/// Returns true if text under this key is content.
fn is_known(key: &str) -> bool {
    matches!(
        key,
        // Llama Stack.
        "__args__" | "input" | "output" | "prompt" | "completion"
        // OpenTelemetry's semantic conventions for GenAI.
        | "gen_ai.input.messages" | "gen_ai.output.messages" | "gen_ai.system_instructions"
        | "gen_ai.tool.call.arguments" | "gen_ai.tool.call.result"
        | "gen_ai.retrieval.query.text" | "gen_ai.retrieval.documents" | "gen_ai.event.content"
        // OpenInference and OpenLLMetry.
        | "input.value" | "output.value" | "traceloop.entity.input" | "traceloop.entity.output"
    )
}

/// Keys that hold content, also if a number follows, as in `gen_ai.prompt.0.content`.
const NUMBERED: [&str; 6] = [
    "gen_ai.prompt",
    "gen_ai.completion",
    "llm.prompts",
    "llm.completions",
    "llm.input_messages",
    "llm.output_messages",
];

impl Redaction {
    /// Removes content from an event. Returns the number of attributes and messages changed.
    pub(crate) fn apply(&self, event: &mut Event) -> u64 {
        match event {
            Event::UnstructuredLog(log) => {
                self.attributes(&mut log.attributes) + self.message(&mut log.message)
            }
            Event::StructuredLog(log) => self.attributes(&mut log.attributes),
            // A series is identified by its labels. Without one of them, two series would become one.
            Event::Metric(_) => 0,
        }
    }

    fn attributes(&self, attributes: &mut Attributes) -> u64 {
        let judged = attributes.iter().map(|(key, value)| self.judge(key, value));
        let Some((first, verdict)) = judged.enumerate().find(|(_, verdict)| *verdict != Verdict::Keep) else {
            return 0;
        };
        // The hook is called once for each attribute.
        let mut verdict = Some(verdict);
        let mut redacted = 0;
        let all = std::mem::take(attributes).into_iter().enumerate();
        let kept = all.filter_map(|(place, (key, value))| {
            let verdict = match place {
                place if place < first => Verdict::Keep,
                place if place == first => verdict.take().unwrap_or(Verdict::Keep),
                _ => self.judge(&key, &value),
            };
            redacted += u64::from(verdict != Verdict::Keep);
            match verdict {
                Verdict::Keep => Some((key, value)),
                Verdict::Drop => None,
                Verdict::Replace(value) => Some((key, value)),
            }
        });
        *attributes = kept.collect();
        redacted
    }

    fn message(&self, message: &mut Text) -> u64 {
        if self.hook.is_none() {
            return 0;
        }
        let value = Value::String(std::mem::take(message));
        let (left, redacted) = match self.call_hook("message", &value) {
            Verdict::Keep => (value, 0),
            Verdict::Drop => (Value::from(MASK), 1),
            Verdict::Replace(value) => (value, 1),
        };
        *message = match left {
            Value::String(text) => text,
            other => Text::Owned(other.to_string()),
        };
        redacted
    }

    fn judge(&self, key: &str, value: &Value) -> Verdict {
        if self.content != Content::Capture && self.is_content(key, value) {
            return match self.content {
                Content::Drop => Verdict::Drop,
                Content::Mask | Content::Capture => Verdict::Replace(Value::from(MASK)),
            };
        }
        self.call_hook(key, value)
    }

    fn call_hook(&self, key: &str, value: &Value) -> Verdict {
        let Some(hook) = &self.hook else { return Verdict::Keep };
        catch_panic(|| hook(key, value)).unwrap_or(Verdict::Drop)
    }

    /// Returns true if an attribute holds content. Numbers and flags don't.
    fn is_content(&self, key: &str, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        is_known(key)
            // Llama Stack's agents store a whole request, as JSON, under this common key.
            || (key == "request" && text.starts_with('{'))
            || NUMBERED.iter().any(|known| match key.strip_prefix(known) {
                Some("") => true,
                Some(rest) => rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())),
                None => false,
            })
            || self.content_keys.iter().any(|known| known == key)
    }
}

#[cfg(test)]
mod tests {
    use telemetry_core::{Severity, attrs};

    use super::*;

    fn redacted(redaction: &Redaction, attributes: Attributes) -> (Attributes, u64) {
        let mut event = Event::log(Severity::Info, "hello").with_attributes(attributes);
        let count = redaction.apply(&mut event);
        (event.attributes().clone(), count)
    }

    fn content() -> Attributes {
        attrs! {
            "model_id" => "llama",
            "gen_ai.input.messages" => "[…]",
            "gen_ai.prompt.0.content" => "tell me",
            "gen_ai.prompt.name" => "greeting",
            "input" => "tell me",
            "output" => 7,
            "request" => r#"{"messages":[]}"#,
        }
    }

    #[test]
    fn content_is_dropped_by_default() {
        let left = attrs! { "model_id" => "llama", "gen_ai.prompt.name" => "greeting", "output" => 7 };
        assert_eq!(redacted(&Redaction::default(), content()), (left, 4));
        let plain = attrs! { "request" => "GET /", "inputs" => "two" };
        assert_eq!(redacted(&Redaction::default(), plain.clone()), (plain, 0));
    }

    #[test]
    fn content_is_masked_or_captured_if_configured() {
        let mask = Redaction { content: Content::Mask, ..Redaction::default() };
        let (masked, count) = redacted(&mask, content());
        assert_eq!((masked.len(), count), (content().len(), 4));
        assert_eq!(masked.get("input"), Some(&Value::from(MASK)));
        let capture = Redaction { content: Content::Capture, ..Redaction::default() };
        assert_eq!(redacted(&capture, content()), (content(), 0));
    }

    #[test]
    fn configured_keys_are_content_too() {
        let redaction = Redaction { content_keys: vec!["question".into()], ..Redaction::default() };
        let attributes = attrs! { "question" => "why?", "n" => 1 };
        assert_eq!(redacted(&redaction, attributes), (attrs! { "n" => 1 }, 1));
    }

    #[test]
    fn a_hook_sees_attributes_and_messages() {
        let hook = |key: &str, value: &Value| match value.as_str() {
            Some("secret") => Verdict::Drop,
            Some("hello") if key == "message" => Verdict::Replace(Value::from("hi")),
            Some("broken") => panic!("on purpose"),
            _ => Verdict::Keep,
        };
        let redaction = Redaction { hook: Some(Arc::new(hook)), ..Redaction::default() };
        let attributes = attrs! { "a" => "secret", "b" => "broken", "c" => 1 };
        let mut event = Event::log(Severity::Info, "hello").with_attributes(attributes);
        assert_eq!(redaction.apply(&mut event), 3);
        assert_eq!(
            event,
            Event::log(Severity::Info, "hi").with_attributes(attrs! { "c" => 1 }).at(event.timestamp())
        );
    }

    #[test]
    fn labels_of_metrics_are_kept() {
        let mut event = Event::metric("m", 1, "1").with_attributes(attrs! { "input" => "x" });
        assert_eq!(Redaction::default().apply(&mut event), 0);
        assert_eq!(event.attributes().len(), 1);
    }
}
