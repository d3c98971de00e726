//! Checks that documents and code agree: names, links, the sink contract, the oldest Rust.

use anyhow::{Context as _, Result};
use regex::Regex;

use super::sources::{rust_files, tracked};
use crate::command::root;

/// Checks that paths and Rust types quoted in ARCHITECTURE.md exist.
pub(super) fn architecture() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let quoted = Regex::new(r"`([^`\s]+)`")?;
    let is_path = Regex::new(r"^[\w.-]+(/[\w.-]*)+$|^[\w-]+\.(rs|md|toml)$")?;
    let is_type = Regex::new(r"^[A-Z][A-Za-z]+(::\w+)*$")?;
    let code: String = tracked(&["*.rs"])?
        .iter()
        .filter_map(|file| std::fs::read_to_string(root().join(file)).ok())
        .collect::<Vec<_>>()
        .join("\n");
    let mut findings = Vec::new();
    for found in quoted.captures_iter(&text) {
        let name = &found[1];
        if is_path.is_match(name) && !name.starts_with("v1/") {
            if !root().join(name).exists() {
                findings.push(format!("there is no file or folder `{name}`"));
            }
        } else if is_type.is_match(name) {
            let word = Regex::new(&format!(r"\b{}\b", name.rsplit("::").next().unwrap_or(name)))?;
            if !word.is_match(&code) {
                findings.push(format!("the code does not contain `{name}`"));
            }
        }
    }
    Ok(findings)
}

/// Checks that relative links in Markdown files lead to files.
pub(super) fn links() -> Result<Vec<String>> {
    let link = Regex::new(r"\]\(([^)#:\s]+)(#[^)]*)?\)")?;
    let mut findings = Vec::new();
    for document in tracked(&["*.md"])? {
        let path = root().join(&document);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let folder = path.parent().unwrap_or(root());
        for found in link.captures_iter(&text) {
            if !folder.join(&found[1]).exists() {
                findings.push(format!("{document} links to `{}`, which does not exist", &found[1]));
            }
        }
    }
    Ok(findings)
}

/// Checks that documents, manifests and Dockerfiles name the same oldest Rust, and that every crate does.
pub(super) fn oldest_rust() -> Result<Vec<String>> {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let stated = Regex::new(r#"(?:Rust |rust:|rust-version = ")(1\.\d+)"#)?;
    let mut findings = Vec::new();
    for file in tracked(&["*.md", "*.toml", "*Dockerfile"])? {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        let others = stated.captures_iter(&text).filter(|found| &found[1] != rust);
        findings.extend(others.map(|found| format!("{file} names Rust {}; expected {rust}", &found[1])));
        let is_ours =
            file.ends_with("Cargo.toml") && !file.starts_with("fuzz/") && !file.contains("templates/");
        if is_ours && text.contains("[package]") && !text.contains("rust-version") {
            findings.push(format!("{file} has no rust-version"));
        }
    }
    Ok(findings)
}

/// Checks every clause `C1 …` of the `Sink` trait: it has a case in the testkit, a faulty sink that proves
/// the case, and a paragraph in docs/sink-contract.md.
pub(super) fn contract_clauses() -> Result<Vec<String>> {
    let contract = std::fs::read_to_string(root().join("telemetry-core/src/sink.rs"))?;
    let clause = Regex::new(r"- \*\*(C\d+) (\w+)\.\*\*")?;
    let clauses: Vec<[&str; 2]> = clause.captures_iter(&contract).map(|found| found.extract().1).collect();
    let joined = |folder: &str| -> Result<String> {
        let files = rust_files(folder)?;
        Ok(files.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n"))
    };
    let page = root().join("docs/sink-contract.md");
    let places = [
        ("case in telemetry-testkit/src", joined("telemetry-testkit/src")?),
        ("faulty sink in telemetry-testkit/tests", joined("telemetry-testkit/tests")?),
        (
            "paragraph in docs/sink-contract.md",
            std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?,
        ),
    ];
    let mut findings = Vec::new();
    if clauses.is_empty() {
        findings.push("telemetry-core/src/sink.rs has no contract clause".to_owned());
    }
    for [number, name] in clauses {
        let mention = Regex::new(&format!(r"(?i)\b{number}[_ ]{name}"))?;
        let missing = places.iter().filter(|(_, text)| !mention.is_match(text));
        findings.extend(missing.map(|(what, _)| format!("{number} {name} has no {what}")));
    }
    Ok(findings)
}
