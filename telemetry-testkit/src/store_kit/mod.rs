//! Tests any [`TraceStore`](telemetry_core::TraceStore) against the meaning of queries, and against the model.
//!
//! There are two kinds of tests:
//!
//! - [`store_cases!`](crate::store_cases) makes one test per sentence about queries. Each contains its answer.
//! - [`random_signals`] and [`random_question`] make input that nobody thinks of. [`StoreAndModel`] compares the
//!   store's answers with those of a [`MemoryStore`](crate::MemoryStore).
//!
//! ```
//! use proptest::prelude::*;
//! use telemetry_testkit::store_kit::{StoreAndModel, random_question, random_signals};
//! # async fn build_my_sink() -> telemetry_core::BuiltSink {
//! #     telemetry_testkit::MemoryStore::new(telemetry_testkit::SERVICE_NAME).built()
//! # }
//!
//! proptest! {
//!     // In your crate, this function has the attribute #[test].
//!     fn the_store_answers_as_the_model(
//!         batches in prop::collection::vec(random_signals(), 1..4),
//!         questions in prop::collection::vec(random_question(), 20),
//!     ) {
//!         telemetry_testkit::block_on(async {
//!             let mut both = StoreAndModel::new(build_my_sink().await);
//!             for batch in batches {
//!                 both.write(batch).await;
//!             }
//!             for question in &questions {
//!                 both.assert_same_answers(question).await;
//!             }
//!         });
//!     }
//! }
//! the_store_answers_as_the_model();
//! ```

pub mod cases;
mod question;
mod random;
mod store_and_model;
mod test_store;

pub use question::Question;
pub use random::{random_question, random_signals};
pub use store_and_model::StoreAndModel;
pub use test_store::TestStore;
