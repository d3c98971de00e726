//! A query that nobody waits for any more ends: its client has gone, or its time is up.
//!
//! Dropping a future does not stop a statement that runs on SQLite's thread. SQLite asks now and then
//! whether to go on; the answer is no as soon as what holds this is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::SqliteConnection;

/// SQLite asks after so many instructions of its virtual machine: several times per millisecond.
const INSTRUCTIONS: i32 = 5_000;

/// Ends the statements of its connection when it is dropped.
#[derive(Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Waits for the statement of an earlier holder to end; then later ones are this holder's.
    pub(super) async fn of(db: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let dropped = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&dropped);
        db.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || !asked.load(Ordering::Relaxed));
        Ok(Self(dropped))
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
