use std::sync::{Arc, Barrier};

use telemetry_core::{Attributes, Severity, SpanKind, Text};

use super::*;
use crate::SpanGuard;

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new(&PipelineConfig::default(), SignalSet::ALL))
}

/// A start, a log and an end.
fn log_a_span(gate: &Arc<Gate>) {
    let name = Text::Borrowed("s");
    let span = SpanGuard::start(Some(gate), name, SpanKind::Internal, None, Attributes::default());
    span.log(Severity::Info, "x");
}

#[test]
fn the_rings_of_threads_that_have_ended_are_given_back_while_others_log() {
    let gate = gate();
    let mut inlet = Inlet::new(Arc::clone(&gate));
    let mut records = 0;
    for _ in 0..500 {
        let log = || log_a_span(&gate);
        std::thread::scope(|scope| {
            let threads = [scope.spawn(log), scope.spawn(log), scope.spawn(log), scope.spawn(log)];
            // Not the scope's end: a thread's ring is gone with the thread, after its work is done.
            assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        });
        // This thread logs all the time: the engine never rests.
        log_a_span(&gate);
        inlet.drain(|_| records += 1);
        assert!(inlet.rings.len() <= 5, "{}", inlet.rings.len());
    }
    assert_eq!(records, 500 * 5 * 3);
    inlet.close_ended();
    let left: Vec<usize> = inlet.rings.iter().map(|ring| ring.buffer().capacity()).collect();
    assert_eq!(left, [gate.taken_slots.load(Ordering::Relaxed)], "this thread's own");
}

#[test]
fn many_threads_that_live_share_the_room_and_each_gets_some() {
    const THREADS: usize = 500;
    let gate = gate();
    let mut inlet = Inlet::new(Arc::clone(&gate));
    let (logged, drained) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                log_a_span(&gate);
                logged.wait();
                drained.wait();
                (0..FEWEST_SLOTS / 3).for_each(|_| log_a_span(&gate));
            });
        }
        logged.wait();
        let mut records = 0;
        inlet.drain(|_| records += 1);
        assert_eq!((records, inlet.rings.len()), (3 * THREADS, THREADS));
        let slots: usize = inlet.rings.iter().map(|ring| ring.buffer().capacity()).sum();
        assert_eq!(slots, gate.taken_slots.load(Ordering::Relaxed));
        assert!(slots <= gate.slots * FULL_RINGS + THREADS * FEWEST_SLOTS, "{slots}");
        drained.wait();
    });
    let mut records = 0;
    inlet.drain(|_| records += 1);
    assert_eq!(records, THREADS * (FEWEST_SLOTS / 3) * 3, "a burst fits the smallest ring");
    assert_eq!(gate.ingest.refused_full.load(Ordering::Relaxed), 0);
}

/// An engine that sleeps for an hour at a time until it has taken so many records.
fn sleeper(gate: &Arc<Gate>, records: usize) -> std::thread::JoinHandle<usize> {
    let mut inlet = Inlet::new(Arc::clone(gate));
    let engine = std::thread::spawn(move || {
        let mut taken = 0;
        loop {
            inlet.drain(|_| taken += 1);
            if taken >= records {
                return taken;
            }
            inlet.park(Duration::from_micros(50), Duration::from_secs(3_600));
        }
    });
    gate.serve_by(engine.thread().clone());
    engine
}

/// Waits for a condition, not for ever.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn two_callers_that_log_around_the_long_sleep_are_both_heard() {
    const ROUNDS: usize = 500;
    let gate = gate();
    let engine = sleeper(&gate, ROUNDS * 2 * 3);
    let rounds = Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    // Both at once, and as the engine lies down.
                    rounds.wait();
                    let is_asleep = || gate.parked.load(Ordering::SeqCst) || engine.is_finished();
                    until("the engine never sleeps", is_asleep);
                    log_a_span(&gate);
                }
            });
        }
    });
    until("a record was not heard", || engine.is_finished());
    assert_eq!(engine.join().ok(), Some(ROUNDS * 2 * 3));
}

#[test]
fn an_engine_that_is_woken_does_not_begin_the_long_sleep() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let gate = gate();
    let mut inlet = Inlet::new(Arc::clone(&gate));
    let engine = std::thread::spawn(move || inlet.park(HOUR, HOUR));
    gate.serve_by(engine.thread().clone());
    until("the engine never sleeps", || gate.parked.load(Ordering::SeqCst));
    // As a caller does: it takes the mark back, on which others rely from then on, and wakes the engine.
    gate.parked.store(false, Ordering::SeqCst);
    gate.wake();
    until("the engine sleeps on", || engine.is_finished());
}
