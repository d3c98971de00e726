//! The schema of the file: creates it, recognizes it and migrates it.

mod views;

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::error::OpenError;

/// `PRAGMA application_id`, by which a file is recognized as ours.
const APPLICATION_ID: i64 = 0x4c6c_5472;

/// The steps from an empty file to the latest schema. Step `i` leads to version `i + 1`.
const STEPS: &[&str] =
    &[include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql"), include_str!("v4.sql")];

/// The latest schema version.
pub(crate) const VERSION: i64 = 4;
const _: () = assert!(STEPS.len() == 4, "each step is a version");

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// It contains nothing yet.
    Empty,
    /// A telemetry database of this version.
    Ours(i64),
    /// A database of the reference implementation.
    Reference,
    /// Anything else.
    Foreign,
}

/// Returns the kind of the file.
pub(crate) async fn file_kind(db: &mut SqliteConnection) -> Result<FileKind, sqlx::Error> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *db).await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *db).await?;
    if application == APPLICATION_ID {
        return Ok(FileKind::Ours(version));
    }
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(db).await?;
    Ok(if names.is_empty() && application == 0 && version == 0 {
        FileKind::Empty
    } else if ["traces", "spans", "span_events"].iter().all(|table| names.iter().any(|name| name == table)) {
        FileKind::Reference
    } else {
        FileKind::Foreign
    })
}

/// Checks on a reading connection that the file is ours to write, before the settings of a writer change anything in
/// it.
pub(crate) async fn check_ours(db: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    match file_kind(db).await.map_err(|error| OpenError::from_sqlx(path, error))? {
        FileKind::Empty => Ok(()),
        FileKind::Ours(version) if version <= VERSION => Ok(()),
        kind => Err(refusal(kind, path)),
    }
}

/// Brings the file to the latest schema, in one transaction.
///
/// # Errors
///
/// Returns an [`OpenError`] for a file of another program, of a newer version, or a damaged one.
pub(crate) async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_sqlx(path, error);
    let version = match file_kind(db).await.map_err(failed)? {
        FileKind::Empty => 0,
        FileKind::Ours(version) if version <= VERSION => version,
        kind => return Err(refusal(kind, path)),
    };
    if version == VERSION && has_views(db).await.map_err(failed)? {
        return Ok(());
    }
    apply(db, version, STEPS).await.map_err(failed)
}

/// Returns true if the file has the current views. Views contain no data, so changed ones replace them without a new
/// version.
async fn has_views(db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'view'";
    let stored: Vec<String> = sqlx::query_scalar(sql).fetch_all(db).await?;
    let views = views::sql();
    Ok(views::statements(&views).all(|view| stored.iter().any(|stored| stored == view)))
}

/// Returns the error for a file that can't be used.
pub(crate) fn refusal(kind: FileKind, path: &Path) -> OpenError {
    let path = path.to_owned();
    match kind {
        FileKind::Ours(found) => OpenError::Newer { path, found, known: VERSION },
        FileKind::Reference => OpenError::Foreign {
            path,
            hint: ": Llama Stack wrote it; choose another path and import it with `telemetry import`",
        },
        FileKind::Foreign => {
            OpenError::Foreign { path, hint: ": another program wrote it; choose another path" }
        }
        FileKind::Empty => OpenError::Foreign { path, hint: ": it is empty" },
    }
}

/// Applies the steps after `version` and creates the views again, all in one transaction.
async fn apply(db: &mut SqliteConnection, version: i64, steps: &[&'static str]) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
    // First: a step may change a table that a view names.
    sqlx::raw_sql(views::DROP).execute(&mut *transaction).await?;
    let done = usize::try_from(version).unwrap_or(0);
    for &step in steps.iter().skip(done) {
        sqlx::raw_sql(step).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(views::sql())).execute(&mut *transaction).await?;
    let latest = steps.len();
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {latest};");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    async fn fresh() -> SqliteConnection {
        let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
        let mut db = options.connect().await.unwrap();
        migrate(&mut db, Path::new("memory")).await.unwrap();
        db
    }

    async fn number(db: &mut SqliteConnection, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
    }

    #[tokio::test]
    async fn a_step_more_takes_every_older_file_forward_and_keeps_its_rows() {
        let mut db = fresh().await;
        sqlx::raw_sql("INSERT INTO service VALUES (1, 'chat', 1)").execute(&mut db).await.unwrap();
        let step = "ALTER TABLE service RENAME COLUMN name TO label; ALTER TABLE service RENAME COLUMN label TO name; \
                    ALTER TABLE service ADD COLUMN host TEXT";
        let steps = [STEPS, &[step]].concat();
        apply(&mut db, VERSION, &steps).await.unwrap();
        assert_eq!(file_kind(&mut db).await.unwrap(), FileKind::Ours(VERSION + 1));
        assert_eq!(
            number(&mut db, "SELECT count(*) FROM service WHERE name = 'chat' AND host IS NULL").await,
            1
        );
        assert_eq!(number(&mut db, "SELECT count(*) FROM spans").await, 0, "the views are there");
        let newer = migrate(&mut db, Path::new("store.db")).await.unwrap_err().to_string();
        assert_eq!(
            newer,
            "`store.db` has schema version 5, this program knows versions up to 4; upgrade the program"
        );
    }

    #[tokio::test]
    async fn blocks_of_version_1_are_cut_to_the_size_of_version_2() {
        let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
        let mut db = options.connect().await.unwrap();
        apply(&mut db, 0, &STEPS[..1]).await.unwrap();
        let rows = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                    INSERT INTO span_row SELECT i, 1, i, NULL, 'n', 0, 1, i * 10, 1, 0, '{}', 0, 1, NULL FROM n; \
                    INSERT INTO block VALUES (0, 163830, 1), (1, 200000, 0); \
                    INSERT INTO posting VALUES (0, x'00')";
        sqlx::raw_sql(rows).execute(&mut db).await.unwrap();
        migrate(&mut db, Path::new("memory")).await.unwrap();
        let blocks: Vec<(i64, i64, i64)> = sqlx::query_as("SELECT id, newest, sealed FROM block ORDER BY id")
            .fetch_all(&mut db)
            .await
            .unwrap();
        assert_eq!(blocks, [(0, 81_910, 0), (1, 163_830, 0), (2, 200_000, 0)]);
        assert_eq!(number(&mut db, "SELECT count(*) FROM posting").await, 0);
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut db = fresh().await;
        let step = "CREATE TABLE half (id INTEGER); CREATE TABLE service (id INTEGER)";
        let steps = [STEPS, &[step]].concat();
        assert!(apply(&mut db, VERSION, &steps).await.is_err());
        assert_eq!(file_kind(&mut db).await.unwrap(), FileKind::Ours(VERSION));
        assert_eq!(number(&mut db, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'").await, 0);
        assert!(has_views(&mut db).await.unwrap());
    }

    #[tokio::test]
    async fn views_of_an_earlier_build_are_replaced() {
        let mut db = fresh().await;
        sqlx::raw_sql("DROP VIEW logs; CREATE VIEW logs AS SELECT 1").execute(&mut db).await.unwrap();
        assert!(!has_views(&mut db).await.unwrap());
        migrate(&mut db, Path::new("memory")).await.unwrap();
        assert!(has_views(&mut db).await.unwrap());
    }
}
