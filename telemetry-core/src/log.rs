//! Logs, as sinks receive them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::named_enum::named_enum;
use crate::{Attributes, EventContext, Text, Timestamp, Ttl};

named_enum! {
    /// The severity of a log line. Ordered: `Verbose < Debug < … < Critical`.
    Severity {
        /// The finest detail. OpenTelemetry's TRACE.
        Verbose = "verbose",
        /// Details for debugging.
        Debug = "debug",
        /// Normal operation.
        Info = "info",
        /// Something unexpected that needs a look.
        Warn = "warn",
        /// Something failed.
        Error = "error",
        /// Someone must act now. OpenTelemetry's FATAL.
        Critical = "critical",
    }
}

/// A log line, or a span event received by OTLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The trace and span it belongs to, if any.
    pub context: EventContext,
    /// When it was logged.
    pub timestamp: Timestamp,
    /// What was logged.
    pub body: LogBody,
    /// Its attributes.
    pub attributes: Attributes,
    /// The service that logged it; `None` is the service of this process.
    pub service_name: Option<Arc<str>>,
    /// When it reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, counted from `arrived`.
    pub ttl: Ttl,
}

/// The content of a [`LogRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogBody {
    /// A log line.
    Message {
        /// Its severity.
        severity: Severity,
        /// Its text.
        message: Text,
    },
    /// A span event received by OTLP. It is not exported as a log.
    SpanEvent {
        /// The event's name.
        name: Text,
    },
}

impl LogRecord {
    /// Returns the time at which stores forget the log.
    pub fn expires(&self) -> Timestamp {
        self.arrived.saturating_add(self.ttl.as_duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_parse_their_own_names() {
        assert!(Severity::Verbose < Severity::Critical);
        for &severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
        }
        assert_eq!(
            "fatal".parse::<Severity>().unwrap_err().to_string(),
            "unknown value `fatal`: expected one of verbose, debug, info, warn, error, critical"
        );
    }
}
