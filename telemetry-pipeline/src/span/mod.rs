//! Spans as code sees them: guards, handles, and the current span of a thread or future.

mod builder;
mod context;
mod guard;
mod handle;

pub use builder::SpanBuilder;
pub use context::{Entered, FutureExt, InSpan, SpanContext, current_span, enter, leave};
pub use guard::SpanGuard;
pub use handle::SpanHandle;
