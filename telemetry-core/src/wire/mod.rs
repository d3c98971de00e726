//! The JSON form of events: Llama Stack's `POST /v1/telemetry/events`.
