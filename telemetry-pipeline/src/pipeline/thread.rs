//! Threads of a pipeline.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

thread_local! {
    static IS_PIPELINE_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Returns true on threads that belong to a pipeline. Layers that turn logs into events ignore such threads,
/// so that a sink's own logs don't come back to it.
pub fn is_pipeline_thread() -> bool {
    IS_PIPELINE_THREAD.get()
}

/// Marks the current thread as belonging to a pipeline.
pub(super) fn mark_pipeline_thread() {
    IS_PIPELINE_THREAD.set(true);
}

/// A thread that reports its end.
#[derive(Debug)]
pub(super) struct PipelineThread {
    pub(super) name: &'static str,
    /// In a mutex, so that a pipeline can be shared between threads, for example in a `static`.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl PipelineThread {
    /// Starts a thread. Returns it with the standard library's handle.
    pub(super) fn spawn(
        name: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Self, std::thread::Thread)> {
        let (report_end, ended) = mpsc::sync_channel(1);
        let builder = std::thread::Builder::new().name(format!("telemetry-{name}"));
        let handle = builder.spawn(move || {
            mark_pipeline_thread();
            run();
            // The pipeline may have stopped waiting.
            let _ = report_end.try_send(());
        })?;
        Ok((Self { name, ended: Mutex::new(ended) }, handle.thread().clone()))
    }

    /// Blocks until the thread ends, or until `deadline`. Returns true if it has ended.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Disconnected means that it has panicked.
        !matches!(ended.recv_timeout(left), Err(mpsc::RecvTimeoutError::Timeout))
    }
}
