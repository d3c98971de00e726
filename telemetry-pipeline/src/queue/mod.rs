//! The queue between callers and the assembler thread: a ring buffer for every thread that logs, and a queue
//! of requests.
//!
//! Only its thread writes to a ring and only the assembler thread reads it. So a push is a few plain stores.
//! It needs no locked instruction, which would wait until all earlier stores have reached memory, and threads
//! do not compete. Each record carries the tick at which it was logged, and the assembler thread takes the
//! records of all rings in that order: a log comes after its span's start and before its end, whichever
//! threads they were logged on.

mod clock;
mod drain;
mod push;
mod record;
mod ring;
mod spare_ends;
#[cfg(test)]
mod tests;

pub(crate) use clock::{Epoch, Moment};
pub(crate) use drain::QueueReader;
pub(crate) use push::{Queue, QueueRef, Request};
pub(crate) use record::{Record, attributes_bytes, text_bytes};
