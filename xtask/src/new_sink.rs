//! `cargo xtask new-sink NAME [--path DIR]` generates a crate with a sink that keeps the whole contract.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{self, root};

/// The files of the crate without its manifest.
const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("../templates/new-sink/README.md")),
    ("src/lib.rs", include_str!("../templates/new-sink/lib.rs.txt")),
    ("src/config.rs", include_str!("../templates/new-sink/config.rs.txt")),
    ("src/sink.rs", include_str!("../templates/new-sink/sink.rs.txt")),
    ("tests/contract.rs", include_str!("../templates/new-sink/contract.rs.txt")),
];
const INSIDE: &str = include_str!("../templates/new-sink/inside.toml");
const OUTSIDE: &str = include_str!("../templates/new-sink/outside.toml");

/// The most characters of a name.
const MOST_CHARACTERS: usize = 48;

/// Words with another meaning in the places where a sink's name is written.
const TAKEN: [&str; 12] = [
    "console",
    "sqlite",
    "otel",
    "otel_trace",
    "otel_metric",
    "otel_log",
    "service_name",
    "sinks",
    "pipeline",
    "sqlite_db_path",
    "otel_exporter_otlp_endpoint",
    // YAML reads it as a value, even as a key.
    "null",
];

/// Generates the crate `sink-NAME` in a new or empty folder. Inside the workspace it becomes a member. Outside it
/// depends on our crates by path.
pub(crate) fn run(name: &str, path: Option<&Path>) -> Result<()> {
    let names = Names::of(name)?;
    let folder = match path {
        Some(path) => absolute(path)?,
        None => root().join(&names.package),
    };
    let is_empty = fs::read_dir(&folder).map_or(Ok(true), |mut entries| match entries.next() {
        None => Ok(true),
        Some(entry) => entry.map(|_| false),
    });
    ensure!(!folder.is_file(), "{} is a file; --path must name a folder", folder.display());
    ensure!(is_empty?, "{} is not empty; choose another folder with --path", folder.display());

    // Checked before anything is written, so that an error leaves nothing behind.
    let workspace = fs::read_to_string(root().join("Cargo.toml"))?;
    let member = folder.strip_prefix(absolute(root())?).ok();
    let member = member.filter(|member| !is_excluded(&workspace, member)).map(Path::to_path_buf);
    let manifest = match &member {
        Some(_) => names.fill(INSIDE),
        None => outside_manifest(&names),
    };
    let workspace = match &member {
        Some(member) => Some(with_member(&workspace, member)?),
        None => None,
    };
    write(&folder, "Cargo.toml", &manifest)?;
    for (file, template) in FILES {
        write(&folder, file, &names.fill(template))?;
    }
    match workspace {
        Some(workspace) => fs::write(root().join("Cargo.toml"), workspace)?,
        // These versions work together, and cargo needs no registry to find them.
        None => drop(fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?),
    }
    // Inside the workspace our style applies, outside rustfmt's default.
    command::run(command::cargo(&["fmt", "--manifest-path"]).arg(folder.join("Cargo.toml")))?;
    println!("{} is ready in {}", names.package, folder.display());
    match member {
        Some(_) => println!("  cargo test -p {}", names.package),
        None => println!("  cd {} && cargo test", in_shell(&folder)),
    }
    println!("docs/writing-a-sink.md describes the next steps");
    Ok(())
}

/// The forms of the name.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    /// The name in YAML: `held-out`.
    sink: String,
    /// The package: `sink-held-out`.
    package: String,
    /// The crate in Rust: `sink_held_out`.
    ident: String,
    /// The start of type names: `HeldOut`.
    type_name: String,
}

impl Names {
    /// Derives all forms from the name that the user typed.
    fn of(name: &str) -> Result<Self> {
        let sink = name.strip_prefix("sink-").unwrap_or(name);
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let is_well_formed =
            sink.split(['-', '_']).all(word) && sink.starts_with(|c: char| c.is_ascii_lowercase());
        if sink.len() > MOST_CHARACTERS {
            bail!("a sink's name has at most {MOST_CHARACTERS} characters; this one has {}", sink.len());
        }
        if !is_well_formed {
            bail!(
                "invalid sink name `{name}`: use lower-case letters and digits, start with a letter, and put single \
                 hyphens between words, for example `held-out`"
            );
        }
        ensure!(!TAKEN.contains(&sink), "the name `{sink}` is taken; choose another");
        let package = format!("sink-{}", sink.replace('_', "-"));
        let capitalised = |part: &str| {
            let (first, rest) = part.split_at(1);
            first.to_uppercase() + rest
        };
        Ok(Self {
            sink: sink.to_owned(),
            ident: package.replace('-', "_"),
            package,
            type_name: sink.split(['-', '_']).map(capitalised).collect(),
        })
    }

