//! What each combination of the provider's features costs a program: bytes, crates, processor seconds of a build.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use telemetry_tests::target_dir;

use crate::command::{self, root};
use crate::{features, new_sink};

/// One combination.
struct Row {
    features: String,
    stripped: u64,
    unstripped: u64,
    crates: usize,
    spent: Option<Duration>,
}

/// Prints a table of all combinations, each row when it is measured. With `cold` each is built from nothing, and the
/// processor time of that is shown: other work on the machine lengthens a wait, and hardly this.
pub(crate) fn run(cold: bool) -> Result<()> {
    let folder = target_dir().join("sizes");
    let builds = folder.join("target");
    let (heads, rules) = if cold { (" build, CPU s | of it the features |", "---:|---:|") } else { ("", "") };
    println!("| Features | MB | stripped, MB | crates |{heads}");
    println!("|---|---:|---:|---:|{rules}");
    let mut without_features = None;
    for chosen in features::combinations() {
        if cold && builds.exists() {
            fs::remove_dir_all(&builds)?;
        }
        let row = measure(&folder, &builds, &chosen, cold)?;
        print(&row, *without_features.get_or_insert(row.spent));
    }
    fs::remove_dir_all(&builds)?;
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
    let before = children_spent()?;
    command::run(&mut cargo(&["build", "--quiet", "--release"]))?;
    let spent = children_spent()?.saturating_sub(before);

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
        spent: cold.then_some(spent),
    })
}

/// The processor time, user and system, of all processes this one has started and waited for, and of theirs.
fn children_spent() -> Result<Duration> {
    // Linux shows times to programs in hundredths, whatever its own clock does.
    const TICK: Duration = Duration::from_millis(10);
    let stat =
        fs::read_to_string("/proc/self/stat").context("can't read processor times: they need Linux")?;
    // The name in parentheses may hold spaces. After it come the fields from the third on, see proc_pid_stat(5).
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(13).map(str::parse::<u32>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(TICK * user + TICK * system),
        _ => bail!("/proc/self/stat has no processor times: {stat}"),
    }
}

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
