//! Row types: each lists its columns once, in order.
//!
//! The column list of a statement, the values that are bound and the way a row is read all come from that list. No
//! code counts columns.

use std::borrow::Cow;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Decode, Encode, Row as _, Sqlite, Type, TypeInfo as _, ValueRef as _};
use telemetry_core::MetricValue;

/// A value that is read from one or more neighbouring columns.
pub(crate) trait FromColumns<'r>: Sized {
    /// Reads the value from the next columns.
    fn read(columns: &mut ColumnReader<'r>) -> Result<Self, sqlx::Error>;
}

/// A value that is stored in one or more columns.
pub(crate) trait ToColumns {
    /// Adds the names of the columns. A value of one column has the name of the field it is in.
    fn names(field: &'static str, names: &mut Vec<&'static str>);

    /// Binds the columns to the next placeholders.
    fn bind(self, values: &mut Values);
}

/// Reads the columns of a row, one after the other.
pub(crate) struct ColumnReader<'r> {
    row: &'r SqliteRow,
    next: usize,
}

impl<'r> ColumnReader<'r> {
    /// Starts at the first column.
    pub(crate) const fn new(row: &'r SqliteRow) -> Self {
        Self { row, next: 0 }
    }

    /// Reads a value from the next columns.
    pub(crate) fn read<T: FromColumns<'r>>(&mut self) -> Result<T, sqlx::Error> {
        T::read(self)
    }

    fn value<T: Decode<'r, Sqlite>>(&mut self) -> Result<T, sqlx::Error> {
        let column = self.next;
        self.next += 1;
        self.row.try_get_unchecked(column)
    }

    fn is_null(&self) -> Result<bool, sqlx::Error> {
        Ok(self.row.try_get_raw(self.next)?.is_null())
    }
}

/// Reads a whole row.
pub(crate) fn read_row<'r, T: FromColumns<'r>>(row: &'r SqliteRow) -> Result<T, sqlx::Error> {
    ColumnReader::new(row).read()
}

/// Values for the placeholders of one statement.
#[derive(Default)]
pub(crate) struct Values {
    arguments: SqliteArguments,
    error: Option<sqlx::error::BoxDynError>,
}

impl Values {
    /// Returns the values of one row.
    pub(crate) fn of(row: impl ToColumns) -> Self {
        let mut values = Self::default();
        row.bind(&mut values);
        values
    }

    /// Returns no values yet, with room for `count`.
    pub(crate) fn with_capacity(count: usize) -> Self {
        let mut values = Self::default();
        values.arguments.reserve(count, 0);
        values
    }

    /// Returns the number of values.
    pub(crate) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// Returns the values as the arguments of a statement.
    pub(crate) fn finish(self) -> Result<SqliteArguments, sqlx::Error> {
        match self.error {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(self.arguments),
        }
    }

    fn add<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(&mut self, value: T) {
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(error);
        }
    }
}

/// Returns the names of a row's columns.
pub(crate) fn column_names<T: ToColumns>() -> Vec<&'static str> {
    let mut names = Vec::new();
    T::names("", &mut names);
    names
}

/// Returns the columns of a row as the list of a `SELECT` from the table `alias`: `s.span_id, s.parent, …`.
pub(crate) fn select_list<T: ToColumns>(alias: &str) -> String {
    let columns: Vec<String> =
        column_names::<T>().into_iter().map(|name| format!("{alias}.{name}")).collect();
    columns.join(", ")
}

/// Returns a placeholder for each column of a row: `?, ?, …`.
pub(crate) fn placeholders<T: ToColumns>() -> String {
    vec!["?"; column_names::<T>().len()].join(", ")
}

macro_rules! single_column {
    ($([$($lifetime:lifetime)?] $type:ty => |$value:ident| $bound:expr),+ $(,)?) => {$(
        impl<'r> FromColumns<'r> for Option<$type> {
            fn read(columns: &mut ColumnReader<'r>) -> Result<Self, sqlx::Error> {
                if columns.is_null()? {
                    columns.next += 1;
                    return Ok(None);
                }
                columns.read().map(Some)
            }
        }

        impl $(<$lifetime>)? ToColumns for $type {
            fn names(field: &'static str, names: &mut Vec<&'static str>) {
                names.push(field);
            }

            fn bind(self, values: &mut Values) {
                let $value = self;
                values.add($bound);
            }
        }

        impl $(<$lifetime>)? ToColumns for Option<$type> {
            fn names(field: &'static str, names: &mut Vec<&'static str>) {
                names.push(field);
            }

            fn bind(self, values: &mut Values) {
                match self {
                    Some(value) => value.bind(values),
                    None => values.add(None::<i64>),
                }
            }
        }
    )+};
}

