//! Lanes: the queue between callers and the engine, in parts that threads do not share.
//!
//! A thread keeps to one lane, so threads that log at once do not fight for a cache line. A span guard
//! keeps to the lane of the thread that made it: what it logs stays in order wherever it is moved.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_queue::ArrayQueue;
use telemetry_core::SignalSet;

use crate::engine::Request;
use crate::ledger::DoorCounters;
use crate::record::Record;

/// Lanes of a pipeline. As many threads log without a word between them.
const LANES: usize = 4;
/// Requests that may wait for the engine.
const REQUESTS: usize = 4_096;
/// Payload above this many bytes is charged to the byte budget.
const FREE_BYTES: usize = 1_024;

/// What stands between callers and the engine.
#[derive(Debug)]
pub(crate) struct Gate {
    lanes: Vec<ArrayQueue<Record>>,
    requests: ArrayQueue<Request>,
    bytes: AtomicUsize,
    max_bytes: usize,
    pub(crate) interest: SignalSet,
    pub(crate) door: DoorCounters,
    closed: AtomicBool,
    /// Whether the engine sleeps until it is woken; only then a push wakes it.
    parked: AtomicBool,
    engine: OnceLock<std::thread::Thread>,
}

impl Gate {
    /// Room for about `slots` records, and for `max_bytes` of payload beyond what is free.
    pub(crate) fn new(slots: usize, max_bytes: usize, interest: SignalSet) -> Self {
        let slots = slots.div_ceil(LANES).max(1);
        Self {
            lanes: (0..LANES).map(|_| ArrayQueue::new(slots)).collect(),
            requests: ArrayQueue::new(REQUESTS),
            bytes: AtomicUsize::new(0),
            max_bytes,
            interest,
            door: DoorCounters::default(),
            closed: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            engine: OnceLock::new(),
        }
    }

    /// Puts a request into its queue and wakes the engine, or gives it back when there is no room.
    pub(crate) fn request(&self, request: Request) -> Result<(), Request> {
        self.requests.push(request)?;
        self.wake();
        Ok(())
    }

    /// Puts a record into `lane`, or a free one, or says that there is no room.
    #[inline]
    fn push(&self, lane: usize, record: Record) -> bool {
        let bytes = record.payload_bytes();
        let charged = bytes > FREE_BYTES;
        if charged && self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max_bytes {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        if let Err(record) = self.lanes[lane].push(record)
            && !self.push_anywhere(record)
        {
            if charged {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            return false;
        }
        // Sequentially consistent with the engine's store and its look at the lanes: no wake-up is lost.
        if self.parked.load(Ordering::SeqCst) {
            self.wake();
        }
        true
    }

    #[cold]
    fn push_anywhere(&self, record: Record) -> bool {
        self.lanes.iter().try_fold(record, |record, lane| lane.push(record).err()).is_none()
    }

    /// Gives every record that is in the lanes now to `take`, then every request that was there before
    /// them to `serve`: a request comes after all that was logged before it. Says how many there were.
    pub(crate) fn drain(&self, mut take: impl FnMut(Record)) -> (usize, Vec<Request>) {
        let requests: Vec<Request> = (0..self.requests.len()).map_while(|_| self.requests.pop()).collect();
        let mut taken = requests.len();
        for lane in &self.lanes {
            for _ in 0..lane.len() {
                let Some(record) = lane.pop() else { break };
                taken += 1;
                let bytes = record.payload_bytes();
                if bytes > FREE_BYTES {
                    self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                take(record);
            }
        }
        (taken, requests)
    }

    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.lanes.iter().all(ArrayQueue::is_empty)
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

    /// The engine's sleep until it is woken, at most `longest`; none when there is work.
    pub(crate) fn park(&self, longest: std::time::Duration) {
        self.parked.store(true, Ordering::SeqCst);
        if self.is_empty() && !self.is_closed() {
            std::thread::park_timeout(longest);
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// One lane of a gate. Each has a reference count of its own, so that guards on different threads
/// share nothing.
#[derive(Debug)]
pub(crate) struct Lane {
    gate: Arc<Gate>,
    number: usize,
}

impl Lane {
    /// All lanes of `gate`.
    pub(crate) fn all(gate: &Arc<Gate>) -> Vec<Arc<Self>> {
        (0..gate.lanes.len()).map(|number| Arc::new(Self { gate: Arc::clone(gate), number })).collect()
    }

    /// Pushes what in-process code logs: never blocks, counts what is refused.
    #[inline]
    pub(crate) fn offer(&self, record: Record) -> bool {
        let Gate { closed, door, .. } = &*self.gate;
        if closed.load(Ordering::Relaxed) {
            door.refused_closed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let accepted = self.gate.push(self.number, record);
        if !accepted {
            door.refused_full.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }
}

/// This thread's lane.
#[inline]
pub(crate) fn of_thread(lanes: &[Arc<Lane>]) -> &Arc<Lane> {
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut number = NUMBER.get();
    if number == usize::MAX {
        number = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
        NUMBER.set(number);
    }
    &lanes[number]
}
