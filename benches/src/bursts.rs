//! Measures what a span costs the thread that logs it: in dense bursts, or one at a time.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::figures::thread_time;

/// Spans per burst. A burst fits into the queue, so that none is refused.
pub(crate) const BURST: u64 = 1_000;
/// Bursts per measurement.
pub(crate) const BURSTS: u64 = 300;
/// Spans of [`sparse`].
pub(crate) const SPARSE: u64 = 3_000;
/// Time from one span of [`sparse`] to the next.
const EVERY: Duration = Duration::from_micros(300);
/// How long a bench waits for delivery.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Returns nanoseconds per span on each of `threads` threads. Times the bursts and not the pauses between them.
pub(crate) fn dense(threads: usize, burst: impl Fn() + Sync, settle: impl Fn() + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let timed = || {
        let mut spent = Duration::ZERO;
        for _ in 0..BURSTS {
            barrier.wait();
            let started = thread_time();
            burst();
            spent += thread_time().saturating_sub(started);
            barrier.wait();
            settle();
        }
        spent
    };
    let spent: Duration = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    spent.as_secs_f64() * 1e9 / (BURSTS * BURST) as f64 / threads as f64
}

/// Returns nanoseconds per span for one span every 300 µs.
pub(crate) fn sparse(span: impl Fn()) -> f64 {
    let mut spent = Duration::ZERO;
    let mut next = Instant::now();
    for _ in 0..SPARSE {
        while Instant::now() < next {
            std::hint::spin_loop();
        }
        next += EVERY;
        let started = Instant::now();
        span();
        spent += started.elapsed();
    }
    spent.as_secs_f64() * 1e9 / SPARSE as f64
}

/// Pauses between bursts, so that both sides' own threads can work.
pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(5));
}
