//! What the tests of the whole program share: build, start, stop and query it; stand-ins for its surroundings.

mod collector;
mod command;
mod http;
mod program;
mod python;
mod small_disk;
mod wait;

pub use collector::{Behaviour, Collector};
pub use command::{build, cargo, empty_folder, output, root, run, sqlite3, sqlite3_write, target_dir};
pub use http::{Answer, Client};
pub use program::{Ended, Server, Settings};
pub use python::{python_environment, python_environment_of};
pub use small_disk::SmallDisk;
pub use wait::{DEADLINE, eventually, eventually_within};

/// Compiles and runs the Rust code in the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/writing-a-sink.md")]
    struct WritingASink;
}
