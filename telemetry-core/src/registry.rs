//! The sinks that a program can choose by name, and how a sink is built.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Key, KeyKind, OptionError, Options, RunId, SignalSet, Sink, SinkError, Span, Text, TraceStore, WaitingEnd,
};

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Builds a sink. Runs on the sink's own thread, inside the sink's own runtime.
pub type BuildFn = for<'a> fn(&'a SinkContext) -> BoxFuture<'a, Result<BuiltSink, SinkError>>;

/// Describes a sink that a program can choose by name.
///
/// There is one `static` per name. `telemetry sinks`, the README's table and error messages are built from it.
#[derive(Debug)]
pub struct SinkEntry {
    /// The name in the configuration.
    pub name: &'static str,
    /// What the sink does, in one line.
    pub summary: &'static str,
    /// The options it has. Any other option is an error before `build` is called.
    pub keys: &'static [Key],
    /// Builds the sink.
    pub build: BuildFn,
}

/// The input for building a sink.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// The service name of this process; may be empty.
    pub service_name: Text,
    /// The sink's options.
    pub options: Options,
    /// The run of the program.
    pub run: RunId,
}

/// A sink, with what the pipeline needs to know about it.
#[non_exhaustive]
pub struct BuiltSink {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// The signals that it receives; never changes.
    pub interest: SignalSet,
    /// Answers queries. With a store, receipts wait until this sink has committed.
    pub store: Option<Arc<dyn TraceStore>>,
    /// What an earlier run did not finish. The assembler continues with it.
    pub recovered: Recovered,
    /// How the worker delivers to the sink.
    pub options: SinkOptions,
    /// False if the sink does not read the list of events of a span that has ended.
    pub reads_span_events: bool,
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

/// What an earlier run did not finish, as a store kept it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Spans that had started and not ended. They are `Unfinished`; an end that arrives completes them.
    pub open_spans: Vec<Span>,
    /// Ends whose start had not arrived.
    pub waiting_ends: Vec<WaitingEnd>,
}

/// How the worker delivers to a sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The largest number of signals in a batch. A batch consists of whole chunks, so it can exceed this by
    /// one chunk.
    pub batch_signals: usize,
    /// How long a batch waits for more signals. Zero: it does not wait.
    pub batch_age: Duration,
    /// After which time a write is cancelled and tried again. `None`: never; a slow write is reported instead.
    pub write_timeout: Option<Duration>,
    /// The largest number of bytes that wait in memory.
    pub queue_bytes: usize,
    /// How long one batch is retried before it counts as failed. `None`: forever.
    pub retry_for: Option<Duration>,
    /// Where the queue continues on disk, if it does.
    pub spool: Option<SpoolOptions>,
}

/// The part of a sink's queue that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder, one per sink. Created if missing.
    pub path: PathBuf,
    /// The largest number of bytes on disk. Beyond it, new signals are dropped and counted.
    pub max_bytes: u64,
}

impl SpoolOptions {
    /// The option for the folder. Without it there is no spool.
    pub const PATH: Key = Key {
        name: "spool_path",
        kind: KeyKind::Path,
        flat: None,
        default: None,
        help: "folder in which the queue continues when its memory is full, also after a restart; none by default",
    };
    /// The option for the largest size.
    pub const SIZE: Key = Key {
        name: "spool_size",
        kind: KeyKind::Size,
        flat: None,
        // `read` has the default: a default here would be a size without a path.
        default: None,
        help: "largest size of the spool, 1GiB by default; signals that do not fit are dropped and counted",
    };

    /// Reads the two options. The spool is in a subfolder with the sink's name, so that several sinks can
    /// have the same path.
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
    /// Returns an [`OptionError`] for an invalid value, or a size without a path.
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
    /// Returns a sink without a store, with default options.
    pub fn new(sink: impl Sink, interest: SignalSet) -> Self {
        Self {
            sink: Box::new(sink),
            interest,
            store: None,
            recovered: Recovered::default(),
            options: SinkOptions::default(),
            reads_span_events: true,
        }
    }

    /// Declares that the sink takes logs and metric points as signals of their own, and ignores the list of events of
    /// a span that has ended. If no sink reads the list, the pipeline need not keep the events of open spans in memory.
    /// Spans that came by OTLP list their events in any case.
    #[must_use]
    pub fn without_span_events(mut self) -> Self {
        self.reads_span_events = false;
        self
    }

    /// Sets the store that answers queries.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn TraceStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets what an earlier run did not finish.
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

/// An entry registered by [`register_sink!`](crate::register_sink).
#[derive(Debug)]
pub struct Registered(pub &'static SinkEntry);

inventory::collect!(Registered);

/// Registers a sink in every program that links its crate.
///
/// The linker drops a crate that is listed in `Cargo.toml` but never named in code. The program names it
/// once, with `telemetry_provider::link_sinks!(my_sink);`.
#[macro_export]
macro_rules! register_sink {
    ($entry:path) => {
        $crate::__private::inventory::submit! { $crate::Registered(&$entry) }
    };
}

/// The sinks that a program can choose by name.
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

/// Two different sinks have the same name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two sinks are named `{name}`: \"{first}\" and \"{second}\"")]
pub struct RegistryError {
    /// The name.
    pub name: &'static str,
    /// The summary of one sink.
    pub first: &'static str,
    /// The summary of the other sink.
    pub second: &'static str,
}

impl Registry {
    /// Returns a registry of only these entries. The same entry can occur twice.
    ///
    /// # Errors
    ///
    /// Returns a [`RegistryError`] if two different entries have the same name.
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

    /// Returns a registry of `builtin` and of all sinks registered by
    /// [`register_sink!`](crate::register_sink) in linked crates.
    ///
    /// # Errors
    ///
    /// Returns a [`RegistryError`] if two different entries have the same name.
    pub fn linked(builtin: &[&'static SinkEntry]) -> Result<Self, RegistryError> {
        let registered = inventory::iter::<Registered>.into_iter().map(|registered| registered.0);
        Self::from_entries(builtin.iter().copied().chain(registered))
    }

    /// Returns the sink with this name.
    pub fn get(&self, name: &str) -> Option<&'static SinkEntry> {
        self.0.get(name).copied()
    }

    /// Iterates over all names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Iterates over all entries, in alphabetical order of their names.
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
    static REGISTERED: SinkEntry = SinkEntry {
        name: "registered",
        summary: "",
        keys: &[],
        build: |_| Box::pin(async { Err(SinkError::close("no")) }),
    };
    crate::register_sink!(REGISTERED);

    #[test]
    fn the_same_name_from_another_crate_is_an_error() {
        assert_eq!(
            Registry::from_entries([&ONE, &TWO]).unwrap_err().to_string(),
            "two sinks are named `x`: \"one\" and \"two\""
        );
    }

    #[test]
    fn a_registered_sink_is_found() {
        let registry = Registry::linked(&[&ONE, &REGISTERED]).unwrap();
        assert_eq!(registry.names().collect::<Vec<_>>(), ["registered", "x"]);
    }
}
