//! Every combination of the provider's features: it builds without warnings, it has only its own sinks, and what it
//! costs a program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, cargo, root, target_dir};
use crate::new_sink;

const FEATURES: [&str; 3] = ["console", "sqlite", "otel"];

/// Packages that come with one feature alone, by the first letters of their names.
const HEAVY: [(&str, &str); 4] =
    [("sqlite", "sqlx"), ("sqlite", "libsqlite"), ("otel", "opentelemetry"), ("otel", "reqwest")];

/// The arguments of `cargo tree` that list packages, one a line.
const TREE: [&str; 8] = ["tree", "--quiet", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];

/// Returns every set of features. The first one is empty.
fn combinations() -> impl Iterator<Item = Vec<&'static str>> {
    (0..1_u32 << FEATURES.len()).map(|combination| {
        let chosen = FEATURES.iter().enumerate().filter(|(bit, _)| combination & (1 << bit) != 0);
        chosen.map(|(_, feature)| *feature).collect()
    })
}

/// Builds and tests every combination.
pub(crate) fn run() -> Result<()> {
    for chosen in combinations() {
        let features = chosen.join(",");
        eprintln!("features: [{features}]");
        let common = ["--package", "telemetry-provider", "--no-default-features", "--features", &features];
        command::run(
            cargo(&["clippy", "--quiet", "--all-targets"]).args(common).args(["--", "-D", "warnings"]),
        )?;
        command::run(cargo(&["test", "--quiet", "--test", "features"]).args(common))?;
        check_packages(&chosen, &common)?;
    }
    Ok(())
}

/// Checks that the packages of a feature are in the builds with it and in no other.
fn check_packages(chosen: &[&str], common: &[&str]) -> Result<()> {
    let tree = command::output(cargo(&TREE).args(common))?;
    for (feature, package) in HEAVY {
        let is_there = tree.lines().any(|line| line.starts_with(package));
        if is_there != chosen.contains(&feature) {
            let state = if is_there { "depends on" } else { "does not depend on" };
            bail!("a build with [{}] {state} `{package}`", chosen.join(","));
        }
    }
    Ok(())
}

/// What one combination costs.
struct Row {
    features: String,
    stripped: u64,
    unstripped: u64,
    crates: usize,
    spent: Option<Duration>,
}

/// Prints a table of what each combination costs a small program: bytes and crates.
///
/// With `cold` each is built from nothing. The table then has the processor time of the build, which depends less
/// on other work of the machine than wall time does.
pub(crate) fn print_sizes(cold: bool) -> Result<()> {
    let folder = target_dir().join("sizes");
    let builds = folder.join("target");
    let (heads, rules) = if cold { (" build, CPU s | of it the features |", "---:|---:|") } else { ("", "") };
    println!("| Features | MB | stripped, MB | crates |{heads}");
    println!("|---|---:|---:|---:|{rules}");
    let mut without_features = None;
    for chosen in combinations() {
        if cold && builds.exists() {
            fs::remove_dir_all(&builds)?;
        }
        let row = measure(&folder, &builds, &chosen, cold)?;
        print(&row, *without_features.get_or_insert(row.spent));
    }
    fs::remove_dir_all(&builds)?;
    Ok(())
}

/// Builds a small program with these features and measures it.
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

    let in_folder = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.current_dir(folder).env("CARGO_TARGET_DIR", builds);
        command
    };
    command::run(&mut in_folder(&["fetch", "--quiet"]))?;
    let before = children_spent()?;
    command::run(&mut in_folder(&["build", "--quiet", "--release"]))?;
    let spent = children_spent()?.saturating_sub(before);

    let program = builds.join("release/smallest");
    let bare = builds.join("smallest.stripped");
    command::run(Command::new("strip").arg("-o").arg(&bare).arg(&program))
        .context("the program `strip` is needed (Debian: binutils)")?;
    let tree = command::output(&mut in_folder(&TREE))?;
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
        spent: cold.then_some(spent),
    })
}

/// Returns the user and system time of all child processes that have ended, and of their children.
fn children_spent() -> Result<Duration> {
    // Linux reports times in hundredths of a second.
    const TICK: Duration = Duration::from_millis(10);
    let stat =
        fs::read_to_string("/proc/self/stat").context("cannot read processor times; this needs Linux")?;
    // The name in parentheses may contain spaces. The third field follows it, see proc_pid_stat(5).
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(13).map(str::parse::<u32>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(TICK * user + TICK * system),
        _ => bail!("/proc/self/stat has no processor times: {stat}"),
    }
}

/// Prints a row. `without_features` is the processor time of the empty combination.
fn print(row: &Row, without_features: Option<Duration>) {
    let times = row.spent.zip(without_features).map(|(all, base)| {
        format!(" {:.0} | {:.0} |", all.as_secs_f64(), all.saturating_sub(base).as_secs_f64())
    });
    println!(
        "| {} | {} | {} | {} |{}",
        row.features,
        megabytes(row.unstripped),
        megabytes(row.stripped),
        row.crates,
        times.unwrap_or_default()
    );
}

#[expect(clippy::cast_precision_loss, reason = "a program has less than 2^52 bytes")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}
