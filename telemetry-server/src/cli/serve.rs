//! `telemetry serve`: starts the sinks, serves until it is stopped, and shuts down in order.

use std::error::Error;
use std::io::IsTerminal as _;
use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use telemetry_provider::{Config, ConfigReader, Provider, registry};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::api::router;
use crate::cli::export_loop;
use crate::http::{self, Connections};
use crate::output::{self, LogWriter};
use crate::settings::{Settings, parse_address};

/// The arguments of `telemetry serve`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A run.yaml of Llama Stack, or only its `telemetry:` list
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Host and port, for example localhost:8322 or :8322; port 0 picks a free port [default: 127.0.0.1:8322]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// A second address, for senders of OTLP; SDKs send to 127.0.0.1:4318 by default
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    otlp_listen: Option<SocketAddr>,
    /// Listen to other machines although no token is required
    #[arg(long)]
    insecure: bool,
}

/// Shown by `telemetry serve --help` after the options.
pub(super) const EXAMPLES: &str = "Examples:
  telemetry serve
  TELEMETRY_SINKS=sqlite telemetry serve --listen 127.0.0.1:0
  telemetry serve --config run.yaml";

/// Reads the configuration, and serves until SIGTERM, SIGINT (Ctrl-C), SIGHUP or SIGQUIT.
pub(super) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let registry = registry()?;
    let reader = ConfigReader::new(&registry).server_keys(Settings::KEYS);
    let config = match &arguments.config {
        Some(file) => reader.read_file(file)?,
        None => reader.read_environment()?,
    };
    let mut settings = Settings::from_options(config.server())?;
    settings.listen = arguments.listen.unwrap_or(settings.listen);
    settings.otlp_listen = arguments.otlp_listen.or(settings.otlp_listen);
    validate(&config, &settings, arguments.insecure)?;
    start_log(&settings)?;
    start_and_serve(config, &settings)
}

/// Checks everything that can be checked without starting: `telemetry check` finds what `telemetry serve` finds.
pub(super) fn validate(config: &Config, settings: &Settings, insecure: bool) -> Result<(), Box<dyn Error>> {
    let mut addresses = iter::once(settings.listen).chain(settings.otlp_listen);
    let open = addresses.find(|address| !address.ip().is_loopback());
    if let Some(address) = open.filter(|_| settings.tokens.is_empty() && !insecure) {
        return Err(format!(
            "{address} is open to other machines and no token is required; set `server.tokens`, listen on \
             127.0.0.1, or pass --insecure"
        )
        .into());
    }
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(problems.join("; ").into());
    }
    let addresses: Vec<SocketAddr> = iter::once(settings.listen).chain(settings.otlp_listen).collect();
    Ok(export_loop::check(config, &addresses, |name| std::env::var(name).ok())?)
}

/// Starts the program's own log, on stderr.
fn start_log(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_new(&settings.log_level)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(LogWriter)
        .with_ansi(std::io::stderr().is_terminal());
    if settings.log_json {
        log.json().init();
    } else {
        log.init();
    }
    Ok(())
}

/// Starts the sinks, serves, and shuts down.
fn start_and_serve(config: Config, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // First, so that a port in use is reported before a database is opened.
    let listeners = runtime.block_on(async {
        let main = listen(settings.listen, "--listen")?;
        let otlp = settings.otlp_listen.map(|address| listen(address, "--otlp-listen")).transpose()?;
        Ok::<_, Box<dyn Error>>(iter::once(main).chain(otlp).collect::<Vec<_>>())
    })?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    export_loop::check(&config, &addresses, |name| std::env::var(name).ok())?;
    let provider = Provider::start(config)?;
    let ended = runtime.block_on(serve(listeners, &addresses, &provider, settings));
    let deadline = ended?;
    runtime.shutdown_background();
    let report = provider.shutdown(deadline.saturating_duration_since(Instant::now()));
    for sink in &report.abandoned {
        tracing::warn!(sink, "shutdown: the sink did not end in time; its signals may be lost");
    }
    for sink in report.ledger.sinks.iter().filter(|sink| sink.failed + sink.dropped > 0) {
        tracing::warn!(
            sink = sink.name,
            failed = sink.failed,
            dropped = sink.dropped,
            "shutdown: signals failed or were dropped"
        );
    }
    Ok(())
}

fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, Box<dyn Error>> {
    let bound = bind(address);
    bound.map_err(|error| {
        format!("can't listen on {address}: {error}; choose another address with {flag}").into()
    })
}

/// Connections that the system queues until they are accepted. Tokio's default of 128 is full within a
/// millisecond of a rush, and a client that finds it full tries again only a second later.
const BACKLOG: u32 = 4_096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does: a restart need not wait until the system has forgotten old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until a signal arrives. Returns the time when the shutdown must have ended.
async fn serve(
    listeners: Vec<TcpListener>,
    addresses: &[SocketAddr],
    provider: &Provider,
    settings: &Settings,
) -> Result<Instant, Box<dyn Error>> {
    let (stop, mut stopped) = watch::channel(false);
    // A closed terminal sends SIGHUP, and Ctrl-\ sends SIGQUIT: they must not lose what is queued either.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    let mut signals = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
    let wait_for_signal = async move {
        let _ =
            futures_util::future::select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
        stop.send_replace(true);
    };
    let router = router(provider.telemetry(), settings);
    let connections = Connections::new(http::possible_connections(settings.limits.max_connections));
    tokio::spawn(wait_for_signal);
    let serving = listeners.into_iter().map(|listener| {
        let (limits, connections) = (settings.limits.clone(), Arc::clone(&connections));
        tokio::spawn(http::serve(listener, router.clone(), limits, connections, stopped.clone()))
    });
    let serving = futures_util::future::join_all(serving.collect::<Vec<_>>());
    announce(addresses);
    // Fails only if the task that waits for signals has ended.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    let deadline = Instant::now() + settings.shutdown_within;
    // Half of the time is for answers, the rest is for the sinks.
    let answers = settings.shutdown_within.min(Duration::from_secs(60)) / 2;
    if tokio::time::timeout(answers, serving).await.is_err() {
        tracing::warn!(
            connections = connections.count(),
            "shutdown: some requests were not answered in time"
        );
    }
    Ok(deadline)
}

/// Prints the addresses, for users and for programs that wait until the server answers.
fn announce(addresses: &[SocketAddr]) {
    let [main, more @ ..] = addresses else { return };
    for address in more {
        output::print_error(format_args!("receiving OTLP on http://{address}"));
    }
    output::print_error(format_args!("listening on http://{main}"));
}
