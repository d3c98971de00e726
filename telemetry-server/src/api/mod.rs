//! The routes and what they share.

mod admin;
mod authorize;
mod events;
mod json_body;
mod openapi;
mod otlp;
mod paged_answer;
mod path_params;
mod queries;
mod router;
mod schema;
mod submit;

pub use router::router;
