//! `telemetry check`: shows what a configuration would run.

use std::error::Error;
use std::path::Path;

use telemetry_core::{Key, KeyKind, Options};
use telemetry_provider::{ConfigReader, ProviderError, registry};

use crate::settings::Settings;

/// Reads the configuration and prints what it would run.
pub(super) fn run(file: &Path) -> Result<(), Box<dyn Error>> {
    let registry = registry().map_err(ProviderError::from)?;
    let config = ConfigReader::new(&registry).server_keys(Settings::KEYS).read_file(file)?;
    let settings = Settings::from_options(config.server())?;
    for warning in config.warnings() {
        println!("warning: {warning}");
    }
    println!("{} is valid", file.display());
    if !config.is_enabled() {
        println!("no provider is enabled: nothing would be recorded");
        return Ok(());
    }
    let service_name = if config.service_name().is_empty() { "(none)" } else { config.service_name() };
    println!("service name: {service_name}");
    println!("listens on:   http://{}", settings.listen);
    if let Some(address) = settings.otlp_listen {
        println!("OTLP also on: http://{address}");
    }
    println!("requires:     {}", if settings.tokens.is_empty() { "nothing" } else { "a bearer token" });
    for choice in config.sinks() {
        println!("sink {}: {}", choice.entry.name, choice.entry.summary);
        print_options(choice.entry.keys, &choice.options);
    }
    Ok(())
}

/// Prints the options in effect, without secrets.
fn print_options(keys: &[Key], options: &Options) {
    for key in keys {
        let value = match key.kind {
            KeyKind::Secret | KeyKind::Map if options.get(key.name).is_some() => "(set)".to_owned(),
            KeyKind::List => {
                options.list(key.name).ok().flatten().map(|items| items.join(", ")).unwrap_or_default()
            }
            _ => options.text(key.name).ok().flatten().unwrap_or_default(),
        };
        if !value.is_empty() {
            println!("  {}: {value}", key.name);
        }
    }
}
