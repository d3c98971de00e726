//! Settings of the pipeline.

use std::time::Duration;

use telemetry_core::{Key, KeyKind, OptionError, Options, RunId, Text};

use crate::assembler::{AssemblerConfig, Sampling};
use crate::redaction::{Content, Redaction};

/// Settings of a pipeline. The defaults suit a server.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// The name of the service that this process is. May be empty.
    pub service_name: Text,
    /// This run of the program. Stores use it to distinguish batches of different runs.
    pub run: RunId,
    /// Events of a thread that may wait for the assembler. If many threads log, later ones get fewer slots,
    /// but at least 512. A slot takes about 100 bytes once it was used.
    pub queue_slots: usize,
    /// Memory of the events above 2 KiB that may wait for the assembler, in bytes.
    pub queue_bytes: usize,
    /// Limits of the assembler.
    pub assembler: AssemblerConfig,
    /// What is removed from events that this process logs.
    pub redaction: Redaction,
    /// How long the sinks may take to get ready.
    pub build_within: Duration,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            service_name: Text::Borrowed(""),
            run: RunId(crate::ids::random_span_id().as_u64() >> 1),
            queue_slots: 16_384,
            queue_bytes: 64 << 20,
            assembler: AssemblerConfig::default(),
            redaction: Redaction::default(),
            build_within: Duration::from_secs(60),
        }
    }
}

const fn key(name: &'static str, kind: KeyKind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, flat: None, default: Some(default), help }
}

impl PipelineConfig {
    /// The keys of the map `pipeline:`.
    pub const KEYS: &'static [Key] = &[
        key(
            "queue_slots",
            KeyKind::Integer,
            "16384",
            "events of a thread that may wait for the assembler; with many threads, fewer for each",
        ),
        key(
            "queue_bytes",
            KeyKind::Size,
            "64MiB",
            "memory of events above 2 KiB that may wait for the assembler",
        ),
        key(
            "max_open_spans",
            KeyKind::Integer,
            "100000",
            "spans open at the same time; beyond it the oldest is delivered unfinished",
        ),
        key(
            "max_open_bytes",
            KeyKind::Size,
            "64MiB",
            "memory for open spans; beyond it the oldest is delivered unfinished",
        ),
        key("max_open_age", KeyKind::Duration, "24h", "how long a span may be open"),
        key("max_waiting_ends", KeyKind::Integer, "10000", "ends that may wait for their start"),
        key(
            "max_waiting_bytes",
            KeyKind::Size,
            "32MiB",
            "memory for ends that wait; beyond it the oldest is delivered as a span with unknown start",
        ),
        key("max_waiting_age", KeyKind::Duration, "10m", "how long an end may wait for its start"),
        key(
            "max_attributes_per_span",
            KeyKind::Integer,
            "10000",
            "attributes per span and per event; further ones are cut and counted, or answered 400 by `POST /events`",
        ),
        key(
            "max_events_per_span",
            KeyKind::Integer,
            "10000",
            "events listed per span; further ones are cut and counted",
        ),
        key(
            "max_value_bytes",
            KeyKind::Size,
            "8MiB",
            "bytes per text value; longer ones are cut and counted",
        ),
        key(
            "sample_ratio",
            KeyKind::Float,
            "1.0",
            "share of traces that is kept, decided by the trace id; failed spans and metrics are always kept",
        ),
        key(
            "content",
            KeyKind::Choice(&["drop", "mask", "capture"]),
            "drop",
            "what to do with prompts, answers and tool calls in events that this process logs",
        ),
        Key {
            name: "content_keys",
            kind: KeyKind::List,
            flat: None,
            default: None,
            help: "attributes that hold content, in addition to the known ones",
        },
    ];

    /// Reads the map `pipeline:`. Keys that are absent keep the value of `self`.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first unusable value.
    pub fn with_options(mut self, options: &Options) -> Result<Self, OptionError> {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        let size = |name: &str| -> Result<Option<usize>, OptionError> {
            Ok(options.size(name)?.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
        };
        let count = |name: &str| -> Result<Option<usize>, OptionError> {
            match options.integer::<usize>(name)? {
                Some(0) => Err(options.error(name, "must be at least 1")),
                count => Ok(count),
            }
        };
        set(&mut self.queue_slots, count("queue_slots")?);
        set(&mut self.queue_bytes, size("queue_bytes")?);
        set(&mut self.assembler.max_open_spans, count("max_open_spans")?);
        set(&mut self.assembler.max_open_bytes, size("max_open_bytes")?);
        set(&mut self.assembler.max_open_age, options.duration("max_open_age")?);
        set(&mut self.assembler.max_waiting_ends, count("max_waiting_ends")?);
        set(&mut self.assembler.max_waiting_bytes, size("max_waiting_bytes")?);
        set(&mut self.assembler.max_waiting_age, options.duration("max_waiting_age")?);
        set(&mut self.assembler.max_attributes_per_span, count("max_attributes_per_span")?);
        set(&mut self.assembler.max_events_per_span, count("max_events_per_span")?);
        set(&mut self.assembler.max_value_bytes, size("max_value_bytes")?);
        if let Some(ratio) = options.float("sample_ratio")? {
            let sampling = Sampling::ratio(ratio);
            self.assembler.sampling =
                sampling.map_err(|error| options.error("sample_ratio", error.to_string()))?;
        }
        let content = [("drop", Content::Drop), ("mask", Content::Mask), ("capture", Content::Capture)];
        set(&mut self.redaction.content, options.choice("content", &content)?);
        let keys = options.list("content_keys")?;
        set(&mut self.redaction.content_keys, keys.map(|keys| keys.into_iter().map(Text::Owned).collect()));
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::OptionValue;

    #[test]
    fn options_replace_defaults() {
        let options = Options::from_pairs([("max_open_age", OptionValue::Text("1h".into()))]);
        let config = PipelineConfig::default().with_options(&options).unwrap();
        assert_eq!(config.assembler.max_open_age, Duration::from_secs(3_600));
        let zero = Options::from_pairs([("queue_slots", OptionValue::Integer(0))]);
        assert!(PipelineConfig::default().with_options(&zero).is_err());
    }
}
