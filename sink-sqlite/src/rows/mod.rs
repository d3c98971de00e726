//! The rows of the tables: what their columns are, and how spans, logs and metric points become columns and back.

mod columns;
mod events;
mod services;
mod spans;
mod values;

pub(crate) use columns::{
    ColumnReader, FromColumns, ToColumns, Values, column_names, placeholders, read_row, select_list,
    selected_columns, table_columns,
};
pub(crate) use events::{LogColumns, PointColumns, SeriesColumns};
pub(crate) use services::Services;
pub(crate) use spans::{SpanColumns, WaitingEndColumns};
pub(crate) use values::{StoredWord, attributes_of, span_id_bits, span_id_of, trace_id_of, word};
