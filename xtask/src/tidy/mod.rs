//! The house rules that no compiler checks. Every rule runs, and all findings are reported together.

mod cycles;
mod dependencies;
mod documents;
mod glossary;
mod imports;
mod modules;
mod sources;

use anyhow::{Result, bail};

/// A rule: its name, and the function that returns what breaks it.
type Rule = (&'static str, fn() -> Result<Vec<String>>);

const RULES: &[Rule] = &[
    ("dependencies point one way", dependencies::direction),
    ("telemetry-core starts no thread and opens nothing", dependencies::core_is_pure),
    ("no circles between the files of a crate", cycles::check),
    ("every contract clause has a case", documents::contract_clauses),
    ("a file is one idea", sources::lengths),
    ("no unfinished or silenced code", sources::marks),
    ("paths and types in ARCHITECTURE.md exist", documents::architecture),
    ("the glossary matches the code", glossary::matches_the_code),
    ("one oldest Rust, stated everywhere", documents::oldest_rust),
    ("links between documents lead to files", documents::links),
];

/// Checks all rules and prints what breaks them.
pub(crate) fn run() -> Result<()> {
    let mut count = 0;
    for (rule, check) in RULES {
        let findings = check()?;
        eprintln!("{} {rule}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for finding in &findings {
            eprintln!("       {}", finding.replace('\n', "\n       "));
        }
        count += findings.len();
    }
    if count == 0 { Ok(()) } else { bail!("{count} findings") }
}
