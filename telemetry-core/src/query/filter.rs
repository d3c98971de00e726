//! Filters on spans.

use std::cmp::Ordering;

use crate::named_enum::named_enum;
use crate::{Span, SpanState, Value};

named_enum! {
    /// How a filter compares.
    FilterOp {
        /// Equal.
        Eq = "eq",
        /// Present and not equal.
        Ne = "ne",
        /// Greater.
        Gt = "gt",
        /// Less.
        Lt = "lt",
    }
}

/// One condition on a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The key of an attribute, taken literally, or a built-in key (see [`builtin_value`]).
    pub key: String,
    /// The comparison.
    pub op: FilterOp,
    /// The value to compare with.
    pub value: Value,
}

impl Filter {
    /// Returns true if the span matches. `service_name` is that of this process, for spans without one.
    ///
    /// Numbers compare with numbers (7 = 7.0), strings compare by their bytes, and booleans support only
    /// `eq` and `ne`. Values of different types are not equal and have no order. A span without the key
    /// never matches, not even for `ne` or `eq` null.
    pub fn matches(&self, span: &Span, service_name: &str) -> bool {
        match span.attributes.get(&self.key) {
            Some(value) => self.holds(value),
            None => builtin_value(span, &self.key, service_name).is_some_and(|value| self.holds(&value)),
        }
    }

    /// Returns true if a value that is present matches.
    pub fn holds(&self, value: &Value) -> bool {
        match self.op {
            FilterOp::Eq => equal(value, &self.value),
            FilterOp::Ne => !equal(value, &self.value),
            FilterOp::Gt => order(value, &self.value) == Some(Ordering::Greater),
            FilterOp::Lt => order(value, &self.value) == Some(Ordering::Less),
        }
    }
}

/// Returns true if the span matches all filters.
pub fn matches_all(filters: &[Filter], span: &Span, service_name: &str) -> bool {
    filters.iter().all(|filter| filter.matches(span, service_name))
}

/// Returns the value of a built-in key: `name`, `status` (absent while open or unset), `kind`,
/// `service_name`, `duration_ms` (absent while open), `span_id` or `trace_id`.
///
/// Filters use it if the span has no attribute of that name.
pub fn builtin_value(span: &Span, key: &str, service_name: &str) -> Option<Value> {
    match key {
        "name" => Some(Value::from(span.name.clone())),
        "status" => {
            span.status.filter(|_| span.state != SpanState::Open).map(|status| Value::from(status.as_str()))
        }
        "kind" => Some(Value::from(span.kind.as_str())),
        "service_name" => Some(Value::from(span.service_name.as_deref().unwrap_or(service_name).to_owned())),
        "duration_ms" => span.duration_ms().map(Value::from),
        "span_id" => Some(Value::from(span.span_id.to_string())),
        "trace_id" => Some(Value::from(span.trace_id.to_string())),
        _ => None,
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Null, Value::Null) => true,
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

/// Compares two strings or two numbers; exact also between integers and doubles.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Float(right)) => compare_int_to_float(*left, *right),
        (Value::Float(left), Value::Int(right)) => compare_int_to_float(*right, *left).map(Ordering::reverse),
        _ => None,
    }
}

/// Compares without rounding the integer: 2^53 + 1 is greater than 2^53 as a double.
#[expect(clippy::cast_possible_truncation, reason = "the whole part is within i64 there")]
fn compare_int_to_float(int: i64, float: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        None
    } else if float >= TWO_TO_63 {
        Some(Ordering::Less)
    } else if float < -TWO_TO_63 {
        Some(Ordering::Greater)
    } else {
        let whole = float.floor();
        let by_whole = int.cmp(&(whole as i64));
        Some(if by_whole == Ordering::Equal && float > whole { Ordering::Less } else { by_whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SpanId, SpanKey, Timestamp, TraceId, attrs};

    fn span() -> Span {
        let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap());
        Span {
            attributes: attrs! { "n" => 7, "f" => 7.0, "s" => "7", "b" => true, "z" => Value::Null, "a.b\"[0]" => "odd" },
            ..Span::open(key, "chat", Timestamp::from_nanos(0))
        }
    }

    fn holds(key: &str, op: FilterOp, value: impl Into<Value>) -> bool {
        Filter { key: key.into(), op, value: value.into() }.matches(&span(), "svc")
    }

    #[test]
    fn numbers_compare_only_with_numbers() {
        use FilterOp::{Eq, Gt, Lt, Ne};
        assert!(holds("n", Eq, 7.0) && holds("f", Eq, 7) && holds("s", Eq, "7"));
        assert!(!holds("n", Eq, "7") && holds("n", Ne, "7") && !holds("s", Gt, 6) && !holds("b", Eq, 1));
        assert!(holds("n", Lt, 7.5) && holds("n", Gt, 6.5) && !holds("b", Lt, true));
    }

    #[test]
    fn ne_requires_the_key_and_null_is_a_value() {
        assert!(!holds("missing", FilterOp::Ne, 1));
        assert!(holds("z", FilterOp::Eq, Value::Null) && holds("z", FilterOp::Ne, 1));
        assert!(!holds("missing", FilterOp::Eq, Value::Null));
    }

    #[test]
    fn keys_are_literal_and_attributes_hide_built_in_keys() {
        assert!(holds("a.b\"[0]", FilterOp::Eq, "odd"));
        assert!(holds("name", FilterOp::Eq, "chat") && holds("kind", FilterOp::Eq, "internal"));
        assert!(holds("service_name", FilterOp::Eq, "svc"));
        assert!(!holds("status", FilterOp::Ne, "ok"), "an open span has no status");
    }

    #[test]
    fn large_integers_are_not_rounded() {
        assert_eq!(compare_int_to_float((1 << 53) + 1, 9_007_199_254_740_992.0), Some(Ordering::Greater));
        assert_eq!(compare_int_to_float(i64::MAX, 9.3e18), Some(Ordering::Less));
        assert_eq!(compare_int_to_float(-7, -7.5), Some(Ordering::Greater));
    }
}
