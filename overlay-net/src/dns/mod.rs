//! Names: each task asks a resolver of its own, which knows the task's networks and nothing else.
//!
//! `zone` knows the names of one network, `names` what they stand for to one asker, `answer` turns
//! questions into messages, `server` listens inside the asker's namespace. For the rest `forward` asks
//! other servers, those that `resolv_conf` reads of, and `cache` keeps what they say, in messages as
//! `wire` knows them. All of it runs in a `process` of its own, which outlives the daemon and is
//! driven by its `client` in the words of `protocol`.

pub mod answer;
mod cache;
pub mod client;
mod forward;
pub mod names;
pub mod overlay;
mod pace;
pub mod process;
mod protocol;
mod resolv_conf;
pub mod server;
mod wire;
pub mod zone;
