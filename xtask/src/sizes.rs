//! What each combination of the provider's features costs a program: bytes, crates, seconds of a build.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use telemetry_tests::target_dir;

use crate::command::{self, root};
use crate::{features, new_sink};

/// One combination.
struct Row {
    features: String,
    stripped: u64,
    unstripped: u64,
    crates: usize,
    took: Option<Duration>,
}

/// Prints a table of all combinations. With `cold` each is built from nothing and timed: then only the
/// downloads are left out.
pub(crate) fn run(cold: bool) -> Result<()> {
    let folder = target_dir().join("sizes");
    let builds = folder.join("target");
    let mut rows = Vec::new();
    for chosen in features::combinations() {
        if cold && builds.exists() {
            fs::remove_dir_all(&builds)?;
        }
        rows.push(measure(&folder, &builds, &chosen, cold)?);
    }
    fs::remove_dir_all(&builds)?;
    print(&rows);
    Ok(())
}

fn measure(folder: &Path, builds: &Path, chosen: &[&str], cold: bool) -> Result<Row> {
    const MANIFEST: &str = include_str!("../templates/sizes/Cargo.toml");
    const PROGRAM: &str = include_str!("../templates/sizes/main.rs.txt");
    let quoted: Vec<String> = chosen.iter().map(|feature| format!("\"{feature}\"")).collect();
    let path = |member: &str| new_sink::toml_string(&root().join(member));
    let manifest = MANIFEST
        .replace("__FEATURES__", &quoted.join(", "))
        .replace("__CORE__", &path("telemetry-core"))
        .replace("__PROVIDER__", &path("telemetry-provider"));
    new_sink::write(folder, "Cargo.toml", &manifest)?;
    new_sink::write(folder, "src/main.rs", PROGRAM)?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;

    let cargo = |arguments: &[&str]| {
        let mut cargo = command::cargo(arguments);
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", builds);
        cargo
    };
    command::run(&mut cargo(&["fetch", "--quiet"]))?;
    let started = Instant::now();
    command::run(&mut cargo(&["build", "--quiet", "--release"]))?;
    let took = started.elapsed();

    let program = builds.join("release/smallest");
    let bare = builds.join("smallest.stripped");
    command::run(Command::new("strip").arg("-o").arg(&bare).arg(&program))
        .context("sizes need `strip` (Debian: binutils)")?;
    let tree = ["tree", "--quiet", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let tree = command::output(&mut cargo(&tree))?;
    let mut crates: Vec<&str> =
        tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()).collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(Row {
        features: if chosen.is_empty() { "none".to_owned() } else { format!("`{}`", chosen.join("`, `")) },
        stripped: fs::metadata(&bare)?.len(),
        unstripped: fs::metadata(&program)?.len(),
        // The program itself is not counted.
        crates: crates.len() - 1,
        took: cold.then_some(took),
    })
}

fn print(rows: &[Row]) {
    let none = rows.first().and_then(|row| row.took);
    let seconds = |row: &Row| {
        let (took, none) = (row.took?.as_secs_f64(), none?.as_secs_f64());
        Some(format!(" {took:.0} | {:.0} |", (took - none).max(0.0)))
    };
    let (heads, rules) =
        if none.is_some() { (" cold build, s | of it the features, s |", "---:|---:|") } else { ("", "") };
    println!("| Features | MB | stripped, MB | crates |{heads}");
    println!("|---|---:|---:|---:|{rules}");
    for row in rows {
        println!(
            "| {} | {} | {} | {} |{}",
            row.features,
            megabytes(row.unstripped),
            megabytes(row.stripped),
            row.crates,
            seconds(row).unwrap_or_default()
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a program has less than 2^52 bytes")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}
