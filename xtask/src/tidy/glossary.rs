//! The glossary of ARCHITECTURE.md: each word has one type, in the file that the table names.

use std::path::Path;

use anyhow::Result;
use regex::Regex;

use crate::command::root;

/// A reader can keep this many words in mind.
const MOST_ROWS: usize = 20;

/// Checks the section `## Glossary`, a table with the columns word, type and file.
pub(super) fn matches_the_code() -> Result<Vec<String>> {
    check(root(), &std::fs::read_to_string(root().join("ARCHITECTURE.md"))?)
}

fn check(folder: &Path, document: &str) -> Result<Vec<String>> {
    let mut sections = document.split("\n## ");
    let Some(section) = sections.find(|section| section.starts_with("Glossary\n")) else {
        return Ok(vec!["ARCHITECTURE.md has no section `## Glossary`".to_owned()]);
    };
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    let mut findings = Vec::new();
    if rows.is_empty() || rows.len() > MOST_ROWS {
        findings.push(format!("the glossary has {} rows; it needs 1 to {MOST_ROWS}", rows.len()));
    }
    let expected = Regex::new(r"^\|[^|]*\w[^|]*\| *`([\w:]+)!?` *\| *`([^`|]+)` *\|$")?;
    for row in rows {
        let Some((_, [path, file])) = expected.captures(row).map(|cells| cells.extract()) else {
            findings.push(format!("the row is not of the form | word | `type` | `file` |: {row}"));
            continue;
        };
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
            findings.push(format!("there is no file `{file}`"));
            continue;
        };
        let name = path.rsplit("::").next().unwrap_or(path);
        let definition = Regex::new(&format!(r"\b(struct|enum|trait|type|fn|macro_rules!) {name}\b"))?;
        if !definition.is_match(&text) {
            findings.push(format!("`{file}` does not define `{name}`"));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("event.rs"),
            "pub struct Event;\nmacro_rules! attrs { () => {} }\n",
        )
        .unwrap();
        let document = format!(
            "# Map\n\n## Glossary\n\n| Word | Type | File |\n|---|---|---|\n{rows}\n## Next\n| a |\n"
        );
        check(folder.path(), &document).unwrap()
    }

    #[test]
    fn rows_that_name_a_type_and_its_file_are_no_finding() {
        let rows = "| event | `core::Event` | `event.rs` |\n| attributes | `attrs!` | `event.rs` |\n";
        assert_eq!(found(rows), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_row_is_a_finding() {
        let rows =
            "| event | `Event` | `events.rs` |\n| span | `Span` | `event.rs` |\n| log | Log | `event.rs` |\n";
        let expected = [
            "there is no file `events.rs`",
            "`event.rs` does not define `Span`",
            "the row is not of the form | word | `type` | `file` |: | log | Log | `event.rs` |",
        ];
        assert_eq!(found(rows), expected);
    }

    #[test]
    fn a_missing_section_an_empty_table_and_a_long_one_are_findings() {
        let without = check(Path::new("."), "# Map\n\n## Code map\n").unwrap();
        assert_eq!(without, ["ARCHITECTURE.md has no section `## Glossary`"]);
        assert_eq!(found(""), ["the glossary has 0 rows; it needs 1 to 20"]);
        let long = "| event | `Event` | `event.rs` |\n".repeat(21);
        assert_eq!(found(&long), ["the glossary has 21 rows; it needs 1 to 20"]);
    }
}
