//! The house rules that no compiler checks. Every rule runs; all findings are reported together.

mod contract;
mod cycles;
mod dependencies;
mod documents;
mod imports;
mod modules;
mod sources;

use anyhow::{Result, bail};

/// A rule: its name, and what it finds wrong.
type Rule = (&'static str, fn() -> Result<Vec<String>>);

const RULES: &[Rule] = &[
    ("dependencies point one way", dependencies::direction),
    ("telemetry-core starts no thread and opens nothing", dependencies::core_is_pure),
    ("no circles between the files of a crate", cycles::check),
    ("every contract clause has a case", contract::clauses_have_cases),
    ("a file is one idea", sources::sizes),
    ("nothing is left open or silenced without a reason", sources::marks),
    ("what ARCHITECTURE.md names exists", documents::architecture),
    ("one oldest Rust, stated everywhere", documents::oldest_rust),
    ("links between documents lead somewhere", documents::links),
];

pub(crate) fn run() -> Result<()> {
    let mut findings = 0;
    for (rule, check) in RULES {
        let found = check()?;
        eprintln!("{} {rule}", if found.is_empty() { "ok  " } else { "FAIL" });
        for finding in &found {
            eprintln!("       {}", finding.replace('\n', "\n       "));
        }
        findings += found.len();
    }
    if findings == 0 { Ok(()) } else { bail!("{findings} findings") }
}
