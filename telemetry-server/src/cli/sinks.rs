//! `telemetry sinks`: lists the linked sinks and their options.

use std::error::Error;
use std::fmt::Write as _;

use telemetry_provider::registry;

use crate::output;

/// Prints each sink with its options.
pub(super) fn run() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    for entry in registry()?.entries() {
        writeln!(text, "{}: {}", entry.name, entry.summary)?;
        for key in entry.keys {
            let flat = key.flat.map(|flat| format!(" (or flat: {flat})")).unwrap_or_default();
            let default = key.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
            writeln!(text, "  {}{flat}: {}{default}", key.name, key.help)?;
        }
    }
    Ok(output::print(&text)?)
}
