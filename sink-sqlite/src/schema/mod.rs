//! The file's schema: made, recognised, migrated.

mod views;

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use crate::OpenError;

/// `PRAGMA application_id`: how a file is told to be ours.
const APPLICATION_ID: i64 = 0x4c6c_5472;

/// The steps from an empty file to the latest schema; step `i` leads to version `i + 1`.
const STEPS: &[&str] = &[include_str!("v1.sql")];

/// The latest schema version.
pub(crate) const VERSION: i64 = 1;
const _: () = assert!(STEPS.len() == 1, "a step more is a version more");

/// What a file is, from its header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Nothing in it yet.
    Empty,
    /// A telemetry database of this version.
    Ours(i64),
    /// Written by the reference implementation.
    Reference,
    /// Something else.
    Foreign,
}

/// Looks at what the file is.
pub(crate) async fn recognise(db: &mut SqliteConnection) -> Result<FileKind, sqlx::Error> {
    let application: i64 = sqlx::query("PRAGMA application_id").fetch_one(&mut *db).await?.try_get(0)?;
    let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *db).await?.try_get(0)?;
    if application == APPLICATION_ID {
        return Ok(FileKind::Ours(version));
    }
    let tables = sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table'").fetch_all(db).await?;
    let names: Vec<String> = tables.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(if names.is_empty() && application == 0 && version == 0 {
        FileKind::Empty
    } else if ["traces", "spans", "span_events"].iter().all(|table| names.iter().any(|name| name == table)) {
        FileKind::Reference
    } else {
        FileKind::Foreign
    })
}

/// Brings the file to the latest schema. A step is whole or not at all.
///
/// # Errors
///
/// [`OpenError`] for a file of another program, of a newer version, or a damaged one.
pub(crate) async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_sqlx(path, error);
    let version = match recognise(db).await.map_err(failed)? {
        FileKind::Empty => 0,
        FileKind::Ours(version) if version <= VERSION => version,
        kind => return Err(refusal(kind, path)),
    };
    if version == VERSION {
        return Ok(());
    }
    apply(db, version).await.map_err(failed)
}

/// Why a file can't be used.
pub(crate) fn refusal(kind: FileKind, path: &Path) -> OpenError {
    let path = path.to_owned();
    match kind {
        FileKind::Ours(found) => OpenError::Newer { path, found, known: VERSION },
        FileKind::Reference => OpenError::Foreign {
            path,
            hint: ": Llama Stack wrote it; choose another path and bring it in with `telemetry import`",
        },
        FileKind::Foreign => {
            OpenError::Foreign { path, hint: ": another program wrote it; choose another path" }
        }
        FileKind::Empty => OpenError::Foreign { path, hint: ": it is empty" },
    }
}

async fn apply(db: &mut SqliteConnection, version: i64) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
    let done = usize::try_from(version).unwrap_or(0);
    for &step in STEPS.iter().skip(done) {
        sqlx::raw_sql(step).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(views::sql())).execute(&mut *transaction).await?;
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *transaction).await?;
    transaction.commit().await
}
