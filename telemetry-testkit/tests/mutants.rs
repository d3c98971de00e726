//! The sink contract finds broken sinks: a good sink breaks no clause, and each mutant breaks its clause and no other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use telemetry_core::{
    Attributes, Batch, BatchId, BuiltSink, EventContext, Key, KeyKind, OptionValue, Options, Signal,
    SignalSet, Sink, SinkContext, SinkEntry, SinkError, Span, SpanEvent, SpanKey, Value, Written,
};
use telemetry_testkit::contract::violations;
use telemetry_testkit::{Delivered, Harness, MemoryStore, SERVICE_NAME};

/// What is wrong with a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Sound,
    /// C1 lifecycle: a flush before the first write fails.
    C1Lifecycle,
    /// C2 order: a batch is delivered in reverse order.
    C2Order,
    /// C2 order: a batch that is too large for one request is sent in two, the second one first.
    C2OrderOfALargeBatch,
    /// C3 once: the events that a span lists are delivered again.
    C3Once,
    /// C3 once: only one of two equal signals in a batch is delivered.
    C3OnceForEqualSignals,
    /// C4 fidelity: text is cut at 1,000 characters.
    C4Fidelity,
    /// C4 fidelity: text is sent in pieces of 64 KiB that break characters.
    C4FidelityOfPieces,
    /// C4 fidelity: logs without a span are lost.
    C4FidelityWithoutASpan,
    /// C4 fidelity: one signal is reported as rejected, but more are missing.
    C4FidelityOfRejections,
    /// C5 empty: an empty batch is an error.
    C5Empty,
    /// C6 flush: nothing is delivered before the shutdown.
    C6Flush,
    /// C7 shutdown: what was not flushed is lost.
    C7Shutdown,
    /// C7 shutdown: batches of another run are mistaken for those of this one.
    C7ShutdownOfARun,
    /// C8 cancel: a dropped write leaves the sink locked.
    C8Cancel,
    /// C8 cancel: after a dropped write, the shutdown does not flush.
    C8CancelBeforeShutdown,
    /// C8 cancel: a store commits the id of a batch after its data.
    C8CancelOfAStore,
    /// C9 retry: after a failure half-way, the whole batch is delivered again.
    C9Retry,
    /// C9 retry: a store does not recognise a batch that it has committed.
    C9RetryOfAStore,
    /// C10 independence: all sinks write to the destination of the latest.
    C10Independence,
    /// C10 independence: a sink leaves out what another sink of the process has delivered.
    C10IndependenceOfEqualSignals,
    /// C11 outage: an outage loses the batch.
    C11Outage,
    /// C12 recovery: an outage never ends.
    C12Recovery,
    /// C13 interest: an end without its start is an error.
    C13Interest,
    /// C14 options: a malformed option is ignored.
    C14Options,
    /// C15 secrets: the error of an outage contains the token.
    C15Secrets,
}

/// A destination in memory.
#[derive(Default)]
struct Destination {
    signals: Vec<Signal>,
    numbers: HashSet<u64>,
    is_broken: bool,
}

/// All destinations. A build function can't capture one, so it finds it here by its number.
static DESTINATIONS: Mutex<Vec<Arc<Mutex<Destination>>>> = Mutex::new(Vec::new());
/// The destination of the latest sink, which the mutant `C10Independence` shares between its instances.
static LATEST: Mutex<usize> = Mutex::new(0);
/// What the instances of the mutant `C10IndependenceOfEqualSignals` have delivered, by destination.
static BY_OTHERS: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());

const TOKEN: &str = "hush-hush-token";

static KEYS: &[Key] = &[
    Key { name: "destination", kind: KeyKind::Integer, flat: None, default: None, help: "its number" },
    Key { name: "token", kind: KeyKind::Secret, flat: None, default: None, help: "a secret" },
];

struct MutantSink {
    flaw: Flaw,
    destination: usize,
    token: String,
    stored: HashSet<BatchId>,
    buffer: Vec<Signal>,
    started: HashSet<SpanKey>,
    has_written: bool,
    is_writing: bool,
    was_broken: bool,
}

