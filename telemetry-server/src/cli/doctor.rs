//! `telemetry doctor`: checks the database and shows what it contains.

use std::error::Error;

use clap::Args;
use sink_sqlite::{Examination, Rows};

use crate::cli::database::{DatabaseArguments, runtime};
use crate::output;

/// The arguments of `telemetry doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// Do not compare indexes with their tables, which is much faster for a large file
    #[arg(long)]
    quick: bool,
}

/// Shown by `telemetry doctor --help` after the options.
pub(super) const EXAMPLES: &str = "Examples:
  telemetry doctor
  telemetry doctor --database /var/lib/telemetry/trace_store.db --quick

The database may be in use meanwhile. Nothing is changed.

Exit codes:
  0  the database is not damaged
  1  it can't be checked: it does not exist, or belongs to another program or a newer version
  4  it is damaged; each problem is listed. Stop the program. Then move the file away to start
     with an empty database, or save what can be read: sqlite3 FILE .recover | sqlite3 saved.db";

/// The exit code for a damaged file.
const DAMAGED: u8 = 4;

/// Checks the database, and prints a report.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Box<dyn Error>> {
    let options = arguments.database.options()?;
    let found = runtime()?.block_on(sink_sqlite::examine(&options, arguments.quick))?;
    output::print(&report(&found))?;
    Ok(if found.problems.is_empty() { 0 } else { DAMAGED })
}

fn report(found: &Examination) -> String {
    let (version, known) = found.schema;
    let migrates =
        if version < known { format!(", migrated to {known} at the next start") } else { String::new() };
    let mut lines = vec![
        format!("database:  {}", found.path.display()),
        format!("schema:    version {version}{migrates}"),
        format!("in use:    {}", found.writer.as_deref().unwrap_or("no")),
        format!(
            "size:      {}, log {}, free {}",
            size(found.sizes.database),
            size(found.sizes.log),
            size(found.sizes.free)
        ),
    ];
    if let Some(cap) = found.sizes.cap {
        let used = found.sizes.database.saturating_sub(found.sizes.free);
        let over = used.saturating_sub(cap);
        let excess = if over > 0 {
            format!("; {} of the oldest data would be removed", size(over))
        } else {
            String::new()
        };
        lines.push(format!("cap:       {}{excess}", size(cap)));
    }
    if !found.is_counted {
        lines.push("stored:    unknown, since the damage prevents counting".to_owned());
        lines.extend(found.problems.iter().map(|problem| format!("damaged:   {problem}")));
        let path = found.path.display();
        lines.push(format!("recover:   sqlite3 {path} .recover | sqlite3 saved.db"));
        return lines.join("\n") + "\n";
    }
    let oldest = found.oldest.map(|time| format!("; the oldest arrived {time}")).unwrap_or_default();
    lines.push(format!("stored:    {}{oldest}", rows(found.stored)));
    lines.push(format!(
        "half:      {} spans lack their start or end, {} ends wait for their start",
        found.incomplete_spans, found.waiting_ends
    ));
    lines.push(format!("to purge:  {}", rows(found.expired)));
    if found.problems.is_empty() {
        lines.push("integrity: ok".to_owned());
    }
    lines.extend(found.problems.iter().map(|problem| format!("damaged:   {problem}")));
    lines.join("\n") + "\n"
}

fn rows(rows: Rows) -> String {
    format!(
        "{} traces, {} spans, {} logs, {} metric points",
        rows.traces, rows.spans, rows.logs, rows.metrics
    )
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
