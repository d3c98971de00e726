//! Documents: what they name exists.

use anyhow::Result;
use regex::Regex;

use crate::command::{output, root};

/// Paths and Rust names quoted in ARCHITECTURE.md exist.
pub(crate) fn architecture() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let quoted = Regex::new(r"`([^`\s]+)`")?;
    let is_path = Regex::new(r"^[\w.-]+(/[\w.-]*)+$|^[\w-]+\.(rs|md|toml)$")?;
    let is_type = Regex::new(r"^[A-Z][A-Za-z]+(::\w+)*$")?;
    let sources = output(std::process::Command::new("git").current_dir(root()).args(["ls-files", "*.rs"]))?;
    let code: String = sources
        .lines()
        .filter_map(|file| std::fs::read_to_string(root().join(file)).ok())
        .collect::<Vec<_>>()
        .join("\n");
    let mut findings = Vec::new();
    for found in quoted.captures_iter(&text) {
        let name = &found[1];
        if is_path.is_match(name) && !name.starts_with("v1/") {
            if !root().join(name).exists() {
                findings.push(format!("`{name}` is no file or folder"));
            }
        } else if is_type.is_match(name) {
            let word = Regex::new(&format!(r"\b{}\b", name.rsplit("::").next().unwrap_or(name)))?;
            if !word.is_match(&code) {
                findings.push(format!("`{name}` is nowhere in the code"));
            }
        }
    }
    Ok(findings)
}

/// Relative links in Markdown files lead to files.
pub(crate) fn links() -> Result<Vec<String>> {
    let link = Regex::new(r"\]\(([^)#:\s]+)(#[^)]*)?\)")?;
    let documents = output(std::process::Command::new("git").current_dir(root()).args(["ls-files", "*.md"]))?;
    let mut findings = Vec::new();
    for document in documents.lines() {
        let path = root().join(document);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let folder = path.parent().unwrap_or(root());
        for found in link.captures_iter(&text) {
            if !folder.join(&found[1]).exists() {
                findings.push(format!("{document}: `{}` leads nowhere", &found[1]));
            }
        }
    }
    Ok(findings)
}

/// The oldest Rust is one, wherever it is stated, and every crate states it.
pub(crate) fn oldest_rust() -> Result<Vec<String>> {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let stated = Regex::new(r#"(?:Rust |rust:|rust-version = ")(1\.\d+)"#)?;
    let mut findings = Vec::new();
    let files = ["*.md", "*.toml", "*Dockerfile"];
    let files = output(std::process::Command::new("git").current_dir(root()).arg("ls-files").args(files))?;
    for file in files.lines() {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        let others = stated.captures_iter(&text).filter(|found| &found[1] != rust);
        findings.extend(others.map(|found| format!("{file} says {}, not {rust}", &found[1])));
        let is_ours =
            file.ends_with("Cargo.toml") && !file.starts_with("fuzz/") && !file.contains("templates/");
        if is_ours && text.contains("[package]") && !text.contains("rust-version") {
            findings.push(format!("{file} does not say which Rust it needs"));
        }
    }
    Ok(findings)
}
