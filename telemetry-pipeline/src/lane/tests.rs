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
    assert_eq!(gate.door.refused_full.load(Ordering::Relaxed), 0);
}
