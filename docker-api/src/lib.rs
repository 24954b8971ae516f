//! The Docker Engine API as this house speaks it: JSON shapes, a router over a [`Backend`], a server on Unix sockets and TCP, and a client.
//!
//! It is not the daemon: nothing here decides anything about a swarm. Invariant: what goes over the wire has Docker's keys,
//! status codes and wording, so that the docker command line and the SDKs work unchanged.

pub mod attach;
pub mod backend;
pub mod client;
pub mod convert;
pub mod defaults;
pub mod detach;
pub mod error;
pub mod events;
pub mod filters;
pub mod json;
pub mod logs;
pub mod resolve;
pub mod routes;
pub mod server;
pub mod stream;

pub use attach::Streams;
pub use backend::Backend;
pub use client::{Client, ClientError};
pub use error::{ApiError, Kind};
pub use events::Events;
pub use filters::Filters;
pub use logs::{LogEntry, LogFrame, LogOptions, LogSource, Logs};
pub use routes::router;
pub use server::{Server, ServerError};
pub use stream::{ByteStream, Flow, List};
