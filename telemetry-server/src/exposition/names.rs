//! Names that Prometheus can parse.

use std::borrow::Cow;

/// Prefixes of the names that this program uses itself.
const OURS: [&str; 3] = ["telemetry_", "http_server_", "process_"];

/// Returns a metric's name: invalid characters become `_`, and a counter ends with `_total`. `None` for a name that
/// this program uses itself.
pub(super) fn metric_name(name: &str, is_counter: bool) -> Option<String> {
    let mut escaped = escape(name, |c| c == ':').into_owned();
    if is_counter && !escaped.ends_with("_total") {
        escaped.push_str("_total");
    }
    (!OURS.iter().any(|ours| escaped.starts_with(ours))).then_some(escaped)
}

/// Returns a label's name: invalid characters become `_`.
pub(super) fn label_name(name: &str) -> Cow<'_, str> {
    escape(name, |_| false)
}

fn escape(name: &str, also: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
    let starts_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
    if !starts_with_digit && name.chars().all(is_valid) {
        return Cow::Borrowed(name);
    }
    let escaped = name.chars().map(|c| if is_valid(c) { c } else { '_' });
    Cow::Owned(starts_with_digit.then_some('_').into_iter().chain(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_valid_for_prometheus() {
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
