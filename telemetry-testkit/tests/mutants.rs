//! The kit itself: a good sink breaks no clause, and for each clause a sink that breaks it breaks
//! that one and no other.
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
    /// C2 order: batches are delivered backwards.
    C2Order,
    /// C2 order: a batch too large for one request goes in two, the second first.
    C2OrderOfALargeBatch,
    /// C3 once: what a span lists is delivered again.
    C3Once,
    /// C3 once: of equal signals in a batch one is delivered.
    C3OnceForTwins,
    /// C4 fidelity: text is cut at 1,000 characters.
    C4Fidelity,
    /// C4 fidelity: text is sent in pieces of 64 KiB that break characters.
    C4FidelityOfPieces,
    /// C4 fidelity: what belongs to no span is forgotten.
    C4FidelityWithoutASpan,
    /// C4 fidelity: one signal is refused openly, and others are missing.
    C4FidelityByHalf,
    /// C5 empty: an empty batch is an error.
    C5Empty,
    /// C6 flush: nothing is delivered before the shutdown.
    C6Flush,
    /// C7 shutdown: what was not flushed is forgotten.
    C7Shutdown,
    /// C7 shutdown: batches of another run are taken for those of this one.
    C7ShutdownOfARun,
    /// C8 cancel: a dropped write leaves the sink locked.
    C8Cancel,
    /// C8 cancel: after a dropped write a shutdown does not flush.
    C8CancelAtTheEnd,
    /// C8 cancel: a store commits the batch's name after its data.
    C8CancelOfAStore,
    /// C9 retry: a batch that fails half-way is delivered whole when it comes again.
    C9Retry,
    /// C9 retry: a store does not know a batch that it has.
    C9RetryOfAStore,
    /// C10 independence: all sinks write where the latest was told to.
    C10Independence,
    /// C10 independence: what one sink has delivered, another of the same process leaves out.
    C10IndependenceOfTwins,
    /// C11 outage: an outage loses the batch.
    C11Outage,
    /// C12 recovery: an outage is for ever.
    C12Recovery,
    /// C13 interest: an end is taken for impossible without its start.
    C13Interest,
    /// C14 options: a malformed option is overlooked.
    C14Options,
    /// C15 secrets: the token is in the error of an outage.
    C15Secrets,
}

/// Where a sink delivers to, in memory.
#[derive(Default)]
struct Destination {
    held: Vec<Signal>,
    numbers: HashSet<u64>,
    is_broken: bool,
}

/// Destinations by number: a build function has no captures.
static DESTINATIONS: Mutex<Vec<Arc<Mutex<Destination>>>> = Mutex::new(Vec::new());
/// What the mutant of C10 shares between its instances.
static LATEST: Mutex<usize> = Mutex::new(0);

