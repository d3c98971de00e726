//! The store answers like the in-memory model: in the cases of the store kit, and for random data and questions.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use support::Database;
use telemetry_testkit::store_kit::{StoreAndModel, random_question, random_signals};
use telemetry_testkit::{Harness as _, block_on};

telemetry_testkit::store_cases!(Database);

/// Returns a configuration of 48 cases, or of as many as `PROPTEST_CASES` asks for.
fn cases() -> ProptestConfig {
    let asked = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { asked } else { ProptestConfig { cases: 48, ..asked } }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_store_answers_like_the_model(
        batches in prop::collection::vec(random_signals(), 1..4),
        questions in prop::collection::vec(random_question(), 24),
    ) {
        block_on(async {
            let database = Database::new();
            let mut pair = StoreAndModel::new(database.build().await.unwrap());
            for batch in batches {
                pair.write(batch).await;
            }
            for question in &questions {
                pair.assert_same_answers(question).await;
            }
        });
    }
}
