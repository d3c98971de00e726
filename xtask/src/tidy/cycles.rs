//! Files that use each other, and folders that use a neighbour which uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use cargo_metadata::{MetadataCommand, TargetKind};

use super::imports::{self, Edges};
use crate::command::root;

/// Checks every crate of the workspace.
pub(super) fn check() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        let built = [TargetKind::Lib, TargetKind::Bin, TargetKind::CDyLib, TargetKind::ProcMacro];
        let targets =
            package.targets.iter().filter(|target| target.kind.iter().any(|kind| built.contains(kind)));
        let mut edges = Edges::new();
        for target in targets {
            imports::collect(target.src_path.as_std_path(), &mut edges)?;
        }
        findings.extend(cycles(&package.name, folder.as_std_path(), &edges));
    }
    Ok(findings)
}

/// Returns one finding per set of files that use each other, and per pair of neighbours that do.
fn cycles(krate: &str, folder: &Path, edges: &Edges) -> Vec<String> {
    let groups = mutual(edges.keys().map(|(user, used)| (user, used)));
    let of_files = groups.iter().map(|files| {
        let mut text = format!("{krate}: {} files use each other", files.len());
        let inside = edges.iter().filter(|((user, used), _)| files.contains(user) && files.contains(used));
        list(&mut text, folder, inside);
        text
    });
    of_files.chain(neighbours(krate, folder, edges)).collect()
}

/// Returns the sets of nodes that reach each other.
fn mutual<'a>(edges: impl Iterator<Item = (&'a PathBuf, &'a PathBuf)>) -> Vec<BTreeSet<&'a PathBuf>> {
    let mut next: BTreeMap<&PathBuf, Vec<&PathBuf>> = BTreeMap::new();
    for (user, used) in edges {
        next.entry(user).or_default().push(used);
    }
    let reached = |start: &'a PathBuf| {
        let (mut found, mut left) = (BTreeSet::new(), vec![start]);
        while let Some(node) = left.pop() {
            left.extend(next.get(node).into_iter().flatten().copied().filter(|used| found.insert(*used)));
        }
        found
    };
    let reach: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        next.keys().map(|&node| (node, reached(node))).collect();
    let mut groups: Vec<BTreeSet<&PathBuf>> = Vec::new();
    for (&node, below) in &reach {
        if below.contains(node) && !groups.iter().any(|group| group.contains(node)) {
            let back = |other: &&&PathBuf| reach.get(**other).is_some_and(|below| below.contains(node));
            groups.push(below.iter().filter(back).copied().collect());
        }
    }
    groups
}

/// A file or a folder among its neighbours: `writer.rs` and the folder `writer` are one.
type Neighbour = PathBuf;

/// Returns a finding per folder that uses a neighbour which uses the folder.
fn neighbours(krate: &str, folder: &Path, edges: &Edges) -> Vec<String> {
    let mut ties: BTreeMap<(Neighbour, Neighbour), Vec<_>> = BTreeMap::new();
    let mut folders = BTreeSet::new();
    for (edge, names) in edges {
        let (user, used) = edge;
        let common: PathBuf = user
            .components()
            .zip(used.components())
            .take_while(|(one, other)| one == other)
            .map(|(part, _)| part)
            .collect();
        let Some((user, used)) = below(&common, user).zip(below(&common, used)) else { continue };
        for (neighbour, is_folder) in [&user, &used] {
            if *is_folder {
                folders.insert(neighbour.clone());
            }
        }
        ties.entry((user.0, used.0)).or_default().push((edge, names));
    }
    let mut findings = Vec::new();
    for ((one, other), there) in &ties {
        let Some(back) = ties.get(&(other.clone(), one.clone())) else { continue };
        if one < other && (folders.contains(one) || folders.contains(other)) {
            let name = |path: &Path| relative(folder, path);
            let mut text = format!("{krate}: {} and {} use each other", name(one), name(other));
            list(&mut text, folder, there.iter().chain(back).copied());
            findings.push(text);
        }
    }
    findings
}

