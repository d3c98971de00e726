//! Sinks made by a test, for a pipeline that builds its sinks itself.

use std::sync::{Mutex, PoisonError};

use telemetry_core::{
    BuiltSink, Key, KeyKind, OptionValue, Options, RunId, SinkContext, SinkEntry, SinkError, Text,
};

/// Build functions capture nothing, so ready-made sinks wait here for theirs.
static SHELF: Mutex<Vec<Option<BuiltSink>>> = Mutex::new(Vec::new());

/// The entry under which [`ready_made`] sinks are built.
pub static READY_MADE: SinkEntry = SinkEntry {
    name: "ready-made",
    summary: "hands out a sink that a test has made",
    keys: &[Key {
        name: "place",
        kind: KeyKind::Integer,
        flat: None,
        default: None,
        help: "where the sink waits, as `ready_made` says",
    }],
    build: |context| Box::pin(async { from_shelf(context) }),
};

/// Puts a sink aside for [`READY_MADE`], and gives the context that fetches it. It can be fetched once.
///
/// ```
/// use telemetry_testkit::{CaptureSink, READY_MADE, block_on, ready_made};
///
/// let (sink, _seen) = CaptureSink::new();
/// let context = ready_made(sink.built());
/// assert!(block_on((READY_MADE.build)(&context)).is_ok());
/// assert!(block_on((READY_MADE.build)(&context)).is_err(), "it is gone");
/// ```
pub fn ready_made(built: BuiltSink) -> SinkContext {
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    let place = i64::try_from(shelf.len()).unwrap_or(i64::MAX);
    shelf.push(Some(built));
    SinkContext {
        service_name: Text::Borrowed("test"),
        options: Options::from_pairs([("place", OptionValue::Integer(place))]),
        run: RunId(1),
    }
}

fn from_shelf(context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let place = context.options.integer::<usize>("place");
    let place = place.map_err(|error| SinkError::close("no such place").source(error))?;
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    let built = place.and_then(|place| shelf.get_mut(place)).and_then(Option::take);
    built.ok_or_else(|| SinkError::close("no ready-made sink waits at this place"))
}
