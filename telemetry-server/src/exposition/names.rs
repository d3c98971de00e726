//! Names as Prometheus can read them.

use std::borrow::Cow;

/// Names this program uses itself.
const OURS: [&str; 3] = ["telemetry_", "http_server_", "process_"];

/// A metric's name: what Prometheus can't read becomes `_`, and a counter ends `_total`. `None`: the name
/// is one of the program's own.
pub(super) fn metric_name(name: &str, is_counter: bool) -> Option<String> {
    let mut escaped = escape(name, |c| c == ':').into_owned();
    if is_counter && !escaped.ends_with("_total") {
        escaped.push_str("_total");
    }
    (!OURS.iter().any(|ours| escaped.starts_with(ours))).then_some(escaped)
}

/// A label's name.
pub(super) fn label_name(name: &str) -> Cow<'_, str> {
    escape(name, |_| false)
}

fn escape(name: &str, also: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
    let starts_badly = name.starts_with(|c: char| c.is_ascii_digit());
    if !starts_badly && name.chars().all(is_good) {
        return Cow::Borrowed(name);
    }
    let escaped = name.chars().map(|c| if is_good(c) { c } else { '_' });
    Cow::Owned(starts_badly.then_some('_').into_iter().chain(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_as_prometheus_reads() {
        for (name, is_counter, expected) in [
            ("queue_depth", false, Some("queue_depth")),
            ("queue_depth", true, Some("queue_depth_total")),
            ("errors_total", true, Some("errors_total")),
            ("gen_ai.client.token.usage", false, Some("gen_ai_client_token_usage")),
            ("5xx", false, Some("_5xx")),
            ("żółć\n", false, Some("_____")),
            ("telemetry_sink_pending", false, None),
            ("http.server.active_requests", false, None),
        ] {
            assert_eq!(metric_name(name, is_counter).as_deref(), expected, "{name:?}");
        }
        assert_eq!(label_name("model.id"), "model_id");
        assert_eq!(label_name("a:b"), "a_b");
    }
}
