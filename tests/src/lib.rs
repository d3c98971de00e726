//! What the tests of the whole program share: building it, running it, ending it, asking it.

mod collector;
mod http;
mod program;
mod small_disk;
mod sqlite;
mod wait;

pub use collector::{Collector, Manner};
pub use http::{Answer, Client};
pub use program::{Ended, Server, Settings, build, target_dir};
pub use small_disk::SmallDisk;
pub use sqlite::{sqlite3, sqlite3_write};
pub use wait::{DEADLINE, eventually};

/// The Rust code in the documents compiles, and what asserts something is right.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/writing-a-sink.md")]
    struct WritingASink;
}
