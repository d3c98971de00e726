//! The ring buffers: each thread that logs has one of its own for each pipeline.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::record::Record;

/// Records of ending threads that may wait for the assembler thread.
const LAST_RECORDS: usize = 4_096;
/// All rings together have this many times the slots of one full ring. Each new ring gets its part of the
/// slots that are left, so that hundreds of threads don't own hundreds of full rings.
pub(super) const FULL_RINGS: usize = 32;
/// Slots that every ring has at least: room for about 170 spans.
pub(super) const FEWEST_SLOTS: usize = 512;

thread_local! {
    /// This thread's rings. They are taken out while one is pushed to, which costs less than a borrow.
    static RINGS: Cell<Option<Box<ThreadRings>>> = const { Cell::new(None) };
}

/// The thread's end of a ring.
struct Ring {
    /// The number of the pipeline's [`RingSet`].
    set: u64,
    records: Producer<Record>,
}

/// A thread's rings.
struct ThreadRings {
    /// The one that was pushed to last.
    current: Ring,
    /// Those of other pipelines, if a program has several.
    others: Vec<Ring>,
}

/// The rings of one pipeline.
#[derive(Debug)]
pub(super) struct RingSet {
    /// Distinguishes this pipeline's rings from others'.
    number: u64,
    /// Slots of a full ring.
    slots: usize,
    /// Slots of all rings that are open.
    taken_slots: AtomicUsize,
    /// Rings that the assembler thread does not know yet.
    opened: Mutex<Vec<Consumer<Record>>>,
}

impl RingSet {
    pub(super) fn new(slots: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            slots: slots.max(1),
            taken_slots: AtomicUsize::new(0),
            opened: Mutex::default(),
        }
    }

    /// Puts a record into this thread's ring. If there is no room, calls `full` with the record and returns false.
    #[expect(clippy::inline_always, reason = "a part of `Queue::offer`")]
    #[inline(always)]
    pub(super) fn push(&self, record: impl FnOnce() -> Record, full: impl FnOnce(Record)) -> bool {
        // A thread that is ending has already dropped its rings.
        let Ok(rings) = RINGS.try_with(Cell::take) else { return self.push_last(record(), full) };
        let mut rings = match rings {
            Some(rings) if rings.current.set == self.number => rings,
            other => Box::new(self.switch(other)),
        };
        let pushed = match rings.current.records.push(record()) {
            Ok(()) => true,
            Err(PushError::Full(record)) => {
                full(record);
                false
            }
        };
        let _ = RINGS.try_with(|place| place.set(Some(rings)));
        pushed
    }

    /// Makes this pipeline's ring the thread's current one, and opens it the first time. Drops the rings of
    /// pipelines that have ended.
    #[cold]
    fn switch(&self, rings: Option<Box<ThreadRings>>) -> ThreadRings {
        let mut others = rings.map_or_else(Vec::new, |rings| {
            let ThreadRings { current, mut others } = *rings;
            others.push(current);
            others
        });
        others.retain(|ring| !ring.records.is_abandoned());
        let known = others.iter().position(|ring| ring.set == self.number);
        let current = known.map_or_else(|| self.open(), |at| others.swap_remove(at));
        ThreadRings { current, others }
    }

    fn open(&self) -> Ring {
        let room = self.slots.saturating_mul(FULL_RINGS);
        let left = room.saturating_sub(self.taken_slots());
        let slots = (left / FULL_RINGS).max(FEWEST_SLOTS.min(self.slots));
        self.taken_slots.fetch_add(slots, Ordering::Relaxed);
        let (records, end) = RingBuffer::new(slots);
        self.opened().push(end);
        Ring { set: self.number, records }
    }

    /// Puts a record into a ring of its own, so that it keeps its place among the records of other threads.
    #[cold]
    fn push_last(&self, record: Record, full: impl FnOnce(Record)) -> bool {
        let (mut records, end) = RingBuffer::new(1);
        let mut opened = self.opened();
        if opened.len() >= LAST_RECORDS {
            full(record);
            return false;
        }
        if let Err(PushError::Full(record)) = records.push(record) {
            full(record);
            return false;
        }
        self.taken_slots.fetch_add(1, Ordering::Relaxed);
        opened.push(end);
        true
    }

    /// Moves the rings that were opened since the last call to `rings`.
    pub(super) fn take_opened(&self, rings: &mut Vec<Consumer<Record>>) {
        rings.append(&mut self.opened());
    }

    /// Returns true if the assembler thread knows all rings.
    pub(super) fn is_opened_empty(&self) -> bool {
        self.opened().is_empty()
    }

    /// Removes the rings of threads that have ended.
    pub(super) fn close_ended(&self, rings: &mut Vec<Consumer<Record>>) {
        rings.retain(|ring| {
            // In this order: nothing is pushed after the thread has ended.
            let has_ended = ring.is_abandoned() && ring.is_empty();
            if has_ended {
                self.taken_slots.fetch_sub(ring.buffer().capacity(), Ordering::Relaxed);
            }
            !has_ended
        });
    }

    /// Returns the slots of all rings that are open.
    pub(super) fn taken_slots(&self) -> usize {
        self.taken_slots.load(Ordering::Relaxed)
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Consumer<Record>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
