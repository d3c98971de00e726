//! The sink contract and the testkit's cases for it.

use anyhow::{Context as _, Result};
use regex::Regex;

use crate::command::root;

/// Every clause `C1 …` on the `Sink` trait has a case in the testkit, a mutant that proves the case,
/// and a paragraph in docs/sink-contract.md.
pub(crate) fn clauses_have_cases() -> Result<Vec<String>> {
    let contract = std::fs::read_to_string(root().join("telemetry-core/src/sink.rs"))?;
    let clause = Regex::new(r"- \*\*(C\d+) (\w+)\.\*\*")?;
    let clauses: Vec<(String, String)> = clause
        .captures_iter(&contract)
        .map(|found| (found[1].to_lowercase(), found[2].to_lowercase()))
        .collect();
    let mut findings = Vec::new();
    if clauses.is_empty() {
        findings.push("telemetry-core/src/sink.rs names no clause".to_owned());
    }
    let joined = |folder: &str| -> Result<String> {
        Ok(super::sources::rust_files(folder)?
            .into_iter()
            .map(|(_, text)| text)
            .collect::<Vec<_>>()
            .join("\n"))
    };
    let places = [
        ("a case in telemetry-testkit/src", joined("telemetry-testkit/src")?),
        ("a mutant in telemetry-testkit/tests", joined("telemetry-testkit/tests")?),
        (
            "a paragraph in docs/sink-contract.md",
            std::fs::read_to_string(root().join("docs/sink-contract.md")).context("docs/sink-contract.md")?,
        ),
    ];
    for (number, name) in clauses {
        let mention = Regex::new(&format!(r"(?i)\b{number}[_ ]{name}"))?;
        for (what, text) in &places {
            if !mention.is_match(text) {
                findings.push(format!("{number} {name} has no {what}"));
            }
        }
    }
    Ok(findings)
}
