//! The engine: one thread that empties the queue, runs the assembler and hands chunks to the workers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use telemetry_core::{Chunk, Signal, SignalSet, Submission, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::assembler::Assembler;
use crate::lane::Inlet;
use crate::ledger::SinkCounters;
use crate::lost::LostChunks;
use crate::receipt::Ack;
use crate::redaction::Redaction;
use crate::telemetry::Shared;
use crate::worker::{Delivery, Message};

/// What is not a plain event of in-process code.
#[derive(Debug)]
pub(crate) enum Request {
    Submit { submissions: Vec<Submission>, acks: Vec<Ack> },
    Flush { replies: Vec<oneshot::Sender<Result<(), String>>> },
}

/// The engine's end of a worker's queue.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) counters: Arc<SinkCounters>,
    pub(crate) interest: SignalSet,
    pub(crate) is_store: bool,
    pub(crate) queue: mpsc::Sender<Message>,
    pub(crate) bytes: Arc<AtomicUsize>,
    pub(crate) max_bytes: usize,
}

/// Signals per chunk.
const CHUNK: usize = 256;
/// Taken at once, from this on, it is worth while to look again without a pause.
const BUSY: usize = 256;
/// How long the engine rests when the queue is empty but the program is busy.
const TICK: Duration = Duration::from_millis(2);
/// Empty ticks after which the program counts as idle.
const IDLE_TICKS: u32 = 50;
/// How long it sleeps when idle, so that ages are looked at.
const SLEEP: Duration = Duration::from_secs(1);

