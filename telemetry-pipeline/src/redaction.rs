//! What people and models said stays out of telemetry unless it is asked for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use telemetry_core::{Attributes, Event, Text, Value};

/// What becomes of attributes that hold content: prompts, answers, arguments and results of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// They are taken out; the default.
    #[default]
    Drop,
    /// They stay, with the text [`MASK`] in place of their value.
    Mask,
    /// They stay as they are.
    Capture,
}

/// What a [`Redact`] hook says of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It is taken out; of a log's message, [`MASK`] is left.
    Drop,
    /// This is put in its place.
    Replace(Value),
}

/// A hook that sees every attribute of logs and spans, by key and value, and the message of every log
/// under the key `message`. Runs on the pipeline's thread, never on the caller's. One that panics
/// counts as [`Verdict::Drop`].
pub type Redact = dyn Fn(&str, &Value) -> Verdict + Send + Sync;

/// Stands where something was masked.
pub const MASK: &str = "[redacted]";

/// What is taken out of events that this process logs, before any sink sees them. Events that other
/// processes submit, over HTTP or OTLP, are theirs: they stay as they were sent.
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
    /// What becomes of content.
    pub content: Content,
    /// Keys that hold content beside the known ones: OpenTelemetry's GenAI conventions, those of
    /// OpenInference and OpenLLMetry, and Llama Stack's.
    pub content_keys: Vec<Text>,
    /// Called for what is left.
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

/// Whether text under this key is content.
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

/// Keys that hold content by themselves and with a number behind: `gen_ai.prompt.0.content`.
const NUMBERED: [&str; 6] = [
    "gen_ai.prompt",
    "gen_ai.completion",
    "llm.prompts",
    "llm.completions",
    "llm.input_messages",
    "llm.output_messages",
];

impl Redaction {
    /// Takes out of an event what must not be seen; says how many attributes and messages.
    pub(crate) fn apply(&self, event: &mut Event) -> u64 {
        match event {
            Event::UnstructuredLog(log) => {
                self.attributes(&mut log.attributes) + self.message(&mut log.message)
            }
            Event::StructuredLog(log) => self.attributes(&mut log.attributes),
            // Labels tell series apart; without one, two series would be one.
            Event::Metric(_) => 0,
        }
    }

    fn attributes(&self, attributes: &mut Attributes) -> u64 {
        let judged = attributes.iter().map(|(key, value)| self.judge(key, value));
        let Some((first, verdict)) = judged.enumerate().find(|(_, verdict)| *verdict != Verdict::Keep) else {
            return 0;
        };
        // The hook is asked once for each.
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
        let (left, redacted) = match self.ask("message", &value) {
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
        self.ask(key, value)
    }

    fn ask(&self, key: &str, value: &Value) -> Verdict {
        let Some(hook) = &self.hook else { return Verdict::Keep };
        std::panic::catch_unwind(AssertUnwindSafe(|| hook(key, value))).unwrap_or(Verdict::Drop)
    }

    /// Whether an attribute holds content. Numbers and flags don't.
    fn is_content(&self, key: &str, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        is_known(key)
            // Llama Stack's agents keep a whole request, as JSON, under this common word.
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
    fn content_is_dropped_unless_asked_for() {
        let left = attrs! { "model_id" => "llama", "gen_ai.prompt.name" => "greeting", "output" => 7 };
        assert_eq!(redacted(&Redaction::default(), content()), (left, 4));
        let plain = attrs! { "request" => "GET /", "inputs" => "two" };
        assert_eq!(redacted(&Redaction::default(), plain.clone()), (plain, 0));
    }

    #[test]
    fn content_is_masked_or_captured_on_request() {
        let mask = Redaction { content: Content::Mask, ..Redaction::default() };
        let (masked, count) = redacted(&mask, content());
        assert_eq!((masked.len(), count), (content().len(), 4));
        assert_eq!(masked.get("input"), Some(&Value::from(MASK)));
        let capture = Redaction { content: Content::Capture, ..Redaction::default() };
        assert_eq!(redacted(&capture, content()), (content(), 0));
    }

    #[test]
    fn keys_of_ones_own_are_content_too() {
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
    fn labels_of_metrics_stay() {
        let mut event = Event::metric("m", 1, "1").with_attributes(attrs! { "input" => "x" });
        assert_eq!(Redaction::default().apply(&mut event), 0);
        assert_eq!(event.attributes().len(), 1);
    }
}
