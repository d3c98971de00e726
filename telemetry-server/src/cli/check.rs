//! `telemetry check`: shows what a configuration would run.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use telemetry_core::{Key, KeyKind, Options};
use telemetry_provider::{ConfigReader, ProviderError, registry};

use crate::cli::serve;
use crate::output;
use crate::settings::Settings;

/// Reads the configuration and prints what it would run.
pub(super) fn run(file: &Path, insecure: bool) -> Result<(), Box<dyn Error>> {
    let registry = registry().map_err(ProviderError::from)?;
    let config = ConfigReader::new(&registry).server_keys(Settings::KEYS).read_file(file)?;
    let settings = Settings::from_options(config.server())?;
    serve::validate(&config, &settings, insecure)?;
    let mut text = String::new();
    for warning in config.warnings() {
        writeln!(text, "warning: {warning}")?;
    }
    writeln!(text, "{} is valid", file.display())?;
    if !config.is_enabled() {
        writeln!(text, "no provider is enabled: nothing would be recorded")?;
        return Ok(output::print(&text)?);
    }
    let service_name = if config.service_name().is_empty() { "(none)" } else { config.service_name() };
    writeln!(text, "service name: {service_name}")?;
    writeln!(text, "listens on:   http://{}", settings.listen)?;
    if let Some(address) = settings.otlp_listen {
        writeln!(text, "OTLP also on: http://{address}")?;
    }
    writeln!(
        text,
        "requires:     {}",
        if settings.tokens.is_empty() { "nothing" } else { "a bearer token" }
    )?;
    for choice in config.sinks() {
        writeln!(text, "sink {}: {}", choice.entry.name, choice.entry.summary)?;
        write_options(&mut text, choice.entry.keys, &choice.options)?;
    }
    Ok(output::print(&text)?)
}

/// Returns a value, with `***` in place of the user and password of a URL.
fn without_password(value: String) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => value,
    }
}

/// Writes the options in effect, without secrets.
fn write_options(text: &mut String, keys: &[Key], options: &Options) -> std::fmt::Result {
    for key in keys {
        let value = match key.kind {
            KeyKind::Secret | KeyKind::Map if options.get(key.name).is_some() => "(set)".to_owned(),
            KeyKind::List => {
                options.list(key.name).ok().flatten().map(|items| items.join(", ")).unwrap_or_default()
            }
            _ => without_password(options.text(key.name).ok().flatten().unwrap_or_default()),
        };
        if !value.is_empty() {
            writeln!(text, "  {}: {value}", key.name)?;
        }
    }
    Ok(())
}
