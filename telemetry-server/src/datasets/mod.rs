//! Where exported spans go: a directory of JSON Lines, or the datasets of a Llama Stack server.

mod directory;
mod exporter;
mod remote;

pub(crate) use exporter::Exporter;
pub use exporter::{DatasetToken, Datasets};
