//! `telemetry sinks`: lists the linked sinks and their options.

use std::error::Error;

use telemetry_provider::registry;

/// Prints each sink with its options.
pub(super) fn run() -> Result<(), Box<dyn Error>> {
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
