//! Lanes: between callers and the engine, a ring of its own for every thread that logs.
//!
//! Only its thread writes to a ring and only the engine reads from it, so a push is a few plain stores:
//! no locked instruction, which would wait until all stores before it have reached memory, and nothing
//! that two threads fight for. Each record bears the tick it was logged at, and the engine takes the
//! rings' records in that order: a log comes after its span's start and before its end, whichever
//! threads they were logged on.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use fastant::Instant;
use rtrb::{Consumer, Producer, RingBuffer};
use telemetry_core::SignalSet;

use crate::PipelineConfig;
use crate::assembler::Sampling;
use crate::engine::Request;
use crate::ledger::IngestCounters;
use crate::record::{FREE_BYTES, Record};

/// Requests that may wait for the engine.
const REQUESTS: usize = 4_096;
/// Records of threads in their last moments that may wait for the engine.
const LAST_RECORDS: usize = 4_096;
/// All rings together have room for this many times what one thread gets: each new one takes its part of
/// what is left, so that hundreds of threads don't hold hundreds of full rings.
const FULL_RINGS: usize = 32;
/// What a thread gets however many there are: some 170 spans between two looks of the engine.
const FEWEST_SLOTS: usize = 512;

thread_local! {
    /// This thread's rings. Taken out while one is pushed to, which costs less than a borrow.
    static LANES: Cell<Option<Box<Lanes>>> = const { Cell::new(None) };
    /// What the guard that ended last on this thread held; the next one need not count itself.
    static SPARE: Cell<Option<Arc<Gate>>> = const { Cell::new(None) };
}

/// A thread's end of a ring.
struct Lane {
    gate: u64,
    ring: Producer<Record>,
}

/// A thread's rings.
struct Lanes {
    /// The one that was pushed to last.
    current: Lane,
    /// Those of other pipelines, where a program has several.
    others: Vec<Lane>,
}

/// What stands between callers and the engine.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Tells this pipeline's rings from others'.
    number: u64,
    slots: usize,
    /// Slots of all rings that are open.
    taken_slots: AtomicUsize,
    /// Rings that the engine has not taken over yet.
    opened: Mutex<Vec<Consumer<Record>>>,
    requests: ArrayQueue<Request>,
    bytes: AtomicUsize,
    max_bytes: usize,
    max_value_bytes: usize,
    /// Records of up to as many bytes are neither cut nor charged.
    plain_bytes: usize,
    pub(crate) interest: SignalSet,
    pub(crate) sampling: Sampling,
    pub(crate) ingest: IngestCounters,
    closed: AtomicBool,
    /// Whether the engine sleeps until it is woken; only then a push wakes it.
    parked: AtomicBool,
    engine: OnceLock<std::thread::Thread>,
}

