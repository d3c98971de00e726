//! Writes lines to a stream.

use std::io::{self, ErrorKind, Write};

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, Signal, SignalSet, Sink, SinkError, Written};

use crate::config::{Config, Format};
use crate::format::to_text;
use crate::json::to_json_line;

/// Prints signals to a stream, a batch at a time.
///
/// ```
/// use sink_console::{Config, ConsoleSink};
/// use telemetry_testkit::{Driver, block_on, signals::{open_span, started}};
///
/// let sink = ConsoleSink::new(std::io::sink(), Config::default(), false);
/// let written = block_on(Driver::new(sink.built()).write(vec![started(open_span(1, 1, 0))]));
/// assert_eq!(written.unwrap().rejected, 0);
/// ```
#[derive(Debug)]
pub struct ConsoleSink<W> {
    out: W,
    format: Format,
    colored: bool,
    /// The rest of a line whose beginning is printed already.
    rest: Vec<u8>,
}

/// A signal that stopped half-way through: how much was taken, and why no more.
struct Stopped {
    bytes: usize,
    cause: io::Error,
}

impl<W: Write + Send + 'static> ConsoleSink<W> {
    /// A sink that prints to `out`, which is a terminal or not.
    pub const fn new(out: W, config: Config, is_terminal: bool) -> Self {
        Self { out, format: config.format, colored: config.is_colored(is_terminal), rest: Vec::new() }
    }

    /// The sink as a build function gives it.
    pub fn built(self) -> BuiltSink {
        // An end alone comes again with its span.
        let interest = SignalSet::SPAN_STARTED | SignalSet::SPAN_ENDED | SignalSet::LOG | SignalSet::METRIC;
        BuiltSink::new(self, interest)
    }

    fn line(&self, signal: &Signal) -> String {
        match self.format {
            Format::Text => to_text(signal, self.colored),
            Format::Json => to_json_line(signal),
        }
    }

    /// Prints what an earlier try left of a line.
    fn write_rest(&mut self) -> Result<(), SinkError> {
        let outcome = write_all(&mut self.out, &self.rest);
        let taken = outcome.as_ref().map_or_else(|stopped| stopped.bytes, |()| self.rest.len());
        self.rest.drain(..taken);
        outcome.map_err(|stopped| write_error(stopped.cause))
    }

    fn write_lines(&mut self, batch: &Batch<'_>) -> Result<(), SinkError> {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(batch.len());
        for signal in batch.iter() {
            text.push_str(&self.line(signal));
            ends.push(text.len());
        }
        let Err(Stopped { bytes, cause }) = write_all(&mut self.out, text.as_bytes()) else { return Ok(()) };
        let mut stored = ends.partition_point(|end| *end <= bytes);
        let line_start = stored.checked_sub(1).map_or(0, |last| ends[last]);
        if bytes > line_start {
            // A line can't be taken back: the rest of it comes first next time.
            self.rest.extend_from_slice(&text.as_bytes()[bytes..ends[stored]]);
            stored += 1;
        }
        Err(write_error(cause).stored(stored))
    }

    fn flush_out(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(write_error)
    }
}

fn write_all(out: &mut impl Write, text: &[u8]) -> Result<(), Stopped> {
    let mut bytes = 0;
    while bytes < text.len() {
        match out.write(&text[bytes..]) {
            Ok(0) => return Err(Stopped { bytes, cause: ErrorKind::WriteZero.into() }),
            Ok(taken) => bytes += taken,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(Stopped { bytes, cause }),
        }
    }
    Ok(())
}

/// A full disk or pipe may empty; a reader that has gone does not come back.
fn write_error(cause: io::Error) -> SinkError {
    let error = match cause.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            SinkError::retry("the console takes no more for now")
        }
        _ => SinkError::close("the console is closed"),
    };
    error.source(cause)
}

#[async_trait]
impl<W: Write + Send + 'static> Sink for ConsoleSink<W> {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        self.write_rest()?;
        self.write_lines(batch)?;
        // What is in a buffer of the stream is as good as printed: it is flushed before the next batch.
        self.flush_out().map_err(|error| error.stored(batch.len()))?;
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.write_rest()?;
        self.flush_out()
    }

    async fn shutdown(mut self: Box<Self>) -> Result<(), SinkError> {
        self.write_rest()?;
        self.flush_out()
    }
}
