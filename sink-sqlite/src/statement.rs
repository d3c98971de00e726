//! Constant SQL for many rows at once.
//!
//! A statement per row costs more in hand-over between threads than SQLite's own work. Rows therefore
//! go by the hundred, in statements of fixed sizes that stay prepared.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Either, Encode, Execute, Executor as _, SqlSafeStr, SqlStr, Sqlite, Type,
};

/// Rows per statement, largest first. The last must be 1. Every number up to 16: so many come together where each
/// client waits for its answer.
const SIZES: [usize; 18] = [128, 32, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];

/// Values for the placeholders of one statement.
#[derive(Default)]
pub(crate) struct Values {
    arguments: SqliteArguments,
    error: Option<sqlx::error::BoxDynError>,
}

impl Values {
    /// Adds the next value.
    pub(crate) fn add<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(&mut self, value: T) {
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(error);
        }
    }

    fn finish(self) -> Result<SqliteArguments, sqlx::Error> {
        match self.error {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(self.arguments),
        }
    }
}

/// `HEAD (?, …), (?, …), … TAIL`, in every size.
pub(crate) struct ManyRows {
    columns: usize,
    sizes: [(usize, SqlStr); SIZES.len()],
}

impl ManyRows {
    /// A statement for rows of `columns` values.
    pub(crate) fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sizes = SIZES.map(|rows| {
            let sql: Arc<str> = format!("{head} {} {tail}", vec![row.as_str(); rows].join(", ")).into();
            // Made of constants only.
            (rows, AssertSqlSafe(sql).into_sql_str())
        });
        Self { columns, sizes }
    }

    /// Runs the statement for all rows; says how many it changed.
    pub(crate) async fn execute<R>(
        &self,
        db: &mut SqliteConnection,
        rows: impl ExactSizeIterator<Item = R>,
        mut bind: impl FnMut(&mut Values, R),
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        let statements = self.split(rows, &mut bind);
        for (sql, values) in statements {
            changed += run(db, sqlx::query_with(sql, values.finish()?), |_| {}).await?;
        }
        Ok(changed)
    }

    /// Runs the statement for all rows; gives what it returns, in no certain order.
    pub(crate) async fn fetch<R>(
        &self,
        db: &mut SqliteConnection,
        rows: impl ExactSizeIterator<Item = R>,
        mut bind: impl FnMut(&mut Values, R),
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut returned = Vec::with_capacity(rows.len());
        let statements = self.split(rows, &mut bind);
        for (sql, values) in statements {
            run(db, sqlx::query_with(sql, values.finish()?), |row| returned.push(row)).await?;
        }
        Ok(returned)
    }

    fn split<R>(
        &self,
        mut rows: impl ExactSizeIterator<Item = R>,
        bind: &mut impl FnMut(&mut Values, R),
    ) -> impl Iterator<Item = (SqlStr, Values)> {
        std::iter::from_fn(move || {
            let left = rows.len();
            let (size, sql) = self.sizes.iter().find(|(size, _)| *size <= left)?;
            let mut values = Values::default();
            values.arguments.reserve(size * self.columns, 0);
            rows.by_ref().take(*size).for_each(|row| bind(&mut values, row));
            Some((sql.clone(), values))
        })
    }
}

/// Runs one statement, gives `take` what it returns, and says how many rows it changed.
///
/// sqlx's own `execute` and `fetch_all` wait for the end of the answers too, which is another change between threads
/// and says nothing: the next statement has its turn after it in any case.
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

/// `[[a, b], …]`: a list as one parameter, for `json_each`.
pub(crate) fn json_pairs(pairs: impl IntoIterator<Item = (i64, i64)>) -> String {
    let pairs: Vec<String> = pairs.into_iter().map(|(left, right)| format!("[{left},{right}]")).collect();
    format!("[{}]", pairs.join(","))
}

/// `[a, b, …]`: a list as one parameter, for `json_each`.
pub(crate) fn json_list(numbers: impl IntoIterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}
