//! The containers of a node that its users make by hand: their documents, their names, their life
//! from creation to removal, and what runs in them.
//!
//! `cdi` knows devices of vendors; `record` remembers; `merge`, `mounts`, `spec`, `policy` and `etc` decide and are pure; `life`
//! drives the runtime, the networks, the images and the volumes; `take_up` ends what a killed daemon
//! had begun; `show` tells.
//!
//! **Invariant:** one change of a container at a time; who waits for its end holds up no change.
//!
//! **Invariant:** a run is a container of the runtime's, made at each start and taken away at its
//! end. What outlives it is the record, the root file system, the log and the volumes.

mod attach;
mod cdi;
mod containers;
mod create;
mod defaults;
mod details;
mod entry;
mod etc;
mod events;
mod exec;
mod health;
mod life;
mod links;
mod login;
mod merge;
mod mounts;
mod names;
mod network;
mod policy;
mod process;
mod record;
mod remove;
mod show;
mod spec;
mod take_up;
pub mod uptime;
mod volumes;

pub use attach::Attachment;
pub use cdi::Cdi;
pub use containers::{Containers, Parts};
pub use defaults::{Defaults, Shared};
pub use exec::Execs;
pub use health::{Answer, HealthReport, ask};
pub use login::registry_login;
pub use merge::health_config;
pub use process::{stats, top};
pub use record::{Phase, Record};
pub use show::{DRIVER, NEVER, Shown, driver_data, health_of};
pub use spec::{bytes, log as log_driver};
pub use volumes::{Volume, VolumeError, Volumes};
