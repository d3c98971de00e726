use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use telemetry_core::{Event, Severity, SignalSet, Ttl};

use super::drain::QueueReader;
use super::push::Queue;
use super::record::Record;
use super::ring::{FEWEST_SLOTS, FULL_RINGS};
use crate::config::PipelineConfig;

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(&PipelineConfig::default(), SignalSet::ALL))
}

/// Pushes three records, as a span with a log does.
fn log_three(queue: &Queue) {
    for _ in 0..3 {
        let event = Event::log(Severity::Info, "x");
        queue.offer(1, || Record::from_event(event, Ttl::default(), fastant::Instant::now()));
    }
}

#[test]
fn rings_of_ended_threads_are_removed_while_others_log() {
    let queue = queue();
    let mut reader = QueueReader::new(Arc::clone(&queue));
    let mut records = 0;
    for _ in 0..500 {
        let log = || log_three(&queue);
        std::thread::scope(|scope| {
            let threads = [scope.spawn(log), scope.spawn(log), scope.spawn(log), scope.spawn(log)];
            // The scope's end would not be enough: a thread drops its ring after its work is done.
            assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        });
        // This thread logs all the time, so the queue is never empty.
        log_three(&queue);
        reader.drain(|_| records += 1);
        assert!(reader.rings.len() <= 5, "{}", reader.rings.len());
    }
    assert_eq!(records, 500 * 5 * 3);
    queue.rings.close_ended(&mut reader.rings);
    let left: Vec<usize> = reader.rings.iter().map(|ring| ring.buffer().capacity()).collect();
    assert_eq!(left, [queue.rings.taken_slots()], "this thread's own");
}

#[test]
fn many_living_threads_share_the_slots_and_each_gets_some() {
    const THREADS: usize = 500;
    let queue = queue();
    let mut reader = QueueReader::new(Arc::clone(&queue));
    let (logged, drained) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                log_three(&queue);
                logged.wait();
                drained.wait();
                (0..FEWEST_SLOTS / 3).for_each(|_| log_three(&queue));
            });
        }
        logged.wait();
        let mut records = 0;
        reader.drain(|_| records += 1);
        assert_eq!((records, reader.rings.len()), (3 * THREADS, THREADS));
        let slots: usize = reader.rings.iter().map(|ring| ring.buffer().capacity()).sum();
        assert_eq!(slots, queue.rings.taken_slots());
        let bound = PipelineConfig::default().queue_slots * FULL_RINGS + THREADS * FEWEST_SLOTS;
        assert!(slots <= bound, "{slots}");
        drained.wait();
    });
    let mut records = 0;
    reader.drain(|_| records += 1);
    assert_eq!(records, THREADS * (FEWEST_SLOTS / 3) * 3, "a burst fits into the smallest ring");
    assert_eq!(queue.ingest.refused_full.load(Ordering::Relaxed), 0);
}

/// Starts a reader that sleeps for an hour at a time until it has taken so many records.
fn start_reader(queue: &Arc<Queue>, records: usize) -> std::thread::JoinHandle<usize> {
    let mut reader = QueueReader::new(Arc::clone(queue));
    let thread = std::thread::spawn(move || {
        let mut taken = 0;
        loop {
            reader.drain(|_| taken += 1);
            if taken >= records {
                return taken;
            }
            reader.park(Duration::from_micros(50), Duration::from_secs(3_600));
        }
    });
    queue.set_assembler_thread(thread.thread().clone());
    thread
}

/// Waits for a condition, with a deadline.
fn wait_until(failure: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{failure}");
        std::thread::yield_now();
    }
}

#[test]
fn two_callers_that_log_when_the_reader_falls_asleep_both_wake_it() {
    const ROUNDS: usize = 500;
    let queue = queue();
    let reader = start_reader(&queue, ROUNDS * 2 * 3);
    let rounds = Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    // Both at the same time, when the reader starts to sleep.
                    rounds.wait();
                    let is_asleep = || queue.parked.load(Ordering::SeqCst) || reader.is_finished();
                    wait_until("the reader never sleeps", is_asleep);
                    log_three(&queue);
                }
            });
        }
    });
    wait_until("a record was not read", || reader.is_finished());
    assert_eq!(reader.join().ok(), Some(ROUNDS * 2 * 3));
}

#[test]
fn a_reader_that_is_woken_does_not_begin_the_long_sleep() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let queue = queue();
    let mut reader = QueueReader::new(Arc::clone(&queue));
    let thread = std::thread::spawn(move || reader.park(HOUR, HOUR));
    queue.set_assembler_thread(thread.thread().clone());
    wait_until("the reader never sleeps", || queue.parked.load(Ordering::SeqCst));
    // This is what a caller does. Later callers then don't wake the reader.
    queue.parked.store(false, Ordering::SeqCst);
    queue.wake();
    wait_until("the reader sleeps on", || thread.is_finished());
}
