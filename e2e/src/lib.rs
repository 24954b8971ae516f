//! The local fleet: several hosts on one machine, made of namespaces, for tests, demonstrations,
//! benchmarks and fault runs.
//!
//! A host is a process that is the first of its own pid, mount, UTS, IPC, network and cgroup
//! namespaces; everything that a host is hangs on that process and ends with it. It is not a
//! container of the product: the daemon runs containers inside it as on any machine.
//!
//! **Invariant:** the machine's own network, mounts and cgroups are as before once a fleet is down.

pub mod bench;
mod boot;
mod cgroup;
mod command_line;
mod config;
mod containers;
mod daemon;
mod eventually;
mod fleet;
mod footprint;
mod host;
pub mod http;
mod image_registry;
mod limits;
mod mounts;
mod network;
mod process;
pub mod python_sdk;
mod registry;
mod root_fs;
mod run;
mod session;
mod single;
pub mod stage;
mod subnet;
mod swarm;
mod wreck;

pub use boot::{BootSpec, boot};
pub use command_line::{CommandLine, Program, Ran, SOON, docker_version};
pub use config::{FleetConfig, Owner, skep_binary};
pub use eventually::{eventually, eventually_blocking};
pub use fleet::{Fleet, HostListing};
pub use footprint::{Difference, Footprint};
pub use host::{Host, HostState};
pub use image_registry::{ImageRegistry, Login, Way};
pub use process::Process;
pub use registry::Registry;
pub use session::Session;
pub use single::{IMAGE, Single, both, image_archive};
pub use wreck::{BASE, Wreck, ask};

pub use nix::sys::signal::Signal;
