//! Random ids. Each thread has a generator of its own, seeded by the operating system.

use std::cell::RefCell;

use rand::RngExt;
use rand::rngs::SmallRng;
use telemetry_core::{SpanId, TraceId};

thread_local! {
    static GENERATOR: RefCell<SmallRng> = RefCell::new(seed());
}

fn seed() -> SmallRng {
    rand::make_rng()
}

/// Returns a new random trace id.
pub fn random_trace_id() -> TraceId {
    loop {
        let value = GENERATOR.with_borrow_mut(RngExt::random::<u128>);
        if let Some(id) = TraceId::from_u128(value) {
            return id;
        }
    }
}

/// Returns a new random span id.
pub fn random_span_id() -> SpanId {
    loop {
        let value = GENERATOR.with_borrow_mut(RngExt::random::<u64>);
        if let Some(id) = SpanId::from_u64(value) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_between_calls_and_threads() {
        let here = random_trace_id();
        let there = std::thread::spawn(random_trace_id).join().unwrap();
        assert_ne!(here, there);
        assert_ne!(random_span_id(), random_span_id());
    }
}
