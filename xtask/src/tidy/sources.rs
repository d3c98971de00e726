//! Source files: their size, and what must not stay in them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use regex::Regex;

use crate::command::{output, root};

/// Past this many lines a file holds a second idea, or says here why not.
const LONGEST: usize = 450;

/// Longer files, and why.
const LONG: &[(&str, &str)] = &[];

/// The Rust files below a folder of the workspace, with their text.
pub(crate) fn rust_files(folder: &str) -> Result<Vec<(PathBuf, String)>> {
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

/// The files git knows, relative to the root.
fn tracked() -> Result<Vec<String>> {
    let listing = output(std::process::Command::new("git").current_dir(root()).arg("ls-files"))?;
    Ok(listing.lines().map(str::to_owned).collect())
}

pub(crate) fn sizes() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in tracked()?.iter().filter(|file| has_extension(file, "rs")) {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        let lines = text.lines().count();
        let excused = LONG.iter().any(|(path, _)| path == file);
        if lines > LONGEST && !excused {
            findings.push(format!("{file}: {lines} lines"));
        }
        if lines <= LONGEST && excused {
            findings.push(format!("{file}: {lines} lines, needs no exception any more"));
        }
    }
    Ok(findings)
}

/// Words that mark unfinished or silenced work, and words that belong to one machine.
const MARKS: &[(&str, &str)] = &[
    (r"\btodo!\(|\bunimplemented!\(", "unfinished code"),
    (r"\bTODO\b|\bFIXME\b|\bXXX\b", "a mark without an owner"),
    (r"#!?\[allow\(", "a lint silenced without a reason: use #[expect(lint, reason = …)]"),
    (r"#\[ignore\]", "a test ignored without a reason"),
    (r"\|\| true\b|continue-on-error", "a failure ignored"),
    (r"/(root|work)/", "a path of one machine"),
];

pub(crate) fn marks() -> Result<Vec<String>> {
    let marks: Vec<(Regex, &str)> =
        MARKS.iter().map(|(pattern, why)| Ok((Regex::new(pattern)?, *why))).collect::<Result<_>>()?;
    let mut findings = Vec::new();
    for file in tracked()? {
        // This file holds the words themselves.
        let is_text = ["rs", "toml", "md", "yaml", "yml", "py", "js", "sh"]
            .iter()
            .any(|kind| has_extension(&file, kind));
        if !is_text || file == "xtask/src/tidy/sources.rs" {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for (pattern, why) in &marks {
                if pattern.is_match(line) {
                    findings.push(format!("{file}:{}: {why}", number + 1));
                }
            }
        }
    }
    Ok(findings)
}

fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|found| found == extension)
}
