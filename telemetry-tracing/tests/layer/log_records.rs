//! Records of the `log` crate.

use crate::support::{message, traced};
use telemetry_core::attrs;

#[test]
fn records_of_the_log_crate_are_logs_with_their_own_target() {
    tracing_log::LogTracer::init().unwrap();
    let delivered = traced(|| {
        let _span = tracing::info_span!("request").entered();
        log::warn!(target: "old_library", "answer {}", 42);
    });
    assert_eq!(delivered.tree(), "request {}\n  - warn: answer 42\n");
    let log = &delivered.logs()[0];
    assert_eq!(message(log), "warn: answer 42");
    assert_eq!(log.attributes, attrs! { "target" => "old_library" });
}
