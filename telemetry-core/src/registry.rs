//! Which sinks exist, and how one is built.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Key, KeyKind, OptionError, Options, RunId, SignalSet, Sink, SinkError, Span, Text, TraceStore, WaitingEnd,
};

/// A boxed future that may be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Builds a sink. Runs on the sink's own thread, inside the sink's own runtime.
pub type BuildFn = for<'a> fn(&'a SinkContext) -> BoxFuture<'a, Result<BuiltSink, SinkError>>;

/// Describes a sink that can be chosen by name. One `static` per name; the listing, the README's
/// table and error messages derive from it.
#[derive(Debug)]
pub struct SinkEntry {
    /// The name in the configuration.
    pub name: &'static str,
    /// What the sink does, in one line.
    pub summary: &'static str,
    /// The options it takes; any other is refused before `build` is called.
    pub keys: &'static [Key],
    /// Builds it.
    pub build: BuildFn,
}

/// What a sink is built from.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// The service this process is; may be empty.
    pub service_name: Text,
    /// The sink's options.
    pub options: Options,
    /// This run of the program.
    pub run: RunId,
}

/// A sink, ready to work, and what the pipeline should know of it.
#[non_exhaustive]
pub struct BuiltSink {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// The signals it wants; fixed for its life.
    pub interest: SignalSet,
    /// Answers queries. Its presence makes receipts wait for this sink.
    pub store: Option<Arc<dyn TraceStore>>,
    /// What an earlier run left open; goes back to the assembler.
    pub recovered: Recovered,
    /// How the worker should treat it.
    pub options: SinkOptions,
}

impl std::fmt::Debug for BuiltSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltSink")
            .field("interest", &self.interest)
            .field("store", &self.store.is_some())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What a store kept of an earlier run.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Spans that had started and not ended; they are `Unfinished` now, and an end that comes completes them.
    pub open_spans: Vec<Span>,
    /// Ends whose start had not come.
    pub waiting_ends: Vec<WaitingEnd>,
}

/// How the worker treats a sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// Signals per batch at most. A batch is made of whole chunks, so it may exceed this by one chunk.
    pub batch_signals: usize,
    /// How long a batch may wait to fill. Zero: never; whatever is there is a batch.
    pub batch_age: Duration,
    /// When a write is given up and tried again. `None`: never; slowness is reported instead.
    pub write_timeout: Option<Duration>,
    /// Payload that may wait in memory, in bytes.
    pub queue_bytes: usize,
    /// How long one batch is retried before it is given up. `None`: for ever.
    pub retry_for: Option<Duration>,
    /// Continues the queue on disk.
    pub spool: Option<SpoolOptions>,
}

/// The part of a sink's queue that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder; created if missing, one per sink.
    pub path: PathBuf,
    /// Bytes on disk at most; beyond it the newest is dropped and counted.
    pub max_bytes: u64,
}

impl SpoolOptions {
    /// The option that switches the spool on.
    pub const PATH: Key = Key {
        name: "spool_path",
        kind: KeyKind::Path,
        flat: None,
        default: None,
        help: "folder in which the queue continues when its memory is full, also over a restart; none by default",
    };
    /// The option for its bound.
    pub const SIZE: Key = Key {
        name: "spool_size",
        kind: KeyKind::Size,
        flat: None,
        // Read where the path is given; a default here would be a size without a path.
        default: None,
        help: "bytes in the spool at most, 1GiB by default; what does not fit is dropped and counted",
    };

    /// Reads the two options. Within the folder given, every sink has one of its own name, so that
    /// sinks may share the option's value.
    ///
    /// ```
    /// use telemetry_core::{OptionValue, Options, SpoolOptions};
    ///
    /// let options = Options::from_pairs([("spool_path", OptionValue::Text("/var/spool/telemetry".into()))]);
    /// let spool = SpoolOptions::read(&options, "acme")?.expect("the path is given");
    /// assert_eq!(spool.path, std::path::Path::new("/var/spool/telemetry/acme"));
    /// assert_eq!(spool.max_bytes, 1 << 30);
    /// assert_eq!(SpoolOptions::read(&Options::default(), "acme")?, None);
    /// # Ok::<(), telemetry_core::OptionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An [`OptionError`] for an unusable value, or a size without a path.
    pub fn read(options: &Options, sink: &str) -> Result<Option<Self>, OptionError> {
        let size = options.size(Self::SIZE.name)?;
        match options.text(Self::PATH.name)? {
            Some(path) if !path.is_empty() => {
                Ok(Some(Self { path: PathBuf::from(path).join(sink), max_bytes: size.unwrap_or(1 << 30) }))
            }
            Some(_) | None if size.is_some() => {
                Err(options.error(Self::SIZE.name, "has no effect without `spool_path`"))
            }
            Some(_) | None => Ok(None),
        }
    }
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            batch_signals: 8_192,
            batch_age: Duration::ZERO,
            write_timeout: None,
            queue_bytes: 64 << 20,
            retry_for: None,
            spool: None,
        }
    }
}

