//! Checks of source files: their length, and words that must not stay in them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use regex::Regex;

use crate::command::{output, root};

/// A longer file probably holds two ideas.
const MOST_LINES: usize = 450;

/// Words of unfinished work, of silenced checks, and of one machine.
const MARKS: &[(&str, &str)] = &[
    (r"\btodo!\(|\bunimplemented!\(", "unfinished code"),
    (r"\bTODO\b|\bFIXME\b|\bXXX\b", "a mark without an owner"),
    (r"#!?\[allow\(", "a lint silenced without a reason: use #[expect(lint, reason = …)]"),
    (r"#\[ignore\]", "a test ignored without a reason"),
    (r"\|\| true\b|continue-on-error", "a failure ignored"),
    (r"/(root|work)/", "a path of one machine"),
];

/// Returns the Rust files below a folder of the workspace, with their text.
pub(super) fn rust_files(folder: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                files.push((path, text));
            }
        }
    }
    Ok(files)
}

/// Returns the files in git that match one of the patterns, relative to the root.
pub(super) fn tracked(patterns: &[&str]) -> Result<Vec<String>> {
    let listing = output(Command::new("git").current_dir(root()).arg("ls-files").args(patterns))?;
    Ok(listing.lines().map(str::to_owned).collect())
}

/// Checks that no Rust file is too long.
pub(super) fn lengths() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in tracked(&["*.rs"])? {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        let lines = text.lines().count();
        if lines > MOST_LINES {
            findings.push(format!("{file} has {lines} lines; split it below {MOST_LINES}"));
        }
    }
    Ok(findings)
}

/// Checks that no file contains one of [`MARKS`].
pub(super) fn marks() -> Result<Vec<String>> {
    let marks: Vec<(Regex, &str)> =
        MARKS.iter().map(|(pattern, why)| Ok((Regex::new(pattern)?, *why))).collect::<Result<_>>()?;
    let mut findings = Vec::new();
    for file in tracked(&["*.rs", "*.toml", "*.md", "*.yaml", "*.yml", "*.py", "*.js", "*.mjs", "*.sh"])? {
        // This file contains the words itself.
        if Path::new(&file) == Path::new("xtask/src/tidy/sources.rs") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = marks.iter().filter(|(pattern, _)| pattern.is_match(line));
            findings.extend(found.map(|(_, why)| format!("{file}:{}: {why}", number + 1)));
        }
    }
    Ok(findings)
}