/// Returns the neighbour in `common` that a file belongs to, and whether it is a folder.
fn below(common: &Path, file: &Path) -> Option<(Neighbour, bool)> {
    let rest = file.strip_prefix(common).ok()?;
    let Some(Component::Normal(first)) = rest.components().next() else { return None };
    Some((common.join(first).with_extension(""), rest.components().count() > 1))
}

fn list<'a>(
    text: &mut String,
    folder: &Path,
    edges: impl Iterator<Item = (&'a (PathBuf, PathBuf), &'a BTreeSet<String>)>,
) {
    for ((user, used), names) in edges {
        let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        // Writing to a string never fails.
        let _ = write!(text, "\n  {} uses {}: {names}", relative(folder, user), relative(folder, used));
    }
}

fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is found in a crate of these files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut edges = Edges::new();
        imports::collect(&folder.path().join("src/lib.rs"), &mut edges).unwrap();
        cycles("crate", folder.path(), &edges)
    }

    #[test]
    fn files_that_use_each_other_are_found_with_the_names_that_tie_them() {
        let findings = found(&[
            ("src/lib.rs", "mod a; mod b; mod c; pub use a::A;"),
            ("src/a.rs", "use crate::b::{self, B}; pub struct A(B); fn f() { b::make() }"),
            ("src/b.rs", "use crate::c::*; pub struct B(Vec<C>); pub fn make() {}"),
            ("src/c.rs", "pub struct C; fn f() { println!(\"{}\", crate::A::new()) }"),
        ]);
        let expected = "crate: 3 files use each other\n  src/a.rs uses src/b.rs: B, make\n  \
                        src/b.rs uses src/c.rs: C\n  src/c.rs uses src/a.rs: A";
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn uses_in_one_direction_are_no_finding() {
        let findings = found(&[
            ("src/lib.rs", "mod a; mod b; mod shared; struct Root;"),
            (
                "src/a.rs",
                "use crate::b; use crate::shared::Shared; use crate::Root; fn a(b: Shared) { b::f(b) }",
            ),
            // The facade of a folder is no use of what it hands on, nor is a test.
            ("src/b/mod.rs", "mod inner; mod other; pub use inner::{f, Inner}; pub use crate::a::Late;"),
            ("src/b/inner.rs", "use super::other; pub struct Inner; pub fn f(_: Inner) { other::g() }"),
            (
                "src/b/other.rs",
                "pub fn g() { let a = 1; a.f(); }\n#[cfg(test)] mod tests { use super::super::Inner; }",
            ),
            ("src/shared.rs", "pub struct Shared; impl Shared { #[cfg(test)] fn a(_: crate::a::A) {} }"),
        ]);
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn a_folder_and_its_neighbour_that_use_each_other_are_found() {
        let findings = found(&[
            ("src/lib.rs", "mod top;"),
            ("src/top/mod.rs", "mod plan; mod rows;"),
            ("src/top/plan.rs", "pub struct Plan(super::rows::Row); pub struct State;"),
            ("src/top/rows/mod.rs", "mod row; mod state; pub(super) use row::Row;"),
            ("src/top/rows/row.rs", "pub struct Row;"),
            ("src/top/rows/state.rs", "macro_rules! m { () => { $crate::top::plan::State } }"),
        ]);
        let expected = "crate: src/top/plan and src/top/rows use each other\n  \
                        src/top/plan.rs uses src/top/rows/row.rs: Row\n  \
                        src/top/rows/state.rs uses src/top/plan.rs: State";
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn names_in_attributes_macros_and_patterns_are_uses() {
        let findings = found(&[
            ("src/lib.rs", "mod a; mod b; pub use b::*;"),
            ("src/a.rs", "#[serde(with = \"crate::b::nanos\")] pub struct A; pub enum E { One }"),
            ("src/b.rs", "pub mod nanos {}\nfn f(e: u8) { match e { crate::a::E::One => {} _ => {} } }"),
        ]);
        let expected = "crate: 2 files use each other\n  src/a.rs uses src/b.rs: crate::b::nanos\n  \
                        src/b.rs uses src/a.rs: E";
        assert_eq!(findings, [expected]);
    }
}
