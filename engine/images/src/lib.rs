//! The image store of one host: images by content, layers unpacked once, root filesystems.
//!
//! Not a container engine: it starts nothing, and whether an image is in use its caller says.
//!
//! **Invariant:** nothing has a name before it is whole, checked against its digest, and on disk;
//! a process killed at any point leaves a store that opens.

mod archive;
mod base_layer;
mod behind;
mod blobs;
mod changes;
mod commit;
mod compression;
mod config;
mod diff;
mod digest;
mod distribution;
mod downloads;
mod error;
mod files;
mod growth;
mod image;
mod import;
mod index;
mod layers;
mod limits;
mod load;
mod login;
mod manifest;
mod mirror;
mod mount;
mod owners;
mod pack;
mod platform;
mod progress;
mod prune;
mod pull;
mod push;
mod reference;
mod registry;
mod remove;
mod rootfs;
mod save;
mod scratch;
mod search;
mod store;
mod tar_reader;
mod tar_writer;
mod trust;
mod unpack;
mod usage;
mod walk;

pub use changes::apply_changes;
pub use commit::CommitOptions;
pub use config::{History, ImageConfig};
pub use diff::{Change, ChangeKind};
pub use digest::{Digest, ParseDigestError};
pub use error::{Error, Result};
pub use files::{ArchiveStream, Bind, FileError, Owner, PathInfo, RootDir, WriteOptions};
pub use image::Image;
pub use import::ImportOptions;
pub use limits::{LAYERS_MAX, Limits};
pub use load::Loaded;
pub use login::check_login;
pub use mirror::{Mirror, MirrorError};
pub use mount::{is_mounted, mount_overlay, unmount};
pub use platform::Platform;
pub use progress::{Progress, Reporter, Step};
pub use prune::{PruneScope, Pruned};
pub use pull::{PullOptions, Pulled, Resolved, manifests, resolve};
pub use push::{PushOptions, Pushed};
pub use reference::{ParseReferenceError, Reference};
pub use remove::{Force, ImageUse, Removed};
pub use rootfs::{OpenRootfs, OverlaySpec, Rootfs};
pub use search::{Found, search};
pub use store::{Store, StoreOptions};
pub use trust::{Auth, Patience, Proxies, RegistryConfig, Transfers};
