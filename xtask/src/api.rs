//! Compares the public API of the crates that third parties build on with the listings in `api/`.
//!
//! A change that breaks such users shows as a change of these files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use public_api::Builder;

use crate::command::{self, cargo, target_dir};

/// The crates that sinks, stores and instrumented programs depend on.
const CRATES: [&str; 4] = ["telemetry-core", "telemetry-pipeline", "telemetry-provider", "telemetry-testkit"];
/// The release that made the listings. rustdoc's JSON differs between releases.
const MADE_WITH: &str = "rustc 1.95.";
/// Crates whose types may appear in the core's signatures.
const ALLOWED_IN_CORE: [&str; 10] = [
    "alloc",
    "core",
    "std",
    "telemetry_core",
    "serde",
    "serde_core",
    "futures_core",
    // Events are decoded from its values.
    "serde_json",
    // The macros of `Sink` and `register_sink!` use them.
    "async_trait",
    "inventory",
];

/// Compares the public API with the listings, or writes them with `update`.
pub(crate) fn run(update: bool) -> Result<()> {
    let rustc = command::output(Command::new("rustc").arg("--version"))?;
    if !rustc.starts_with(MADE_WITH) {
        let reason = format!("the listings are made with {MADE_WITH}, but this is {}", rustc.trim());
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
                format!(
                    "telemetry-core's signatures use a type of `{krate}`: sinks would depend on its version"
                )
            }));
            findings.extend(
                reexports(&listing).map(|line| format!("`{line}` re-exports an item of another crate")),
            );
        }
        let stored = folder.join(format!("{name}.txt"));
        if update {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&stored, listing).with_context(|| format!("cannot write {}", stored.display()))?;
        } else {
            findings.extend(differences(&stored, &listing)?);
        }
        println!("{} {name}", if update { "written" } else { "read   " });
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!(
        "{}\nif this is intended and stated in CHANGELOG.md, run: cargo xtask api --update",
        findings.join("\n")
    )
}

/// Returns every public item, one per line, then derived and automatic traits, without blanket implementations.
fn listing(name: &str) -> Result<String> {
    // rustdoc's JSON is not declared stable.
    let mut rustdoc = cargo(&["rustdoc", "--quiet", "--lib", "--package", name, "--all-features", "--"]);
    let rustdoc = rustdoc.args(["-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
    command::run(rustdoc.env("RUSTC_BOOTSTRAP", "1"))?;
    let json = target_dir().join(format!("doc/{}.json", name.replace('-', "_")));
    let read = |without_derived: bool| {
        Builder::from_rustdoc_json(&json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(without_derived)
            .omit_auto_derived_impls(without_derived)
            .build()
            .with_context(|| format!("cannot read rustdoc's JSON of {name}"))
    };
    let mut listing = read(true)?.to_string();
    // Losing `Clone` or `Send` breaks users, too. The methods of these traits need no line.
    let all = read(false)?.to_string();
    for line in all.lines().filter(|line| line.starts_with("impl") && !is_unimportant(line)) {
        if !listing.lines().any(|known| known == line) {
            listing.push_str(line);
            listing.push('\n');
        }
    }
    Ok(listing)
}

/// Returns true for an automatic trait that users do not rely on.
fn is_unimportant(line: &str) -> bool {
    ["::Freeze for", "Unpin for", "UnwindSafe for", "::StructuralPartialEq for"]
        .iter()
        .any(|name| line.contains(name))
}

/// Returns the lines that only one of the two has.
fn differences(stored: &Path, listing: &str) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(stored).with_context(|| format!("cannot read {}", stored.display()))?;
    let (was, is): (BTreeSet<_>, BTreeSet<_>) = (text.lines().collect(), listing.lines().collect());
    let gone = was.difference(&is).map(|line| format!("- {line}"));
    let new = is.difference(&was).map(|line| format!("+ {line}"));
    Ok(gone.chain(new).collect())
}

/// Returns the crates in the listing's paths that are not in [`ALLOWED_IN_CORE`].
fn foreign(listing: &str) -> BTreeSet<&str> {
    let of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = listing.split(|c| !of_path(c)).filter(|path| !path.starts_with(':'));
    let krates = paths.filter_map(|path| path.split_once("::")).map(|(first, _)| first);
    krates
        .filter(|first| first.starts_with(|c: char| c.is_lowercase()) && !ALLOWED_IN_CORE.contains(first))
        .collect()
}

/// Returns the re-exports of other crates' items. Re-exports of our own are listed as the items themselves.
fn reexports(listing: &str) -> impl Iterator<Item = &str> {
    listing.lines().filter(|line| line.starts_with("pub use "))
}

#[cfg(test)]
mod tests {
    use super::{foreign, is_unimportant, reexports};

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
        assert_eq!(reexports("pub mod telemetry_core\npub use telemetry_core::Bytes").count(), 1);
    }

    #[test]
    fn traits_that_users_rely_on_are_listed() {
        assert!(!is_unimportant("impl core::marker::Send for telemetry_core::Span"));
        assert!(!is_unimportant("impl core::clone::Clone for telemetry_core::Span"));
        assert!(is_unimportant("impl core::marker::Freeze for telemetry_core::Span"));
    }
}
