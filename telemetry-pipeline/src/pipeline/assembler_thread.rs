//! The assembler thread: empties the queue, runs the assembler and sends chunks to the workers.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use telemetry_core::{Chunk, RetainedBytes as _, Signal, Submission, Timestamp};

use super::thread::PipelineThread;
use crate::accounting::{Ack, AssemblerCounts, RejectedChunks};
use crate::assembler::Assembler;
use crate::queue::{Queue, QueueReader, Request};
use crate::redaction::Redaction;
use crate::worker::{QueuedChunk, WorkerSender};

/// Signals per chunk.
const CHUNK_SIGNALS: usize = 256;
/// If at least so many records were taken, the queue is read again without a pause.
const BUSY_RECORDS: usize = 256;
/// The pause when the queue is empty but the program is busy.
const TICK: Duration = Duration::from_millis(2);
/// Empty ticks after which the program counts as idle.
const IDLE_TICKS: u32 = 50;
/// The longest sleep of an idle thread. Old spans are looked for after each.
const SLEEP: Duration = Duration::from_secs(1);
/// How often old spans are looked for.
const AGE_CHECK: Duration = Duration::from_millis(500);

pub(super) struct AssemblerThread {
    pub(super) queue: Arc<Queue>,
    pub(super) assembler: Assembler,
    /// The assembler's counts, as the ledger shows them.
    pub(super) counts: Arc<Mutex<AssemblerCounts>>,
    pub(super) workers: Vec<WorkerSender>,
    pub(super) redaction: Redaction,
    pub(super) rejected: RejectedChunks,
}

impl AssemblerThread {
    /// Starts the thread. It ends when the queue is closed and empty. Then the workers' queues are closed.
    pub(super) fn spawn(self) -> io::Result<PipelineThread> {
        let queue = Arc::clone(&self.queue);
        let state = State {
            thread: self,
            signals: Vec::with_capacity(CHUNK_SIGNALS + 16),
            acks: Vec::new(),
            submission_acks: Vec::new(),
            known_rejections: 0,
            ages_checked: Instant::now(),
        };
        let (thread, handle) = PipelineThread::spawn("assembler", move || state.run())?;
        queue.set_assembler_thread(handle);
        Ok(thread)
    }
}

struct State {
    thread: AssemblerThread,
    /// Signals of the chunk being filled.
    signals: Vec<Signal>,
    /// Acks of the chunk being filled: for each submission, one per store.
    acks: Vec<Vec<Ack>>,
    /// Acks of the submission being assembled. Each of its chunks gets a part of them.
    submission_acks: Vec<Ack>,
    /// Rejections whose chunks the assembler has forgotten.
    known_rejections: u64,
    ages_checked: Instant,
}

impl State {
    fn run(mut self) {
        let mut reader = QueueReader::new(Arc::clone(&self.thread.queue));
        let mut empty_ticks = 0;
        loop {
            // This is read first, so that all records pushed before the close are taken.
            let closed = self.thread.queue.is_closed();
            let taken = self.drain(&mut reader);
            // Also while there is no pause: otherwise nothing would get too old under load.
            self.check_ages();
            if taken >= BUSY_RECORDS {
                continue;
            }
            if taken > 0 {
                // A pause lets callers push undisturbed, and makes larger chunks. A request ends it.
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
                reader.park(TICK, SLEEP);
            }
        }
    }

    /// Takes everything from the queue. Returns the number of records and requests.
    fn drain(&mut self, reader: &mut QueueReader) -> usize {
        let now = Timestamp::now();
        let (taken, requests) = reader.drain(|record| self.ingest_logged(record.into_submission(), now));
        self.forget_rejected();
        for request in requests {
            self.serve(request, now);
        }
        if taken > 0 {
            self.send_chunk();
            self.publish_counts();
        }
        taken
    }

    /// Lets the assembler forget rejected spans, before a request that may submit them again.
    fn forget_rejected(&mut self) {
        let (chunks, rejections) = self.thread.rejected.take();
        for chunk in chunks {
            self.thread.assembler.forget(chunk.signals());
        }
        self.known_rejections = rejections;
    }

    /// Takes an event that this process logged, after redaction.
    fn ingest_logged(&mut self, mut submission: Submission, now: Timestamp) {
        if let Submission::Event { event, .. } = &mut submission {
            self.thread.assembler.count_redacted(self.thread.redaction.apply(event));
        }
        self.ingest(submission, now);
    }

    fn ingest(&mut self, submission: Submission, now: Timestamp) {
        self.thread.assembler.ingest(submission, now, &mut self.signals);
        if self.signals.len() >= CHUNK_SIGNALS {
            self.send_chunk();
        }
    }

    fn serve(&mut self, request: Request, now: Timestamp) {
        match request {
            Request::Submit { submissions, mut acks } => {
                for ack in &mut acks {
                    ack.fail_on_new_rejections(&self.thread.rejected, self.known_rejections);
                }
                self.submission_acks = acks;
                for submission in submissions {
                    self.ingest(submission, now);
                }
                self.acks.push(std::mem::take(&mut self.submission_acks));
            }
            Request::Flush { replies } => {
                self.send_chunk();
                for (worker, reply) in self.thread.workers.iter().zip(replies) {
                    worker.flush(reply);
                }
            }
        }
    }

    fn check_ages(&mut self) {
        if self.ages_checked.elapsed() >= AGE_CHECK {
            self.ages_checked = Instant::now();
            self.thread.assembler.tick(Timestamp::now(), &mut self.signals);
            self.send_chunk();
            self.publish_counts();
        }
    }

    /// Shows the assembler's counts to the ledger.
    fn publish_counts(&self) {
        let mut counts = self.thread.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts = *self.thread.assembler.counts();
    }

    fn send_chunk(&mut self) {
        if self.signals.is_empty() && self.acks.is_empty() {
            return;
        }
        // A new vector of exactly the right size, because the chunk may wait for long.
        let chunk = Arc::new(Chunk::new(self.signals.drain(..).collect()));
        let bytes = chunk.retained_bytes();
        let mut acks = std::mem::take(&mut self.acks);
        if !self.submission_acks.is_empty() {
            acks.push(self.submission_acks.iter().map(Ack::split).collect());
        }
        for worker in &self.thread.workers {
            let signals = chunk.count(worker.interest);
            let acks: Vec<Ack> =
                if worker.is_store { acks.iter_mut().filter_map(Vec::pop).collect() } else { Vec::new() };
            if signals == 0 && acks.is_empty() {
                continue;
            }
            let sent = worker.send(QueuedChunk { chunk: Arc::clone(&chunk), signals, bytes, acks });
            if !sent && worker.is_store {
                self.thread.assembler.forget(chunk.signals());
            }
        }
    }
}