pub(crate) struct Engine {
    shared: Arc<Shared>,
    assembler: Assembler,
    outlets: Vec<Outlet>,
    redaction: Redaction,
    signals: Vec<Signal>,
    /// Acks of the chunk being filled: per submission, one per store.
    acks: Vec<Vec<Ack>>,
    /// Acks of the submission being taken: each of its chunks bears a part of them.
    current: Vec<Ack>,
    /// What stores rejected.
    lost: LostChunks,
    /// Losses that the assembler knows of.
    known_losses: u64,
    ticked: Instant,
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        assembler: Assembler,
        outlets: Vec<Outlet>,
        redaction: Redaction,
        lost: LostChunks,
    ) -> Self {
        let signals = Vec::with_capacity(CHUNK + 16);
        Self {
            shared,
            assembler,
            outlets,
            redaction,
            signals,
            acks: Vec::new(),
            current: Vec::new(),
            lost,
            known_losses: 0,
            ticked: Instant::now(),
        }
    }

    /// Runs until the door is closed and the queue is empty. The workers' queues end with it.
    pub(crate) fn run(mut self) {
        let mut inlet = Inlet::new(Arc::clone(&self.shared.gate));
        let mut empty_ticks = 0;
        loop {
            // Read before the queue: what was pushed before the door closed is seen.
            let closed = self.shared.gate.is_closed();
            let taken = self.drain(&mut inlet);
            if taken >= BUSY {
                continue;
            }
            self.tick();
            if taken > 0 {
                // Emptied: a pause lets callers push undisturbed, and makes larger chunks. Whoever waits
                // for an answer wakes this thread.
                empty_ticks = 0;
                std::thread::park_timeout(TICK);
                continue;
            }
            if closed {
                return;
            }
            empty_ticks += 1;
            if empty_ticks < IDLE_TICKS {
                std::thread::park_timeout(TICK);
            } else {
                inlet.park(TICK, SLEEP);
            }
        }
    }

    /// Takes what is in the queue; says how much.
    fn drain(&mut self, inlet: &mut Inlet) -> usize {
        let now = Timestamp::now();
        let (taken, requests) = inlet.drain(|record| self.ingest_logged(record.into_submission(), now));
        // Before a request that may bring it again.
        let (lost, losses) = self.lost.take();
        for chunk in lost {
            self.assembler.forget(chunk.signals());
        }
        self.known_losses = losses;
        for request in requests {
            self.serve(request, now);
        }
        if taken > 0 {
            self.send_chunk();
            self.publish();
        }
        taken
    }

    /// Takes what this process logged, without what must not be seen.
    fn ingest_logged(&mut self, mut submission: Submission, now: Timestamp) {
        if let Submission::Event { event, .. } = &mut submission {
            self.assembler.count_redacted(self.redaction.apply(event));
        }
        self.ingest(submission, now);
    }

    fn ingest(&mut self, submission: Submission, now: Timestamp) {
        self.assembler.ingest(submission, now, &mut self.signals);
        if self.signals.len() >= CHUNK {
            self.send_chunk();
        }
    }

    fn serve(&mut self, request: Request, now: Timestamp) {
        match request {
            Request::Submit { submissions, mut acks } => {
                for ack in &mut acks {
                    ack.unless_more_is_lost(&self.lost, self.known_losses);
                }
                self.current = acks;
                for submission in submissions {
                    self.ingest(submission, now);
                }
                self.acks.push(std::mem::take(&mut self.current));
            }
            Request::Flush { replies } => {
                self.send_chunk();
                for (outlet, reply) in self.outlets.iter().zip(replies) {
                    // A full queue drops the reply, and that is an answer.
                    let _ = outlet.queue.try_send(Message::Flush(reply));
                }
            }
        }
    }

    fn tick(&mut self) {
        if self.ticked.elapsed() >= Duration::from_millis(500) {
            self.ticked = Instant::now();
            self.assembler.tick(Timestamp::now(), &mut self.signals);
            self.send_chunk();
            self.publish();
        }
    }

    /// Shows the assembler's counters to the ledger.
    fn publish(&self) {
        *self.shared.assembler.lock().unwrap_or_else(PoisonError::into_inner) = *self.assembler.counts();
    }

    fn send_chunk(&mut self) {
        if self.signals.is_empty() && self.acks.is_empty() {
            return;
        }
        let signals = std::mem::replace(&mut self.signals, Vec::with_capacity(CHUNK + 16));
        let bytes = signals.iter().map(estimate).sum();
        let chunk = Arc::new(Chunk::new(signals));
        let mut acks = std::mem::take(&mut self.acks);
        if !self.current.is_empty() {
            acks.push(self.current.iter().map(Ack::split).collect());
        }
        for outlet in &self.outlets {
            let signals = chunk.count(outlet.interest);
            let acks: Vec<Ack> =
                if outlet.is_store { acks.iter_mut().filter_map(Vec::pop).collect() } else { Vec::new() };
            if signals == 0 && acks.is_empty() {
                continue;
            }
            let taken = outlet.offer(Delivery { chunk: Arc::clone(&chunk), signals, bytes, acks });
            if !taken && outlet.is_store {
                self.assembler.forget(chunk.signals());
            }
        }
    }
}

impl Outlet {
    /// Hands a chunk over; what does not fit is dropped and counted, its acks with it. Says whether it fitted.
    fn offer(&self, delivery: Delivery) -> bool {
        let (signals, bytes) = (delivery.signals, delivery.bytes);
        self.counters.accept(signals);
        if self.bytes.load(Ordering::Relaxed) > self.max_bytes {
            self.counters.drop_signals(signals, self.counters.full_reason());
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(error) = self.queue.try_send(Message::Delivery(delivery)) {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            let reason = match error {
                mpsc::error::TrySendError::Full(_) => self.counters.full_reason(),
                mpsc::error::TrySendError::Closed(_) => "sink closed",
            };
            self.counters.drop_signals(signals, reason);
            return false;
        }
        true
    }
}

/// Bytes of memory a signal holds, roughly.
fn estimate(signal: &Signal) -> usize {
    const BASE: usize = 256;
    BASE + match signal {
        Signal::SpanStarted(span) | Signal::SpanEnded(span) => span.attributes.payload_bytes(),
        Signal::EndWaiting(end) => end.attributes.payload_bytes(),
        Signal::Log(log) => {
            let text = match &log.body {
                telemetry_core::LogBody::Message { message, .. } => message.len(),
                telemetry_core::LogBody::SpanEvent { name } => name.len(),
            };
            text + log.attributes.payload_bytes()
        }
        Signal::Metric(point) => point.attributes.payload_bytes(),
        _ => 0,
    }
}
