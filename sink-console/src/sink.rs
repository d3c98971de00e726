//! The sink, which writes lines to a stream.

use std::io::{self, ErrorKind, Write};

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, Signal, SignalSet, Sink, SinkError, Written};

use crate::config::{Config, Format};
use crate::format::to_text;
use crate::json::to_json_line;

/// Writes signals to a stream, one batch at a time.
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
    /// The rest of a line whose beginning is written already.
    rest: Vec<u8>,
}

/// A write that failed.
struct ShortWrite {
    /// The number of bytes that were written before.
    written: usize,
    cause: io::Error,
}

impl<W: Write + Send + 'static> ConsoleSink<W> {
    /// Returns a sink that writes to `out`.
    pub const fn new(out: W, config: Config, is_terminal: bool) -> Self {
        Self { out, format: config.format, colored: config.is_colored(is_terminal), rest: Vec::new() }
    }

    /// Returns the sink with its interest, as a build function does.
    pub fn built(self) -> BuiltSink {
        // Without `END_WAITING`: such an end arrives again with its span.
        let interest = SignalSet::SPAN_STARTED | SignalSet::SPAN_ENDED | SignalSet::LOG | SignalSet::METRIC;
        BuiltSink::new(self, interest).without_span_events()
    }

    fn line(&self, signal: &Signal) -> String {
        match self.format {
            Format::Text => to_text(signal, self.colored),
            Format::Json => to_json_line(signal),
        }
    }

    /// Writes the rest of a line that an earlier try began.
    fn write_rest(&mut self) -> Result<(), SinkError> {
        let outcome = write_all(&mut self.out, &self.rest);
        let written = outcome.as_ref().map_or_else(|short| short.written, |()| self.rest.len());
        self.rest.drain(..written);
        outcome.map_err(|short| write_error(short.cause))
    }

    fn write_lines(&mut self, batch: &Batch<'_>) -> Result<(), SinkError> {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(batch.len());
        for signal in batch.iter() {
            text.push_str(&self.line(signal));
            ends.push(text.len());
        }
        let Err(ShortWrite { written, cause }) = write_all(&mut self.out, text.as_bytes()) else {
            return Ok(());
        };
        let mut stored = ends.partition_point(|end| *end <= written);
        let line_start = stored.checked_sub(1).map_or(0, |last| ends[last]);
        if written > line_start {
            // The line is begun, so it counts as stored. The next write starts with its rest.
            self.rest.extend_from_slice(&text.as_bytes()[written..ends[stored]]);
            stored += 1;
        }
        Err(write_error(cause).stored(stored))
    }

    fn flush_out(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(write_error)
    }
}

fn write_all(out: &mut impl Write, text: &[u8]) -> Result<(), ShortWrite> {
    let mut written = 0;
    while written < text.len() {
        match out.write(&text[written..]) {
            Ok(0) => return Err(ShortWrite { written, cause: ErrorKind::WriteZero.into() }),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(ShortWrite { written, cause }),
        }
    }
    Ok(())
}

/// Returns the error for a failed write: temporary for a full disk or pipe, permanent for a closed stream.
fn write_error(cause: io::Error) -> SinkError {
    let error = match cause.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            SinkError::retry("the console accepts no more data for now")
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
        // All lines are in the stream's buffer and leave with a later flush, so they count as stored.
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
