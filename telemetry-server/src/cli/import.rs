//! `telemetry import`: adds the rows of a database that Llama Stack wrote.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sink_sqlite::{ImportEvent, ImportReport};

use crate::cli::database::{DatabaseArguments, runtime};
use crate::output;

/// The arguments of `telemetry import`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The trace_store.db that Llama Stack wrote; it is not changed
    file: PathBuf,
    #[command(flatten)]
    database: DatabaseArguments,
}

/// Shown by `telemetry import --help` after the options.
pub(super) const EXAMPLES: &str = "Examples:
  telemetry import ~/.llama/distributions/starter/trace_store.db
  telemetry import old.db --database /var/lib/telemetry/trace_store.db

Exit codes:
  0  all rows are in the database now
  1  the import failed; run it again to continue
  3  finished, but some rows could not be imported; each is listed on stderr";

/// The exit code if rows were skipped.
const SKIPPED: u8 = 3;

/// Imports, and prints what was imported.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Box<dyn Error>> {
    // SQLite would report only that it is unable to open the file.
    let readable = std::fs::File::open(&arguments.file);
    readable.map_err(|error| format!("can't read `{}`: {error}", arguments.file.display()))?;
    let options = arguments.database.options()?;
    let target = options.path.display().to_string();
    let bar = ProgressBar::no_length();
    // Draws nothing unless stderr is a terminal.
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows, {eta} left") {
        bar.set_style(style);
    }
    let mut watch = |event| match event {
        ImportEvent::Total(rows) => bar.set_length(rows),
        ImportEvent::Done(rows) => bar.inc(rows),
        ImportEvent::Skipped { table, row, reason } => {
            bar.suspend(|| output::print_error(format_args!("skipped: {table} row {row}: {reason}")));
        }
        _ => {}
    };
    let imported = runtime()?.block_on(sink_sqlite::import(options, &arguments.file, &mut watch));
    bar.finish_and_clear();
    let ImportReport { spans, logs, metrics, already_there, skipped } = imported?;
    let mut text = format!("imported into {target}: {spans} spans, {logs} logs, {metrics} metric points\n");
    if already_there > 0 {
        writeln!(text, "{already_there} rows were there already")?;
    }
    if skipped > 0 {
        writeln!(text, "{skipped} rows were skipped")?;
    }
    output::print(&text)?;
    Ok(if skipped > 0 { SKIPPED } else { 0 })
}
