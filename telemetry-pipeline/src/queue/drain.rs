//! The assembler thread's side of the queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastant::Instant;
use rtrb::Consumer;

use super::push::{Queue, Request};
use super::record::Record;

/// Reads the queue.
pub(crate) struct QueueReader {
    queue: Arc<Queue>,
    pub(super) rings: Vec<Consumer<Record>>,
}

impl QueueReader {
    pub(crate) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue, rings: Vec::new() }
    }

    /// Passes every record logged until now to `take`, in the order of their ticks. Returns the number of
    /// records and requests seen, and every request that was there before: a request comes after everything
    /// that was logged before it.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Record)) -> (usize, Vec<Request>) {
        let waiting = self.queue.requests.len();
        let requests: Vec<Request> = (0..waiting).map_while(|_| self.queue.requests.pop()).collect();
        // Before the rings are read: what was logged before these ends is in the rings then.
        let ends = self.queue.spare_ends.take();
        // Records with a later tick wait for the next call: the record before them may be in a ring that was
        // read already. All records before an earlier tick are in their rings by now.
        let now = Instant::now();
        self.queue.rings.take_opened(&mut self.rings);
        self.queue.rings.close_ended(&mut self.rings);
        let mut taken = requests.len();
        let mut take_from = |ring: &mut Consumer<Record>| {
            let record = ring.pop().ok()?;
            taken += 1;
            let bytes = record.charged_bytes();
            if bytes > 0 {
                self.queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
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
            // Empties the ring of a thread that logs alone for a while without comparing it with the others.
            let mut next = take_from(ring);
            while next.is_some_and(|tick| tick <= next_other) {
                next = take_from(ring);
            }
            heads.extend(next.map(|tick| Reverse((tick, place))));
        }
        taken += ends.len();
        for end in ends {
            let bytes = end.charged_bytes();
            if bytes > 0 {
                self.queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            take(end);
        }
        let left = self.rings.iter().filter(|ring| !ring.is_empty()).count();
        (taken + left, requests)
    }

    fn is_empty(&self) -> bool {
        self.queue.requests.is_empty()
            && self.queue.spare_ends.is_empty()
            && self.queue.rings.is_opened_empty()
            && self.rings.iter().all(Consumer::is_empty)
    }

    /// Sleeps until it is woken, `longest` at most. Returns at once if there is work.
    ///
    /// A caller may not have seen yet that the thread sleeps. It has pushed its record by the end of a first,
    /// short sleep of one `tick`.
    pub(crate) fn park(&mut self, tick: Duration, longest: Duration) {
        self.queue.rings.close_ended(&mut self.rings);
        self.queue.parked.store(true, Ordering::SeqCst);
        for sleep in [tick, longest] {
            // The caller that wakes the thread resets the flag, and later callers then don't wake it.
            let is_parked = self.queue.parked.load(Ordering::SeqCst);
            if is_parked && self.is_empty() && !self.queue.is_closed() {
                std::thread::park_timeout(sleep);
            }
        }
        self.queue.parked.store(false, Ordering::SeqCst);
    }
}

/// Returns the tick of the first record of a ring.
fn head(ring: &Consumer<Record>) -> Option<Instant> {
    ring.peek().ok().map(Record::tick)
}
