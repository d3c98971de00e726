//! The command line.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::error::Error;
use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use telemetry_core::{Key, KeyKind, Options, Registry};
use telemetry_provider::{Config, ConfigError, ConfigReader, ProviderError, registry};

use crate::settings::Settings;
use crate::{doctor, import, serve};

/// Telemetry for LLM servers: log events, look at the traces afterwards, no extra servers.
#[derive(Debug, Parser)]
#[command(name = "telemetry", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Llama Stack's telemetry API, and receive OTLP
    ///
    /// Without a file the sinks are `console,sqlite`, the database is
    /// ~/.llama/runtime/trace_store.db, and these variables are heard: TELEMETRY_SINKS,
    /// OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_ENDPOINT, SQLITE_STORE_DIR.
    ///
    /// SIGTERM and Ctrl-C answer what was accepted, store it, and end with exit code 0.
    #[command(
        after_help = "Examples:\n  telemetry serve\n  TELEMETRY_SINKS=sqlite telemetry serve --listen 127.0.0.1:0\n  telemetry serve --config run.yaml"
    )]
    Serve {
        /// A run.yaml of Llama Stack, or just its `telemetry:` list
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Address and port; port 0 picks one [default: 127.0.0.1:8322]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// A second address, for senders of OTLP: 127.0.0.1:4318 is where SDKs look
        #[arg(long, value_name = "ADDR")]
        otlp_listen: Option<SocketAddr>,
        /// Listen beyond this machine although nobody is asked for a token
        #[arg(long)]
        insecure: bool,
    },
    /// Say what a configuration would run, without running it
    Check {
        /// A run.yaml of Llama Stack, or just its `telemetry:` list
        config: PathBuf,
    },
    /// List the sinks this program has, and their options
    Sinks,
    /// Bring in a database that Llama Stack wrote
    ///
    /// Every trace, span, log and measurement comes in with its ids, times and attributes, and is kept
    /// for seven days from now, or longer if it says so. What is there already is not doubled: run it again at any
    /// time, also to go on where it was interrupted. Stop `telemetry serve` on the same database meanwhile.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Arguments),
    /// Say whether the database is sound, how large it is, and what would be purged
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve { config, listen, otlp_listen, insecure } => {
            run(config, listen, otlp_listen, insecure).map(|()| 0)
        }
        Command::Check { config } => check(config).map(|()| 0),
        Command::Sinks => sinks().map(|()| 0),
        Command::Import(arguments) => import::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The message with all its causes, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

type Outcome = Result<(), Box<dyn Error>>;

fn read(file: Option<PathBuf>, registry: &Registry) -> Result<Config, ConfigError> {
    let reader = ConfigReader::new(registry).server_keys(Settings::KEYS);
    match file {
        Some(file) => reader.read_file(&file),
        None => reader.read_environment(),
    }
}

fn run(
    file: Option<PathBuf>,
    listen: Option<SocketAddr>,
    otlp_listen: Option<SocketAddr>,
    insecure: bool,
) -> Outcome {
    let config = read(file, &registry()?)?;
    let mut settings = Settings::from_options(config.server())?;
    settings.listen = listen.unwrap_or(settings.listen);
    settings.otlp_listen = otlp_listen.or(settings.otlp_listen);
    let mut addresses = iter::once(settings.listen).chain(settings.otlp_listen);
    let open = addresses.find(|address| !address.ip().is_loopback());
    if let Some(listen) = open.filter(|_| settings.tokens.is_empty() && !insecure) {
        return Err(format!("{listen} is open to others and nobody is asked who they are; give `server.tokens`, listen on 127.0.0.1, or say --insecure").into());
    }
    serve::start_log(&settings)?;
    serve::run(config, &settings)
}

fn check(file: PathBuf) -> Outcome {
    let registry = registry().map_err(ProviderError::from)?;
    let name = file.display().to_string();
    let config = read(Some(file), &registry)?;
    let settings = Settings::from_options(config.server())?;
    for warning in config.warnings() {
        println!("warning: {warning}");
    }
    println!("{name} is sound");
    if !config.is_enabled() {
        println!("no provider is enabled: nothing would be recorded");
        return Ok(());
    }
    println!(
        "service name: {}",
        if config.service_name().is_empty() { "(none)" } else { config.service_name() }
    );
    println!("listens on:   http://{}", settings.listen);
    if let Some(address) = settings.otlp_listen {
        println!("OTLP also on: http://{address}");
    }
    println!("asks for:     {}", if settings.tokens.is_empty() { "nothing" } else { "a bearer token" });
    for choice in config.sinks() {
        println!("sink {}: {}", choice.entry.name, choice.entry.summary);
        print_given(choice.entry.keys, &choice.options);
    }
    Ok(())
}

/// The options in effect, secrets left out.
fn print_given(keys: &[Key], options: &Options) {
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

fn sinks() -> Outcome {
    for entry in registry()?.entries() {
        println!("{}: {}", entry.name, entry.summary);
        for key in entry.keys {
            let flat = key.flat.map(|flat| format!(" (or flat: {flat})")).unwrap_or_default();
            let default = key.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
            println!("  {}{flat}: {}{default}", key.name, key.help);
        }
    }
    Ok(())
}
