//! Statements for many rows at once.
//!
//! A statement per row costs more in hand-over between threads than SQLite's own work. Rows are therefore written by
//! the hundred, in statements of fixed sizes that stay prepared. Where a statement needs a list of numbers, the list
//! is one parameter, read by SQLite's `json_each`.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Execute, Executor as _, SqlSafeStr, SqlStr, Sqlite};

use crate::rows::{ToColumns, Values, column_names, placeholders};

/// Rows per statement, largest first. The last must be 1. Every number up to 16 is there: so many rows come together
/// where each client waits for its answer.
const SIZES: [usize; 18] = [128, 32, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];

/// An `INSERT` of many rows, prepared for several numbers of rows.
pub(crate) struct BulkStatement {
    columns: usize,
    sizes: [(usize, SqlStr); SIZES.len()],
}

impl BulkStatement {
    /// Builds `INSERT (columns) VALUES (?, …), (?, …), … REST` for rows of type `T`. `insert` names the table.
    pub(crate) fn new<T: ToColumns>(insert: &'static str, rest: &'static str) -> Self {
        let names = column_names::<T>();
        let row = format!("({})", placeholders::<T>());
        let head = format!("{insert} ({})", names.join(", "));
        let sizes = SIZES.map(|rows| {
            let sql: Arc<str> =
                format!("{head} VALUES {} {rest}", vec![row.as_str(); rows].join(", ")).into();
            // Made of constants only.
            (rows, AssertSqlSafe(sql).into_sql_str())
        });
        Self { columns: names.len(), sizes }
    }

    /// Runs the statement for all rows. Returns the number of rows it changed.
    pub(crate) async fn execute<T: ToColumns>(
        &self,
        db: &mut SqliteConnection,
        rows: impl ExactSizeIterator<Item = T>,
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for (sql, values) in self.split(rows) {
            changed += run(db, sqlx::query_with(sql, values.finish()?), |_| {}).await?;
        }
        Ok(changed)
    }

    /// Runs the statement for all rows. Returns what it returns, in no particular order.
    pub(crate) async fn fetch<T: ToColumns>(
        &self,
        db: &mut SqliteConnection,
        rows: impl ExactSizeIterator<Item = T>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut returned = Vec::with_capacity(rows.len());
        for (sql, values) in self.split(rows) {
            run(db, sqlx::query_with(sql, values.finish()?), |row| returned.push(row)).await?;
        }
        Ok(returned)
    }

    /// Returns the statements that together take all rows, with their values.
    fn split<T: ToColumns>(
        &self,
        mut rows: impl ExactSizeIterator<Item = T>,
    ) -> impl Iterator<Item = (SqlStr, Values)> {
        std::iter::from_fn(move || {
            let left = rows.len();
            let (size, sql) = self.sizes.iter().find(|(size, _)| *size <= left)?;
            let mut values = Values::with_capacity(size * self.columns);
            rows.by_ref().take(*size).for_each(|row| row.bind(&mut values));
            debug_assert_eq!(values.len(), size * self.columns, "rows are of the type of the statement");
            Some((sql.clone(), values))
        })
    }
}

/// Runs one statement and passes each row that it returns to `take`. Returns the number of rows it changed.
///
/// sqlx's own `execute` and `fetch_all` also wait for the end of the answers. That is one more change between threads
/// for nothing: the next statement runs after this one in any case.
pub(crate) async fn run<'q>(
    db: &mut SqliteConnection,
    query: impl Execute<'q, Sqlite> + 'q,
    mut take: impl FnMut(SqliteRow),
) -> Result<u64, sqlx::Error> {
    let mut answers = db.fetch_many(query);
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(done) => return Ok(done.rows_affected()),
            Either::Right(row) => take(row),
        }
    }
    Ok(0)
}

/// Returns `[[a, b], …]`: a list as one parameter, for `json_each`.
pub(crate) fn json_pairs(pairs: impl IntoIterator<Item = (i64, i64)>) -> String {
    let pairs: Vec<String> = pairs.into_iter().map(|(left, right)| format!("[{left},{right}]")).collect();
    format!("[{}]", pairs.join(","))
}

/// Returns `[a, b, …]`: a list as one parameter, for `json_each`.
pub(crate) fn json_list(numbers: impl IntoIterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}