impl MutantSink {
    fn with_destination<T>(&self, code: impl FnOnce(&mut Destination) -> T) -> T {
        let number = match self.flaw {
            Flaw::C10Independence => *LATEST.lock().unwrap(),
            _ => self.destination,
        };
        let destination = Arc::clone(&DESTINATIONS.lock().unwrap()[number]);
        let mut destination: MutexGuard<'_, Destination> = destination.lock().unwrap();
        code(&mut destination)
    }

    fn outage(&mut self, batch: &Batch<'_>) -> Option<SinkError> {
        let is_broken = self.with_destination(|destination| destination.is_broken);
        self.was_broken |= is_broken;
        let is_out = is_broken || (self.flaw == Flaw::C12Recovery && self.was_broken);
        if !is_out {
            return None;
        }
        if self.flaw == Flaw::C9Retry {
            self.with_destination(|destination| destination.signals.extend(batch.iter().take(2).cloned()));
        }
        Some(match self.flaw {
            Flaw::C11Outage => SinkError::reject("the destination is broken"),
            Flaw::C15Secrets => SinkError::retry("the destination is broken").with("token", &self.token),
            _ => SinkError::retry("the destination is broken"),
        })
    }

    fn check_starts(&mut self, batch: &Batch<'_>) -> Result<(), SinkError> {
        for signal in batch.iter() {
            match signal {
                Signal::SpanStarted(span) => {
                    self.started.insert(span.key());
                }
                Signal::SpanEnded(span) if !self.started.contains(&span.key()) => {
                    return Err(SinkError::reject("an end without a start"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn altered(&self, batch: &Batch<'_>) -> Vec<Signal> {
        let mut signals: Vec<Signal> = batch.iter().cloned().collect();
        match self.flaw {
            Flaw::C2Order => signals.reverse(),
            Flaw::C2OrderOfALargeBatch if signals.len() > 1_024 => signals.rotate_left(1_024),
            Flaw::C3OnceForEqualSignals => {
                let mut seen = HashSet::new();
                signals.retain(|signal| seen.insert(format!("{signal:?}")));
            }
            Flaw::C4FidelityOfPieces => {
                signals = signals.into_iter().map(|signal| with_text(signal, in_pieces)).collect();
            }
            Flaw::C4FidelityWithoutASpan => signals
                .retain(|signal| !matches!(signal, Signal::Log(log) if log.context == EventContext::None)),
            Flaw::C4FidelityOfRejections if are_edge_cases(signals.iter()) => {
                signals.retain(|signal| !matches!(signal, Signal::Metric(_)));
            }
            Flaw::C10IndependenceOfEqualSignals => {
                let mut by_others = BY_OTHERS.lock().unwrap();
                signals.retain(|signal| {
                    let text = format!("{signal:?}");
                    let is_known = by_others.iter().any(|(by, it)| *by != self.destination && *it == text);
                    by_others.push((self.destination, text));
                    !is_known
                });
            }
            Flaw::C3Once => {
                let listed: Vec<Signal> = signals.iter().flat_map(listed).collect();
                signals.extend(listed);
            }
            Flaw::C4Fidelity => {
                let short = |text: &str| text.chars().take(1_000).collect();
                signals = signals.into_iter().map(|signal| with_text(signal, short)).collect();
            }
            _ => {}
        }
        signals
    }
}

fn listed(signal: &Signal) -> Vec<Signal> {
    let Signal::SpanEnded(span) = signal else { return Vec::new() };
    let again = |event: &SpanEvent| match event {
        SpanEvent::Log(log) => Signal::Log(Arc::clone(log)),
        SpanEvent::Metric(point) => Signal::Metric(Arc::clone(point)),
    };
    span.events.iter().map(again).collect()
}

fn in_pieces(text: &str) -> String {
    text.as_bytes().chunks(1 << 16).map(String::from_utf8_lossy).collect()
}

/// Returns true if these are the signals of C4.
fn are_edge_cases<'a>(mut signals: impl Iterator<Item = &'a Signal>) -> bool {
    signals.any(|signal| matches!(signal, Signal::Log(log) if log.context == EventContext::None))
}

fn with_text(signal: Signal, changed: impl Fn(&str) -> String) -> Signal {
    let Signal::SpanEnded(span) = signal else { return signal };
    let changed = |value: Value| match value {
        Value::String(text) => Value::from(changed(&text)),
        other => other,
    };
    let attributes: Attributes =
        span.attributes.iter().cloned().map(|(key, value)| (key, changed(value))).collect();
    Signal::SpanEnded(Arc::new(Span { attributes, ..Span::clone(&span) }))
}

#[async_trait]
impl Sink for MutantSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        if batch.is_empty() {
            return match self.flaw {
                Flaw::C5Empty => Err(SinkError::reject("nothing to write")),
                _ => Ok(batch.delivered()),
            };
        }
        if self.is_writing && self.flaw == Flaw::C8Cancel {
            return Err(SinkError::close("another write is under way"));
        }
        if self.flaw == Flaw::C8CancelOfAStore && !self.stored.contains(&batch.id()) {
            self.with_destination(|destination| {
                let room = if destination.is_broken { 0 } else { usize::MAX };
                destination.signals.extend(batch.iter().take(room).cloned());
            });
        }
        self.is_writing = true;
        tokio::task::yield_now().await;
        self.is_writing = false;
        if let Some(error) = self.outage(batch) {
            return Err(error);
        }
        if self.flaw == Flaw::C13Interest {
            self.check_starts(batch)?;
        }
        if !self.stored.insert(batch.id()) && self.flaw != Flaw::C9RetryOfAStore {
            return Ok(batch.delivered());
        }
        let is_new = self.with_destination(|destination| destination.numbers.insert(batch.id().number));
        if self.flaw == Flaw::C8CancelOfAStore || self.flaw == Flaw::C7ShutdownOfARun && !is_new {
            return Ok(batch.delivered());
        }
        self.has_written = true;
        let signals = self.altered(batch);
        match self.flaw {
            Flaw::C6Flush | Flaw::C7Shutdown | Flaw::C8CancelBeforeShutdown => self.buffer.extend(signals),
            _ => self.with_destination(|destination| destination.signals.extend(signals)),
        }
        if self.flaw == Flaw::C4FidelityOfRejections && are_edge_cases(batch.iter()) {
            return Ok(Written::partly(1, "not supported"));
        }
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        if self.flaw == Flaw::C1Lifecycle && !self.has_written {
            return Err(SinkError::reject("there is nothing to flush"));
        }
        if self.flaw != Flaw::C6Flush {
            let buffer = std::mem::take(&mut self.buffer);
            self.with_destination(|destination| destination.signals.extend(buffer));
        }
        Ok(())
    }

    async fn shutdown(mut self: Box<Self>) -> Result<(), SinkError> {
        let loses_buffer =
            self.flaw == Flaw::C7Shutdown || self.flaw == Flaw::C8CancelBeforeShutdown && self.is_writing;
        if !loses_buffer {
            let buffer = std::mem::take(&mut self.buffer);
            self.with_destination(|destination| destination.signals.extend(buffer));
        }
        Ok(())
    }
}

fn build(flaw: Flaw, context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let malformed = |error| SinkError::close("can't be set up").source(error);
    let options = &context.options;
    let (destination, token) = if flaw == Flaw::C14Options {
        let destination = options.integer("destination").unwrap_or_default();
        (destination.unwrap_or_default(), options.text("token").unwrap_or_default().unwrap_or_default())
    } else {
        let destination = options.integer("destination").map_err(malformed)?;
        (destination.unwrap_or_default(), options.text("token").map_err(malformed)?.unwrap_or_default())
    };
    if flaw == Flaw::C10Independence {
        *LATEST.lock().unwrap() = destination;
    }
    let sink = MutantSink {
        flaw,
        destination,
        token,
        stored: HashSet::new(),
        buffer: Vec::new(),
        started: HashSet::new(),
        has_written: false,
        is_writing: false,
        was_broken: false,
    };
    let built = BuiltSink::new(sink, SignalSet::ALL);
    let is_store = matches!(flaw, Flaw::C8CancelOfAStore | Flaw::C9RetryOfAStore);
    Ok(if is_store { built.with_store(Arc::new(MemoryStore::new(SERVICE_NAME))) } else { built })
}

impl Drop for MutantSink {
    fn drop(&mut self) {
        BY_OTHERS.lock().unwrap().retain(|(by, _)| *by != self.destination);
    }
}

macro_rules! mutants {
    ($($test:ident: $harness:ident breaks $clauses:expr;)+) => {$(
        struct $harness(usize);

        impl $harness {
            fn destination(&self) -> Arc<Mutex<Destination>> {
                Arc::clone(&DESTINATIONS.lock().unwrap()[self.0])
            }
        }

        #[async_trait]
        impl Harness for $harness {
            fn new() -> Self {
                let mut destinations = DESTINATIONS.lock().unwrap();
                destinations.push(Arc::default());
                Self(destinations.len() - 1)
            }

            fn entry(&self) -> &'static SinkEntry {
                static ENTRY: SinkEntry = SinkEntry {
                    name: stringify!($test),
                    summary: "delivers to memory",
                    keys: KEYS,
                    build: |context| Box::pin(async { build(Flaw::$harness, context) }),
                };
                &ENTRY
            }

            fn options(&self) -> Options {
                let number = OptionValue::Integer(i64::try_from(self.0).unwrap());
                let token = OptionValue::Text(TOKEN.to_owned());
                Options::from_pairs([("destination", number), ("token", token)])
            }

            async fn delivered(&self) -> Delivered {
                Delivered::of(&self.destination().lock().unwrap().signals)
            }

            async fn break_destination(&self) -> bool {
                self.destination().lock().unwrap().is_broken = true;
                true
            }

            async fn restore_destination(&self) {
                self.destination().lock().unwrap().is_broken = false;
            }

            fn secrets(&self) -> Vec<String> {
                vec![TOKEN.to_owned()]
            }
        }

        #[test]
        fn $test() {
            let violations = violations::<$harness>();
            let clauses: Vec<&str> = violations.iter().map(|(clause, _)| *clause).collect();
            let expected: &[&str] = &$clauses;
            assert_eq!(clauses, expected, "{violations:#?}");
        }
    )+};
}

mutants! {
    a_good_sink_breaks_no_clause: Sound breaks [];
    a_flush_before_a_write_fails: C1Lifecycle breaks ["c1_lifecycle"];
    a_batch_is_delivered_in_reverse_order: C2Order breaks ["c2_order"];
    a_large_batch_is_out_of_order: C2OrderOfALargeBatch breaks ["c2_order"];
    a_listed_event_is_delivered_again: C3Once breaks ["c3_once"];
    an_equal_signal_is_left_out: C3OnceForEqualSignals breaks ["c3_once"];
    a_text_is_cut_inside_a_character: C4FidelityOfPieces breaks ["c4_fidelity"];
    a_log_without_a_span_is_lost: C4FidelityWithoutASpan breaks ["c4_fidelity"];
    a_rejection_hides_a_loss: C4FidelityOfRejections breaks ["c4_fidelity"];
    a_text_is_cut: C4Fidelity breaks ["c4_fidelity"];
    an_empty_batch_is_an_error: C5Empty breaks ["c5_empty"];
    a_flush_does_nothing: C6Flush breaks ["c6_flush"];
    a_shutdown_does_not_flush: C7Shutdown breaks ["c7_shutdown"];
    a_run_is_mistaken_for_another: C7ShutdownOfARun breaks ["c7_shutdown"];
    a_shutdown_after_a_dropped_write_does_not_flush: C8CancelBeforeShutdown breaks ["c8_cancel"];
    a_store_commits_in_two_steps: C8CancelOfAStore breaks ["c8_cancel"];
    a_dropped_write_leaves_the_sink_locked: C8Cancel breaks ["c8_cancel"];
    a_retry_delivers_twice: C9Retry breaks ["c9_retry"];
    a_store_does_not_recognise_its_batches: C9RetryOfAStore breaks ["c9_retry"];
    a_sink_writes_to_the_destination_of_another: C10Independence breaks ["c10_independence"];
    a_sink_leaves_out_what_another_has_delivered: C10IndependenceOfEqualSignals breaks ["c10_independence"];
    an_outage_loses_the_batch: C11Outage breaks ["c11_outage"];
    an_outage_never_ends: C12Recovery breaks ["c12_recovery"];
    an_end_without_its_start_fails: C13Interest breaks ["c13_interest"];
    a_malformed_option_is_ignored: C14Options breaks ["c14_options"];
    an_error_contains_a_secret: C15Secrets breaks ["c15_secrets"];
}
