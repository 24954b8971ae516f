//! The flags of `run` and `create`, each shown by what it does inside the container or by what
//! inspect tells of it, through the docker command line and skep's own.

mod block_io;
mod health;
mod isolation;
mod limits;
mod links;
mod log_options;
mod make;
mod mounts;
mod namespaces;
mod network;
mod ports;
mod process;
mod security;
mod streams;