impl BuiltSink {
    /// A sink that is no store, with default options.
    pub fn new(sink: impl Sink, interest: SignalSet) -> Self {
        Self {
            sink: Box::new(sink),
            interest,
            store: None,
            recovered: Recovered::default(),
            options: SinkOptions::default(),
        }
    }

    /// Gives the queries the sink can answer.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn TraceStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Gives what an earlier run left open.
    #[must_use]
    pub fn with_recovered(mut self, recovered: Recovered) -> Self {
        self.recovered = recovered;
        self
    }

    /// Replaces the worker's options.
    #[must_use]
    pub fn with_options(mut self, options: SinkOptions) -> Self {
        self.options = options;
        self
    }
}

/// An entry that [`register_sink!`](crate::register_sink) announced.
#[derive(Debug)]
pub struct Registered(pub &'static SinkEntry);

inventory::collect!(Registered);

/// Announces a sink to every program that links its crate.
///
/// A crate that is only listed in `Cargo.toml` and never named is not linked: the program names it
/// once, with `telemetry_provider::link_sinks!(my_sink);`.
#[macro_export]
macro_rules! register_sink {
    ($entry:path) => {
        $crate::__private::inventory::submit! { $crate::Registered(&$entry) }
    };
}

/// The sinks a program can choose from, by name.
///
/// ```
/// use telemetry_core::{Registry, SinkEntry, SinkError};
///
/// static NULL: SinkEntry = SinkEntry {
///     name: "null",
///     summary: "keeps nothing",
///     keys: &[],
///     build: |_| Box::pin(async { Err(SinkError::close("only an example")) }),
/// };
/// let registry = Registry::from_entries([&NULL, &NULL])?;
/// assert_eq!(registry.names().collect::<Vec<_>>(), ["null"]);
/// # Ok::<(), telemetry_core::RegistryError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry(BTreeMap<&'static str, &'static SinkEntry>);

/// Two different sinks want one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two sinks are named `{name}`: \"{first}\" and \"{second}\"")]
pub struct RegistryError {
    /// The name.
    pub name: &'static str,
    /// The summary of the one.
    pub first: &'static str,
    /// The summary of the other.
    pub second: &'static str,
}

impl Registry {
    /// A registry of just these entries. The same entry twice is one entry.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when two different entries have one name.
    pub fn from_entries(
        entries: impl IntoIterator<Item = &'static SinkEntry>,
    ) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        for entry in entries {
            match registry.0.insert(entry.name, entry) {
                Some(first) if !std::ptr::eq(first, entry) => {
                    return Err(RegistryError {
                        name: entry.name,
                        first: first.summary,
                        second: entry.summary,
                    });
                }
                Some(_) | None => {}
            }
        }
        Ok(registry)
    }

    /// `builtin` and every sink that [`register_sink!`](crate::register_sink) announced in a linked crate.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when two different entries have one name.
    pub fn linked(builtin: &[&'static SinkEntry]) -> Result<Self, RegistryError> {
        let announced = inventory::iter::<Registered>.into_iter().map(|registered| registered.0);
        Self::from_entries(builtin.iter().copied().chain(announced))
    }

    /// The sink of this name.
    pub fn get(&self, name: &str) -> Option<&'static SinkEntry> {
        self.0.get(name).copied()
    }

    /// All names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// All entries, in alphabetical order of their names.
    pub fn entries(&self) -> impl Iterator<Item = &'static SinkEntry> {
        self.0.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: SinkEntry = SinkEntry {
        name: "x",
        summary: "one",
        keys: &[],
        build: |_| Box::pin(async { Err(SinkError::close("no")) }),
    };
    static TWO: SinkEntry = SinkEntry {
        name: "x",
        summary: "two",
        keys: &[],
        build: |_| Box::pin(async { Err(SinkError::close("no")) }),
    };
    static ANNOUNCED: SinkEntry = SinkEntry {
        name: "announced",
        summary: "",
        keys: &[],
        build: |_| Box::pin(async { Err(SinkError::close("no")) }),
    };
    crate::register_sink!(ANNOUNCED);

    #[test]
    fn the_same_name_from_another_crate_is_an_error() {
        assert_eq!(
            Registry::from_entries([&ONE, &TWO]).unwrap_err().to_string(),
            "two sinks are named `x`: \"one\" and \"two\""
        );
    }

    #[test]
    fn an_announced_sink_is_found() {
        let registry = Registry::linked(&[&ONE, &ANNOUNCED]).unwrap();
        assert_eq!(registry.names().collect::<Vec<_>>(), ["announced", "x"]);
    }
}
