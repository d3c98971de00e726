//! Derives the histograms of OpenTelemetry's semantic conventions from our metrics.
//!
//! The GenAI conventions are still in development, so the names of their attributes depend on a version.

use opentelemetry::KeyValue;
use telemetry_core::{Attribute, MetricPoint, canonical_name};

use crate::config::GenAiVersion;
use crate::convert::key_value;

const REQUEST_DURATION: &str = "http.server.request.duration";
const TOKEN_USAGE: &str = "gen_ai.client.token.usage";
const OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
const SERVER_DURATION: &str = "gen_ai.server.request.duration";
const FIRST_TOKEN: &str = "gen_ai.server.time_to_first_token";
const LATER_TOKENS: &str = "gen_ai.server.time_per_output_token";

/// In seconds.
const REQUEST_DURATION_BOUNDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// In tokens: powers of 4.
const TOKEN_USAGE_BOUNDS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// In seconds: doubling from 0.01.
const OPERATION_DURATION_BOUNDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// In seconds.
const FIRST_TOKEN_BOUNDS: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// In seconds.
const LATER_TOKENS_BOUNDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// Returns the bucket bounds of a histogram by its name; `None` means OpenTelemetry's default bounds.
pub(super) fn bounds(name: &str) -> Option<&'static [f64]> {
    match name {
        REQUEST_DURATION => Some(REQUEST_DURATION_BOUNDS),
        TOKEN_USAGE => Some(TOKEN_USAGE_BOUNDS),
        OPERATION_DURATION | SERVER_DURATION => Some(OPERATION_DURATION_BOUNDS),
        FIRST_TOKEN => Some(FIRST_TOKEN_BOUNDS),
        LATER_TOKENS => Some(LATER_TOKENS_BOUNDS),
        _ => None,
    }
}

/// A point of one of the histograms. Its value is that of the original point.
#[derive(Debug, PartialEq)]
pub(super) struct Derived {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) attributes: Vec<KeyValue>,
}

/// Returns the histogram points that derive from a metric point.
pub(super) fn derived(point: &MetricPoint, version: GenAiVersion) -> Vec<Derived> {
    match canonical_name(&point.name) {
        "llama_stack_prompt_tokens_total" => vec![token_usage(point, version, "input")],
        "llama_stack_completion_tokens_total" => vec![token_usage(point, version, "output")],
        "llama_stack_request_duration_seconds" => {
            let mut all = vec![Derived {
                name: REQUEST_DURATION,
                unit: "s",
                attributes: point.attributes.iter().map(request_attribute).collect(),
            }];
            let is_inference = point
                .attributes
                .get("api")
                .and_then(|api| api.as_str())
                .is_some_and(|api| api == "inference");
            if is_inference {
                let rest = point.attributes.iter().filter(|(name, _)| name != "api");
                all.push(Derived {
                    name: OPERATION_DURATION,
                    unit: "s",
                    attributes: rest.map(|attribute| gen_ai_attribute(attribute, version)).collect(),
                });
            }
            all
        }
        _ => Vec::new(),
    }
}

fn token_usage(point: &MetricPoint, version: GenAiVersion, token_type: &'static str) -> Derived {
    let mut attributes: Vec<_> =
        point.attributes.iter().map(|attribute| gen_ai_attribute(attribute, version)).collect();
    attributes.push(KeyValue::new("gen_ai.token.type", token_type));
    Derived { name: TOKEN_USAGE, unit: "{token}", attributes }
}

/// Renames a label to its name in the HTTP conventions. Other labels keep their names.
fn request_attribute(attribute: &Attribute) -> KeyValue {
    match (attribute.0.as_ref(), attribute.1.to_string().parse::<i64>()) {
        ("status", Ok(code)) => KeyValue::new("http.response.status_code", code),
        _ => key_value(attribute),
    }
}

/// Renames a label to its name in the GenAI conventions. Other labels keep their names.
fn gen_ai_attribute(attribute: &Attribute, version: GenAiVersion) -> KeyValue {
    let name = match (attribute.0.as_ref(), version) {
        ("model_id", _) => "gen_ai.request.model",
        ("provider_id", GenAiVersion::V1_36) => "gen_ai.system",
        ("provider_id", GenAiVersion::V1_37) => "gen_ai.provider.name",
        _ => return request_attribute(attribute),
    };
    KeyValue::new(name, crate::convert::value(&attribute.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::{Attributes, EventContext, MetricValue, Timestamp, Ttl, attrs};

    fn point(name: &'static str, value: impl Into<MetricValue>, attributes: Attributes) -> MetricPoint {
        MetricPoint {
            context: EventContext::None,
            timestamp: Timestamp::from_nanos(0),
            name: name.into(),
            value: value.into(),
            unit: "".into(),
            kind: None,
            attributes,
            service_name: None,
            arrived: Timestamp::from_nanos(0),
            ttl: Ttl::default(),
            stream: None,
        }
    }

    #[test]
    fn token_counts_become_token_usage() {
        let labels = attrs! { "model_id" => "m", "provider_id" => "p" };
        let usage = derived(&point("prompt_tokens", 7, labels.clone()), GenAiVersion::V1_37);
        assert_eq!(
            usage,
            [Derived {
                name: "gen_ai.client.token.usage",
                unit: "{token}",
                attributes: vec![
                    KeyValue::new("gen_ai.request.model", "m"),
                    KeyValue::new("gen_ai.provider.name", "p"),
                    KeyValue::new("gen_ai.token.type", "input"),
                ],
            }]
        );
        let older = derived(&point("completion_tokens", 7, labels), GenAiVersion::V1_36);
        assert_eq!(older[0].attributes[1], KeyValue::new("gen_ai.system", "p"));
        assert_eq!(older[0].attributes[2], KeyValue::new("gen_ai.token.type", "output"));
    }

    #[test]
    fn durations_become_request_and_operation_durations() {
        let labels = attrs! { "api" => "inference", "status" => "200" };
        let both = derived(&point("llama_stack_request_duration_seconds", 0.5, labels), GenAiVersion::V1_37);
        let names: Vec<_> = both.iter().map(|derived| derived.name).collect();
        assert_eq!(names, ["http.server.request.duration", "gen_ai.client.operation.duration"]);
        assert_eq!(
            both[0].attributes,
            [KeyValue::new("api", "inference"), KeyValue::new("http.response.status_code", 200)]
        );
        let other = attrs! { "api" => "files", "status" => "200" };
        let one = derived(&point("llama_stack_request_duration_seconds", 0.5, other), GenAiVersion::V1_37);
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn bucket_bounds_are_in_ascending_order() {
        for (name, count) in [
            (REQUEST_DURATION, 14),
            (TOKEN_USAGE, 14),
            (OPERATION_DURATION, 14),
            (SERVER_DURATION, 14),
            (FIRST_TOKEN, 16),
            (LATER_TOKENS, 13),
        ] {
            let bounds = bounds(name).unwrap();
            assert_eq!(bounds.len(), count, "{name}");
            assert!(bounds.is_sorted_by(|one, other| one < other));
        }
    }
}
