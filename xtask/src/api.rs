//! The public API of the crates that third parties build on, as stored in `api/`.
//!
//! A change that breaks a sink somewhere else cannot slip in: it shows as a change of these files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use public_api::Builder;
use telemetry_tests::target_dir;

use crate::command::{self, cargo};

/// What a sink, a store or an instrumented program is written against.
const CRATES: [&str; 4] = ["telemetry-core", "telemetry-pipeline", "telemetry-provider", "telemetry-testkit"];
/// The form of rustdoc's JSON differs between releases.
const MADE_WITH: &str = "rustc 1.95.";
/// Crates whose types may stand in the core's signatures.
const NAMED_BY_THE_CORE: [&str; 10] = [
    "alloc",
    "core",
    "std",
    "telemetry_core",
    "serde",
    "serde_core",
    "futures_core",
    // JSON text that was read, on its way to events.
    "serde_json",
    // The macros of `Sink` and `register_sink!` name them.
    "async_trait",
    "inventory",
];

/// Compares the public API with what is stored, or stores it.
pub(crate) fn run(update: bool) -> Result<()> {
    let rustc = command::output(Command::new("rustc").arg("--version"))?;
    if !rustc.starts_with(MADE_WITH) {
        let reason = format!("the listing is made with {MADE_WITH}, this is {}", rustc.trim());
        ensure!(!update && std::env::var_os("CI").is_none(), reason);
        println!("skipped: {reason}");
        return Ok(());
    }
    let folder = command::root().join("api");
    let mut findings = Vec::new();
    for name in CRATES {
        let listing = listing(name)?;
        if name == "telemetry-core" {
            findings.extend(foreign(&listing).into_iter().map(|krate| {
                format!("a type of `{krate}` stands in telemetry-core's signatures: sinks would depend on its version")
            }));
            findings.extend(
                handed_on(&listing).map(|line| format!("`{line}` hands on what another crate promises")),
            );
        }
        let stored = folder.join(format!("{name}.txt"));
        if update {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&stored, listing).with_context(|| format!("cannot write {}", stored.display()))?;
        } else {
            findings.extend(differences(&stored, &listing)?);
        }
        println!("{} {name}", if update { "stored" } else { "read  " });
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}\nif this is meant, and CHANGELOG.md tells it: cargo xtask api --update", findings.join("\n"))
}

/// Every public item, one per line, then the traits that are derived or implied, without blanket implementations.
fn listing(name: &str) -> Result<String> {
    // The JSON form of rustdoc is there for tools, but not declared stable.
    let mut rustdoc = cargo(&["rustdoc", "--quiet", "--lib", "--package", name, "--all-features", "--"]);
    let rustdoc = rustdoc.args(["-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
    command::run(rustdoc.env("RUSTC_BOOTSTRAP", "1"))?;
    let json = target_dir().join(format!("doc/{}.json", name.replace('-', "_")));
    let read = |omits_implied: bool| {
        Builder::from_rustdoc_json(&json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(omits_implied)
            .omit_auto_derived_impls(omits_implied)
            .build()
            .with_context(|| format!("rustdoc's JSON of {name} cannot be read"))
    };
    let mut listing = read(true)?.to_string();
    // Of what is derived or implied the trait says all: losing `Clone` or `Send` breaks a user, too.
    let all = read(false)?.to_string();
    for line in all.lines().filter(|line| line.starts_with("impl") && !is_unnamed(line)) {
        if !listing.lines().any(|known| known == line) {
            listing.push_str(line);
            listing.push('\n');
        }
    }
    Ok(listing)
}

/// Traits that no one relies on by name.
fn is_unnamed(line: &str) -> bool {
    ["::Freeze for", "Unpin for", "UnwindSafe for", "::StructuralPartialEq for"]
        .iter()
        .any(|unnamed| line.contains(unnamed))
}

/// The lines that are only here or only there.
fn differences(stored: &Path, listing: &str) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(stored).with_context(|| format!("cannot read {}", stored.display()))?;
    let (was, is): (BTreeSet<_>, BTreeSet<_>) = (text.lines().collect(), listing.lines().collect());
    let gone = was.difference(&is).map(|line| format!("- {line}"));
    let new = is.difference(&was).map(|line| format!("+ {line}"));
    Ok(gone.chain(new).collect())
}

/// Crates that are named in the listing's paths and should not be.
fn foreign(listing: &str) -> BTreeSet<&str> {
    let of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = listing.split(|c| !of_path(c)).filter(|path| !path.starts_with(':'));
    let krates = paths.filter_map(|path| path.split_once("::")).map(|(first, _)| first);
    krates
        .filter(|first| first.starts_with(|c: char| c.is_lowercase()) && !NAMED_BY_THE_CORE.contains(first))
        .collect()
}

/// Re-exports of other crates' items; our own are listed as what they are.
fn handed_on(listing: &str) -> impl Iterator<Item = &str> {
    listing.lines().filter(|line| line.starts_with("pub use "))
}

#[cfg(test)]
mod tests {
    use super::{foreign, handed_on, is_unnamed};

    #[test]
    fn a_foreign_crate_in_a_signature_is_named() {
        let listing =
            "pub fn telemetry_core::Text::new(std::time::Duration) -> chrono::DateTime<Utc>\nSelf::Err";
        assert_eq!(foreign(listing).into_iter().collect::<Vec<_>>(), ["chrono"]);
    }

    #[test]
    fn a_foreign_crate_in_a_bound_a_trait_or_behind_another_name_is_named() {
        for line in [
            "pub fn telemetry_core::f<T: bytes::Buf>(T)",
            "impl bytes::Buf for telemetry_core::Text",
            "impl core::convert::From<bytes::Bytes> for telemetry_core::Text",
            "pub telemetry_core::QueryError::Io(bytes::Error)",
        ] {
            assert_eq!(foreign(line).into_iter().collect::<Vec<_>>(), ["bytes"], "{line}");
        }
        assert_eq!(handed_on("pub mod telemetry_core\npub use telemetry_core::Bytes").count(), 1);
    }

    #[test]
    fn traits_that_users_rely_on_are_listed() {
        assert!(!is_unnamed("impl core::marker::Send for telemetry_core::Span"));
        assert!(!is_unnamed("impl core::clone::Clone for telemetry_core::Span"));
        assert!(is_unnamed("impl core::marker::Freeze for telemetry_core::Span"));
    }
}