/// What the living instances of the other mutant of C10 have delivered.
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
    fn lock<T>(&self, look: impl FnOnce(&mut Destination) -> T) -> T {
        let number = match self.flaw {
            Flaw::C10Independence => *LATEST.lock().unwrap(),
            _ => self.destination,
        };
        let destination = Arc::clone(&DESTINATIONS.lock().unwrap()[number]);
        let mut destination: MutexGuard<'_, Destination> = destination.lock().unwrap();
        look(&mut destination)
    }

    fn outage(&mut self, batch: &Batch<'_>) -> Option<SinkError> {
        let is_broken = self.lock(|destination| destination.is_broken);
        self.was_broken |= is_broken;
        let is_out = is_broken || (self.flaw == Flaw::C12Recovery && self.was_broken);
        if !is_out {
            return None;
        }
        if self.flaw == Flaw::C9Retry {
            self.lock(|destination| destination.held.extend(batch.iter().take(2).cloned()));
        }
        Some(match self.flaw {
            Flaw::C11Outage => SinkError::reject("out of order"),
            Flaw::C15Secrets => SinkError::retry("out of order").with("token", &self.token),
            _ => SinkError::retry("out of order"),
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
            Flaw::C3OnceForTwins => {
                let mut seen = HashSet::new();
                signals.retain(|signal| seen.insert(format!("{signal:?}")));
            }
            Flaw::C4FidelityOfPieces => {
                signals = signals.into_iter().map(|signal| with_text(signal, in_pieces)).collect();
            }
            Flaw::C4FidelityWithoutASpan => signals
                .retain(|signal| !matches!(signal, Signal::Log(log) if log.context == EventContext::None)),
            Flaw::C4FidelityByHalf if is_hard(signals.iter()) => {
                signals.retain(|signal| !matches!(signal, Signal::Metric(_)));
            }
            Flaw::C10IndependenceOfTwins => {
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

/// Whether these are the signals of C4.
fn is_hard<'a>(mut signals: impl Iterator<Item = &'a Signal>) -> bool {
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
            self.lock(|destination| {
                let fitting = if destination.is_broken { 0 } else { usize::MAX };
                destination.held.extend(batch.iter().take(fitting).cloned());
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
        let is_new = self.lock(|destination| destination.numbers.insert(batch.id().number));
        if self.flaw == Flaw::C8CancelOfAStore || self.flaw == Flaw::C7ShutdownOfARun && !is_new {
            return Ok(batch.delivered());
        }
        self.has_written = true;
        let signals = self.altered(batch);
        match self.flaw {
            Flaw::C6Flush | Flaw::C7Shutdown | Flaw::C8CancelAtTheEnd => self.buffer.extend(signals),
            _ => self.lock(|destination| destination.held.extend(signals)),
        }
        if self.flaw == Flaw::C4FidelityByHalf && is_hard(batch.iter()) {
            return Ok(Written::partly(1, "too hard"));
        }
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        if self.flaw == Flaw::C1Lifecycle && !self.has_written {
            return Err(SinkError::reject("there is nothing to flush"));
        }
        if self.flaw != Flaw::C6Flush {
            let buffer = std::mem::take(&mut self.buffer);
            self.lock(|destination| destination.held.extend(buffer));
        }
        Ok(())
    }

    async fn shutdown(mut self: Box<Self>) -> Result<(), SinkError> {
        let forgets = self.flaw == Flaw::C7Shutdown || self.flaw == Flaw::C8CancelAtTheEnd && self.is_writing;
        if !forgets {
            let buffer = std::mem::take(&mut self.buffer);
            self.lock(|destination| destination.held.extend(buffer));
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
                Delivered::of(&self.destination().lock().unwrap().held)
            }

            async fn break_destination(&self) -> bool {
                self.destination().lock().unwrap().is_broken = true;
                true
            }

            async fn mend_destination(&self) {
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
    a_flush_that_needs_a_write: C1Lifecycle breaks ["c1_lifecycle"];
    a_batch_delivered_backwards: C2Order breaks ["c2_order"];
    a_large_batch_out_of_order: C2OrderOfALargeBatch breaks ["c2_order"];
    a_listed_event_delivered_again: C3Once breaks ["c3_once"];
    a_twin_left_out: C3OnceForTwins breaks ["c3_once"];
    a_text_in_broken_pieces: C4FidelityOfPieces breaks ["c4_fidelity"];
    a_log_without_a_span_forgotten: C4FidelityWithoutASpan breaks ["c4_fidelity"];
    a_refusal_that_hides_a_loss: C4FidelityByHalf breaks ["c4_fidelity"];
    a_text_that_is_cut: C4Fidelity breaks ["c4_fidelity"];
    an_empty_batch_that_is_an_error: C5Empty breaks ["c5_empty"];
    a_flush_that_does_nothing: C6Flush breaks ["c6_flush"];
    a_shutdown_that_forgets: C7Shutdown breaks ["c7_shutdown"];
    a_run_taken_for_another: C7ShutdownOfARun breaks ["c7_shutdown"];
    a_shutdown_that_forgets_after_a_cancelled_write: C8CancelAtTheEnd breaks ["c8_cancel"];
    a_store_that_commits_in_two_steps: C8CancelOfAStore breaks ["c8_cancel"];
    a_cancelled_write_that_locks: C8Cancel breaks ["c8_cancel"];
    a_retry_that_doubles: C9Retry breaks ["c9_retry"];
    a_store_that_does_not_know_its_batches: C9RetryOfAStore breaks ["c9_retry"];
    an_instance_that_takes_over_another: C10Independence breaks ["c10_independence"];
    an_instance_that_leaves_out_what_another_has: C10IndependenceOfTwins breaks ["c10_independence"];
    an_outage_that_loses: C11Outage breaks ["c11_outage"];
    an_outage_for_ever: C12Recovery breaks ["c12_recovery"];
    an_end_that_needs_its_start: C13Interest breaks ["c13_interest"];
    a_malformed_option_overlooked: C14Options breaks ["c14_options"];
    a_secret_in_an_error: C15Secrets breaks ["c15_secrets"];
}
