//! Replays the corpus of the fuzz targets in ordinary tests, without a nightly compiler: each input, each of its
//! prefixes, and each with single bits flipped.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use the file as a library")]
mod inputs;

/// Calls `feed` with every input of a target, whole and damaged.
fn replay(target: &str, feed: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let whole = std::fs::read(entry.unwrap().path()).unwrap();
        feed(&whole);
        for end in 0..whole.len() {
            feed(&whole[..end]);
            let mut flipped = whole.clone();
            flipped[end] ^= 1 << (end % 8);
            feed(&flipped);
        }
        inputs += 1;
    }
    assert!(inputs > 4, "the corpus of {target} has only {inputs} inputs");
}

#[test]
fn no_event_panics_or_is_rejected_without_a_reason() {
    replay("event", inputs::event);
}

#[test]
fn no_query_panics_or_is_rejected_without_a_reason() {
    replay("query", inputs::query);
}

#[test]
fn no_otlp_request_panics_or_is_rejected_without_a_reason() {
    replay("otlp", inputs::otlp);
}

#[test]
fn no_configuration_panics_or_shows_a_secret() {
    replay("config", inputs::config);
}
