//! Detects a sink that exports to this server's own OTLP receiver: it would send what it receives forever.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use axum::http::Uri;
use telemetry_provider::Config;

/// The sinks that send OTLP, each with its word in the names of environment variables.
const EXPORTERS: [(&str, &str); 3] =
    [("otel_trace", "TRACES"), ("otel_metric", "METRICS"), ("otel_log", "LOGS")];
/// Where OTLP is sent by default.
const DEFAULT: &str = "http://localhost:4318";

/// Fails if a sink exports to one of the addresses that this server listens on.
pub(super) fn check(
    config: &Config,
    addresses: &[SocketAddr],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    for (name, word) in EXPORTERS {
        let Some(choice) = config.sinks().iter().find(|choice| choice.entry.name == name) else { continue };
        // An empty variable counts as unset, as OpenTelemetry's specification says.
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let given = choice.options.text("endpoint").ok().flatten();
        let endpoint = given
            .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{word}_ENDPOINT")))
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))
            .unwrap_or_else(|| DEFAULT.to_owned());
        if let Some(own) = own_address(&endpoint, addresses) {
            return Err(format!(
                "sink `{name}` exports to {own}, where this server itself receives: that is an endless loop; set `endpoint` to the collector"
            ));
        }
    }
    Ok(())
}

/// Returns the address of this server that an endpoint leads to.
fn own_address(endpoint: &str, addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let uri: Uri = endpoint.trim().parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    if !addresses.iter().any(|own| own.port() == port) {
        return None;
    }
    // The sink reports a name that can't be resolved.
    let targets: Vec<IpAddr> =
        (host, port).to_socket_addrs().ok()?.map(|target| target.ip().to_canonical()).collect();
    let is_own = |own: &&SocketAddr| {
        own.port() == port
            && targets.iter().any(|target| {
                *target == own.ip().to_canonical()
                    || (own.ip().is_unspecified() && (target.is_loopback() || target.is_unspecified()))
            })
    };
    addresses.iter().find(is_own).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_own_address_is_detected() {
        let own = |endpoint: &str, listen: &str| own_address(endpoint, &[listen.parse().unwrap()]).is_some();
        for endpoint in
            ["http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", " http://localhost:4318/ "]
        {
            assert!(own(endpoint, "127.0.0.1:4318"), "{endpoint}");
            assert!(own(endpoint, "0.0.0.0:4318"), "{endpoint}");
            assert!(!own(endpoint, "127.0.0.1:8322"), "{endpoint}");
        }
        assert!(own("http://[::1]:4318", "[::1]:4318"));
        assert!(own("http://[::ffff:127.0.0.1]:4318", "127.0.0.1:4318"));
        assert!(!own("http://127.0.0.2:4318", "127.0.0.1:4318"));
        assert!(!own("not a url", "127.0.0.1:4318"));
    }
}
