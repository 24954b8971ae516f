//! Compose files, turned into what a swarm runs: services, networks, secrets and configs.
//!
//! [`load`] reads files of version 3.x and of the Compose Specification as far as it applies to
//! stacks, interpolates, checks and merges them, as `docker stack deploy -c a -c b` does. The
//! [`Project`] that comes out renders as canonical YAML (`stack config`) and turns into a
//! [`Stack`], whose objects know one another by name, for ids are the cluster's to give.
//!
//! **Invariant:** nothing here touches a file or the environment; a [`Loader`] is asked. No input
//! panics, and what a stack cannot honour is named in a warning or refused with its place.

mod convert;
mod emit;
mod error;
mod loader;
mod merge;
mod names;
mod node;
mod normal;
mod options;
mod project;
mod read;
mod render;
mod schema;
mod shape;
mod stack;
mod units;
mod words;

pub use error::{Error, Place};
pub use loader::{Loader, MapLoader};
pub use project::{Interpolation, Project, Source, load};
pub use stack::{FileByName, NetworkByName, ServiceTemplate, Stack, StackVolume};
