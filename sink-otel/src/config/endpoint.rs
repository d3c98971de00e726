//! The URL that a sink sends its requests to.

use std::fmt;

use http::Uri;
use telemetry_core::{OptionError, Options};

use crate::config::environment::{SignalKind, Variables};

const DEFAULT: &str = "http://localhost:4318";

/// The full URL of one signal's requests. `Display` and `Debug` leave out the user name and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(Uri);

impl Endpoint {
    /// Reads the endpoint: the option as a base URL, else the signal's variable as a full URL, else the
    /// variable for all signals as a base URL, else the default.
    pub(crate) fn read(
        options: &Options,
        variables: Variables<'_>,
        signal: SignalKind,
    ) -> Result<Self, OptionError> {
        if let Some(base) = options.text("endpoint")? {
            return Self::from_base(&base, signal).map_err(|message| options.error("endpoint", message));
        }
        if let Some(variable) = variables.of_signal("ENDPOINT") {
            return Self::parse(variable.value.trim()).map_err(|message| variable.error("endpoint", message));
        }
        match variables.of_all("ENDPOINT") {
            Some(variable) => Self::from_base(&variable.value, signal)
                .map_err(|message| variable.error("endpoint", message)),
            None => Self::from_base(DEFAULT, signal).map_err(|message| options.error("endpoint", message)),
        }
    }

    /// Appends the signal's path to a base URL. Removes the path of any signal from the base first, since one
    /// endpoint serves all three sinks.
    fn from_base(base: &str, signal: SignalKind) -> Result<Self, String> {
        let mut base = base.trim().trim_end_matches('/');
        for known in [SignalKind::Traces, SignalKind::Metrics, SignalKind::Logs] {
            base = base.strip_suffix(known.path()).unwrap_or(base);
        }
        let base = base.trim_end_matches('/');
        Self::parse(&format!("{base}{}", signal.path()))
    }

    fn parse(url: &str) -> Result<Self, String> {
        const FORM: &str = "expected a URL like `http://localhost:4318`";
        // The message does not repeat the URL, which may contain a password.
        let uri: Uri = url.parse().map_err(|error| format!("{FORM}: {error}"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(Self(uri)),
            (Some(_) | None, _) => Err(format!("{FORM}, with `http` or `https` and a host")),
        }
    }

    /// Returns the URL with user name and password.
    pub(crate) fn full_url(&self) -> String {
        self.0.to_string()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.host().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