    /// Replaces the placeholders of a template.
    fn fill(&self, template: &str) -> String {
        template
            .replace("__NAME__", &self.sink)
            .replace("__CRATE__", &self.package)
            .replace("__IDENT__", &self.ident)
            .replace("__TYPE__", &self.type_name)
    }
}

/// Returns the manifest of a crate outside the workspace.
fn outside_manifest(names: &Names) -> String {
    let path = |member: &str| toml_string(&root().join(member));
    names
        .fill(OUTSIDE)
        .replace("__RUST__", env!("CARGO_PKG_RUST_VERSION"))
        .replace("__CORE__", &path("telemetry-core"))
        .replace("__TESTKIT__", &path("telemetry-testkit"))
}

/// Quotes a path for a shell if necessary.
fn in_shell(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-+@%:,".contains(c));
    if is_plain { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// Returns a path as a TOML string. JSON strings are valid in TOML.
pub(crate) fn toml_string(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

/// Returns true if the workspace excludes a folder inside it.
fn is_excluded(manifest: &str, member: &Path) -> bool {
    let list = manifest.lines().find_map(|line| line.strip_prefix("exclude = ["));
    let mut excluded = list.into_iter().flat_map(|list| list.split('"').skip(1).step_by(2));
    excluded.any(|folder| member.starts_with(folder))
}

/// Adds a member to the workspace's manifest, before the provider, where the sinks are.
fn with_member(manifest: &str, member: &Path) -> Result<String> {
    const BEFORE: &str = "    \"telemetry-provider\",\n";
    let member = member.display().to_string().replace('\\', "/");
    let line = format!("    \"{member}\",\n");
    ensure!(!manifest.contains(&line), "the workspace already has the member `{member}`");
    let at = manifest.find(BEFORE).context(
        "the workspace's Cargo.toml does not contain the line `\"telemetry-provider\",` in its members",
    )?;
    let (before, after) = manifest.split_at(at);
    Ok(format!("{before}{line}{after}"))
}

/// Returns the real path of a folder that may not exist yet.
fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let exists = path.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    let (folder, real) = exists.with_context(|| format!("cannot resolve {}", path.display()))?;
    let rest = path.strip_prefix(folder)?;
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// Writes a file and creates its folders.
pub(crate) fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    let path = folder.join(file);
    let parent = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_four_forms() {
        let expected = Names {
            sink: "held-out".into(),
            package: "sink-held-out".into(),
            ident: "sink_held_out".into(),
            type_name: "HeldOut".into(),
        };
        assert_eq!(Names::of("held-out").unwrap(), expected);
        assert_eq!(Names::of("sink-held-out").unwrap(), expected);
        assert_eq!(Names::of("s3_archive").unwrap().package, "sink-s3-archive");
    }

    #[test]
    fn invalid_names_are_refused() {
        for name in
            ["", "sink-", "Held", "a b", "-a", "a-", "a--b", "3d", "ü", "../x", "sqlite", "sinks", "null"]
        {
            assert!(Names::of(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_folder_can_be_pasted_into_a_shell() {
        assert_eq!(in_shell(Path::new("/tmp/held-out")), "/tmp/held-out");
        assert_eq!(in_shell(Path::new("/tmp/a b's")), r"'/tmp/a b'\''s'");
    }

    #[test]
    fn a_member_is_added_once() {
        let manifest = "members = [\n    \"sink-otel\",\n    \"telemetry-provider\",\n]\n";
        let once = with_member(manifest, Path::new("sink-x")).unwrap();
        assert_eq!(
            once,
            "members = [\n    \"sink-otel\",\n    \"sink-x\",\n    \"telemetry-provider\",\n]\n"
        );
        assert!(with_member(&once, Path::new("sink-x")).is_err());
    }

    #[test]
    fn a_folder_that_the_workspace_excludes_is_outside() {
        let manifest = "members = []\nexclude = [\"fuzz\", \"examples/third-party-sink\"]\n";
        for (folder, expected) in
            [("fuzz", true), ("examples/third-party-sink/mine", true), ("examples/mine", false)]
        {
            assert_eq!(is_excluded(manifest, Path::new(folder)), expected, "{folder}");
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        let names = Names::of("held-out").unwrap();
        let files = FILES.iter().map(|(_, template)| names.fill(template));
        for text in files.chain([names.fill(INSIDE), outside_manifest(&names)]) {
            assert!(!text.contains("__"), "{text}");
        }
    }
}