single_column! {
    [] i64 => |value| value,
    [] f64 => |value| value,
    [] bool => |value| value,
    [] String => |value| value,
    ['r] &'r [u8] => |value| value,
    ['r] Cow<'r, str> => |value| value.into_owned(),
    ['r] Cow<'r, [u8]> => |value| value.into_owned(),
}

macro_rules! decoded {
    ($($type:ty => |$value:ident| $read:expr),+ $(,)?) => {$(
        impl<'r> FromColumns<'r> for $type {
            fn read(columns: &mut ColumnReader<'r>) -> Result<Self, sqlx::Error> {
                let $value = columns.value()?;
                Ok($read)
            }
        }
    )+};
}

decoded! {
    i64 => |value| value,
    f64 => |value| value,
    bool => |value| value,
    String => |value| value,
    &'r [u8] => |value| value,
    Cow<'r, str> => |value| Cow::Borrowed(value),
    Cow<'r, [u8]> => |value| Cow::Borrowed(value),
}

impl FromColumns<'_> for MetricValue {
    fn read(columns: &mut ColumnReader<'_>) -> Result<Self, sqlx::Error> {
        let is_float = columns.row.try_get_raw(columns.next)?.type_info().name() == "REAL";
        if is_float { columns.value().map(Self::Float) } else { columns.value().map(Self::Int) }
    }
}

impl ToColumns for MetricValue {
    fn names(field: &'static str, names: &mut Vec<&'static str>) {
        names.push(field);
    }

    fn bind(self, values: &mut Values) {
        match self {
            Self::Int(number) => values.add(number),
            Self::Float(number) => values.add(number),
        }
    }
}

macro_rules! tuples {
    ($(($($part:ident),+)),+ $(,)?) => {$(
        impl<'r, $($part: FromColumns<'r>),+> FromColumns<'r> for ($($part,)+) {
            fn read(columns: &mut ColumnReader<'r>) -> Result<Self, sqlx::Error> {
                Ok(($(columns.read::<$part>()?,)+))
            }
        }
    )+};
}

tuples!((A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E));

/// Defines a row type by the columns of a table. A field that is a row type itself stands for all its columns.
macro_rules! table_columns {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$lifetime:lifetime> { $($fields:tt)* }) => {
        $crate::rows::table_columns!(@impl [$lifetime] [<$lifetime>] $(#[$meta])* $vis $name { $($fields)* });
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* }) => {
        $crate::rows::table_columns!(@impl ['r] [] $(#[$meta])* $vis $name { $($fields)* });
    };
    (@impl [$lifetime:lifetime] [$($generics:tt)*] $(#[$meta:meta])* $vis:vis $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name $($generics)* {
            $($(#[$field_meta])* $vis $field: $type),+
        }

        impl<$lifetime> $crate::rows::FromColumns<$lifetime> for $name $($generics)* {
            fn read(columns: &mut $crate::rows::ColumnReader<$lifetime>) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: columns.read()?),+ })
            }
        }

        impl $($generics)* $crate::rows::ToColumns for $name $($generics)* {
            fn names(_: &'static str, names: &mut Vec<&'static str>) {
                $(<$type as $crate::rows::ToColumns>::names(stringify!($field), names);)+
            }

            fn bind(self, values: &mut $crate::rows::Values) {
                $($crate::rows::ToColumns::bind(self.$field, values);)+
            }
        }
    };
}
pub(crate) use table_columns;

/// Defines a row type by the expressions of a `SELECT`, and the statements that return such rows: each constant is the
/// `SELECT` with these expressions, followed by the text of the constant.
macro_rules! selected_columns {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$lifetime:lifetime> { $($fields:tt)* } $($statements:tt)*) => {
        $crate::rows::selected_columns!(
            @impl [$lifetime] [<$lifetime>] $(#[$meta])* $vis $name { $($fields)* } { $($statements)* }
        );
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* } $($statements:tt)*) => {
        $crate::rows::selected_columns!(
            @impl ['r] [] $(#[$meta])* $vis $name { $($fields)* } { $($statements)* }
        );
    };
    (@impl [$lifetime:lifetime] [$($generics:tt)*] $(#[$meta:meta])* $vis:vis $name:ident {
        $(#[$first_meta:meta])* $first:ident: $first_type:ty = $first_sql:literal
        $(, $(#[$field_meta:meta])* $field:ident: $type:ty = $sql:literal)* $(,)?
    } { $($statements:tt)* }) => {
        $(#[$meta])*
        $vis struct $name $($generics)* {
            $(#[$first_meta])* $vis $first: $first_type,
            $($(#[$field_meta])* $vis $field: $type),*
        }

        impl<$lifetime> $crate::rows::FromColumns<$lifetime> for $name $($generics)* {
            fn read(columns: &mut $crate::rows::ColumnReader<$lifetime>) -> Result<Self, sqlx::Error> {
                Ok(Self { $first: columns.read()? $(, $field: columns.read()?)* })
            }
        }

        $crate::rows::selected_columns!(
            @statements [$($generics)*] $vis $name concat!($first_sql $(, ", ", $sql)*); $($statements)*
        );
    };
    (@statements [$($generics:tt)*] $vis:vis $name:ident $list:expr;
        $($(#[$meta:meta])* const $statement:ident = $rest:expr;)+) => {
        impl $($generics)* $name $($generics)* {
            $($(#[$meta])* $vis const $statement: &'static str = concat!("SELECT ", $list, " ", $rest);)+
        }
    };
}
pub(crate) use selected_columns;
