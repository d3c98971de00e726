//! Writes to stdout and stderr that survive a reader who has gone.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::fmt::MakeWriter;

/// Lines of the program's log that could not be written.
static LOST_LOG_LINES: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines of the program's log that could not be written, because stderr has no reader or its
/// disk is full.
pub(crate) fn lost_log_lines() -> u64 {
    LOST_LOG_LINES.load(Ordering::Relaxed)
}

/// Prints a text on stdout. A reader who has gone, such as `head`, is not an error.
///
/// # Errors
///
/// Returns a message if stdout can't be written for another reason, such as a full disk.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("can't write to stdout: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line on stderr, if stderr can be written.
pub(crate) fn print_error(line: impl Display) {
    // Nobody can be told.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes the program's log to stderr. Lines that can't be written are counted, and nothing else happens: the log must
/// never end a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            LOST_LOG_LINES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