impl Gate {
    /// Room for `queue_slots` records of a thread, and for `queue_bytes` of payload beyond what is free.
    pub(crate) fn new(config: &PipelineConfig, interest: SignalSet) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            slots: config.queue_slots.max(1),
            taken_slots: AtomicUsize::new(0),
            opened: Mutex::default(),
            requests: ArrayQueue::new(REQUESTS),
            bytes: AtomicUsize::new(0),
            max_bytes: config.queue_bytes,
            max_value_bytes: config.assembler.max_value_bytes,
            plain_bytes: config.assembler.max_value_bytes.min(FREE_BYTES),
            interest,
            sampling: config.assembler.sampling,
            ingest: IngestCounters::default(),
            closed: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            engine: OnceLock::new(),
        }
    }

    /// Pushes what in-process code logs now: never blocks, counts what is refused.
    ///
    /// The record, with `bytes` of payload, is made where it is to lie, in the slot of the ring, for which
    /// all of this must be inlined: one that is made elsewhere and copied would be read back before it
    /// has left the store buffer, which waits for all stores before it.
    #[expect(clippy::inline_always, reason = "half as much again where the compiler does not choose to")]
    #[inline(always)]
    pub(crate) fn offer(&self, bytes: usize, record: impl FnOnce() -> Record) -> bool {
        if self.closed.load(Ordering::Relaxed) || bytes > self.plain_bytes {
            return self.offer_large(Box::new(record()));
        }
        let accepted = self.push(record);
        if !accepted {
            self.ingest.refused_full.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    /// What is large is cut and charged to the budget; and what comes too late is counted.
    #[cold]
    fn offer_large(&self, mut record: Box<Record>) -> bool {
        if self.is_closed() {
            self.ingest.refused_closed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if record.payload_bytes() > self.max_value_bytes {
            self.ingest.truncated_values.fetch_add(record.truncate(self.max_value_bytes), Ordering::Relaxed);
        }
        let bytes = record.charged_bytes();
        let fits = bytes == 0 || self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.max_bytes;
        let accepted = fits && self.push(move || *record);
        if !accepted {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.ingest.refused_full.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    /// Puts a record into this thread's ring; says whether there was room.
    #[expect(clippy::inline_always, reason = "a part of `offer`")]
    #[inline(always)]
    fn push(&self, record: impl FnOnce() -> Record) -> bool {
        // A thread that ends has no rings any more.
        let Ok(lanes) = LANES.try_with(Cell::take) else { return self.push_last(record()) };
        let mut lanes = match lanes {
            Some(lanes) if lanes.current.gate == self.number => lanes,
            other => Box::new(self.turn(other)),
        };
        let pushed = lanes.current.ring.push(record()).is_ok();
        let _ = LANES.try_with(|place| place.set(Some(lanes)));
        if pushed {
            self.wake_if_parked();
        }
        pushed
    }

    #[expect(clippy::inline_always, reason = "a part of `offer`")]
    #[inline(always)]
    fn wake_if_parked(&self) {
        if self.parked.load(Ordering::Acquire) {
            // One wakes it. Until it runs, which takes long enough for a hundred records, others need not.
            self.parked.store(false, Ordering::Release);
            self.wake();
        }
    }

    /// Makes this pipeline's ring the thread's current one, opening it at first; drops those of pipelines
    /// that have ended.
    #[cold]
    fn turn(&self, lanes: Option<Box<Lanes>>) -> Lanes {
        let mut others = lanes.map_or_else(Vec::new, |lanes| {
            let Lanes { current, mut others } = *lanes;
            others.push(current);
            others
        });
        others.retain(|lane| !lane.ring.is_abandoned());
        let known = others.iter().position(|lane| lane.gate == self.number);
        let current = known.map_or_else(|| self.open(), |at| others.swap_remove(at));
        Lanes { current, others }
    }

    fn open(&self) -> Lane {
        let room = self.slots.saturating_mul(FULL_RINGS);
        let left = room.saturating_sub(self.taken_slots.load(Ordering::Relaxed));
        let slots = (left / FULL_RINGS).max(FEWEST_SLOTS.min(self.slots));
        self.taken_slots.fetch_add(slots, Ordering::Relaxed);
        let (ring, end) = RingBuffer::new(slots);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        Lane { gate: self.number, ring }
    }

    /// Gives a record a ring of its own, so that it keeps its place among those of other threads.
    #[cold]
    fn push_last(&self, record: Record) -> bool {
        let (mut ring, end) = RingBuffer::new(1);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() >= LAST_RECORDS || ring.push(record).is_err() {
            return false;
        }
        self.taken_slots.fetch_add(1, Ordering::Relaxed);
        opened.push(end);
        drop(opened);
        self.wake_if_parked();
        true
    }

    /// Puts a request into its queue and wakes the engine, or gives it back when there is no room.
    pub(crate) fn request(&self, request: Request) -> Result<(), Request> {
        self.requests.push(request)?;
        self.wake();
        Ok(())
    }

    /// Refuses what comes from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Says which thread to wake.
    pub(crate) fn serve_by(&self, engine: std::thread::Thread) {
        // Set once, by the one who starts the engine.
        let _ = self.engine.set(engine);
    }

    fn wake(&self) {
        if let Some(engine) = self.engine.get() {
            engine.unpark();
        }
    }
}

/// The engine's side of a gate.
pub(crate) struct Inlet {
    gate: Arc<Gate>,
    rings: Vec<Consumer<Record>>,
}

impl Inlet {
    pub(crate) const fn new(gate: Arc<Gate>) -> Self {
        Self { gate, rings: Vec::new() }
    }

    /// Gives every record logged until now to `take`, in order, and returns every request that was there
    /// before: a request comes after all that was logged before it. Says how much there was.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Record)) -> (usize, Vec<Request>) {
        let waiting = self.gate.requests.len();
        let requests: Vec<Request> = (0..waiting).map_while(|_| self.gate.requests.pop()).collect();
        // What is logged from now on waits for the next time: what it follows may be in a ring that has
        // been looked at already. What was logged before follows nothing that is not there by now.
        let now = Instant::now();
        self.rings.append(&mut self.gate.opened.lock().unwrap_or_else(PoisonError::into_inner));
        self.close_ended();
        let mut taken = requests.len();
        let mut take_from = |ring: &mut Consumer<Record>| {
            let record = ring.pop().ok()?;
            taken += 1;
            let bytes = record.charged_bytes();
            if bytes > 0 {
                self.gate.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            take(record);
            head(ring)
        };
        let heads = self.rings.iter().enumerate();
        let mut heads: BinaryHeap<_> =
            heads.filter_map(|(place, ring)| head(ring).map(|tick| Reverse((tick, place)))).collect();
        while let Some(Reverse((tick, place))) = heads.pop()
            && tick <= now
        {
            let next_other = heads.peek().map_or(now, |Reverse((tick, _))| (*tick).min(now));
            let ring = &mut self.rings[place];
            // A thread that logs alone for a while is emptied without a look at the others.
            let mut next = take_from(ring);
            while next.is_some_and(|tick| tick <= next_other) {
                next = take_from(ring);
            }
            heads.extend(next.map(|tick| Reverse((tick, place))));
        }
        let left = self.rings.iter().filter(|ring| !ring.is_empty()).count();
        (taken + left, requests)
    }

    /// Gives back the rings of threads that have ended.
    fn close_ended(&mut self) {
        self.rings.retain(|ring| {
            // In this order: after its thread has ended, nothing comes any more.
            let is_over = ring.is_abandoned() && ring.is_empty();
            if is_over {
                self.gate.taken_slots.fetch_sub(ring.buffer().capacity(), Ordering::Relaxed);
            }
            !is_over
        });
    }

    fn is_empty(&self) -> bool {
        self.gate.requests.is_empty()
            && self.gate.opened.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            && self.rings.iter().all(Consumer::is_empty)
    }

    /// Sleeps until it is woken: `longest` at most, and not at all when there is work.
    ///
    /// A caller that did not yet see that the engine sleeps has pushed by the end of a `tick`.
    pub(crate) fn park(&mut self, tick: Duration, longest: Duration) {
        self.close_ended();
        self.gate.parked.store(true, Ordering::SeqCst);
        for nap in [tick, longest] {
            // One who wakes it takes the mark back, and those who come after him rely on that.
            let is_marked = self.gate.parked.load(Ordering::SeqCst);
            if is_marked && self.is_empty() && !self.gate.is_closed() {
                std::thread::park_timeout(nap);
            }
        }
        self.gate.parked.store(false, Ordering::SeqCst);
    }
}

/// When the first record of a ring was logged.
fn head(ring: &Consumer<Record>) -> Option<Instant> {
    ring.peek().ok().map(Record::tick)
}

/// A guard's hold on the gate, handed from one guard of a thread to the next.
#[derive(Debug)]
pub(crate) struct Hold(Option<Arc<Gate>>);

impl Hold {
    /// On nothing: no sink wants anything.
    pub(crate) const NONE: Self = Self(None);

    #[inline]
    pub(crate) fn on(gate: &Arc<Gate>) -> Self {
        // Not there while the thread ends.
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        Self(Some(spare.filter(|spare| Arc::ptr_eq(spare, gate)).unwrap_or_else(|| Arc::clone(gate))))
    }

    #[inline]
    pub(crate) const fn gate(&self) -> Option<&Arc<Gate>> {
        self.0.as_ref()
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            let _ = SPARE.try_with(|spare| spare.set(Some(gate)));
        }
    }
}
