//! Passes a sink that a test has made to a pipeline, which builds its sinks itself.

use std::sync::{Mutex, PoisonError};

use telemetry_core::{
    BuiltSink, Key, KeyKind, OptionValue, Options, RunId, SinkContext, SinkEntry, SinkError, Text,
};

/// Sinks that are not fetched yet. A build function can't capture a sink, so it finds it here.
static SINKS: Mutex<Vec<Option<BuiltSink>>> = Mutex::new(Vec::new());

/// The entry that "builds" the sinks passed to [`ready_made`].
pub static READY_MADE: SinkEntry = SinkEntry {
    name: "ready-made",
    summary: "a sink that a test has made",
    keys: &[Key {
        name: "index",
        kind: KeyKind::Integer,
        flat: None,
        default: None,
        help: "number of the sink, set by `ready_made`",
    }],
    build: |context| Box::pin(async { fetch(context) }),
};

/// Stores a sink for [`READY_MADE`] and returns the context that fetches it. A sink can be fetched once.
///
/// ```
/// use telemetry_testkit::{CaptureSink, READY_MADE, block_on, ready_made};
///
/// let (sink, _seen) = CaptureSink::new();
/// let context = ready_made(sink.built());
/// assert!(block_on((READY_MADE.build)(&context)).is_ok());
/// assert!(block_on((READY_MADE.build)(&context)).is_err(), "it was fetched before");
/// ```
pub fn ready_made(built: BuiltSink) -> SinkContext {
    let mut sinks = SINKS.lock().unwrap_or_else(PoisonError::into_inner);
    let index = i64::try_from(sinks.len()).unwrap_or(i64::MAX);
    sinks.push(Some(built));
    SinkContext {
        service_name: Text::Borrowed("test"),
        options: Options::from_pairs([("index", OptionValue::Integer(index))]),
        run: RunId(1),
    }
}

fn fetch(context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let index = context.options.integer::<usize>("index");
    let index = index.map_err(|error| SinkError::close("the index can't be read").source(error))?;
    let mut sinks = SINKS.lock().unwrap_or_else(PoisonError::into_inner);
    let built = index.and_then(|index| sinks.get_mut(index)).and_then(Option::take);
    built.ok_or_else(|| SinkError::close("no ready-made sink has this index, or it was fetched before"))
}
