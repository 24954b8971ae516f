//! The process that answers names, as this daemon has it: the same program, below the cgroup of the
//! daemon's containers and outside the daemon's own.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use skep_engine::cgroup::Hierarchies;
use skep_overlay_kernel::Namespace;
use skep_overlay_net::dns::process;
pub use skep_overlay_net::dns::process::NAME;
use skep_overlay_net::{NameServer, NameServerConfig};

use crate::config::Config;

/// Starts nothing yet: its process comes with the first container that asks.
pub fn server(config: &Config) -> anyhow::Result<NameServer> {
    Ok(NameServer::new(NameServerConfig {
        run: config.exec_root.clone(),
        // As it was executed, whatever has become of the file since.
        program: "/proc/self/exe".into(),
        args: vec![config.cgroup_parent.display().to_string()],
        leaves: Hierarchies::find()?.of_names(&config.cgroup_parent),
        host: Namespace::current()?,
    }))
}

/// The process's whole life. The parent cgroup is its first argument; one that goes on as another
/// build is where it belongs.
pub fn main(args: &[OsString]) -> ExitCode {
    let parent = args.get(1).map(Path::new).filter(|it| it.is_absolute());
    let moved = parent.map_or(Ok(()), |it| Hierarchies::find()?.join_names(it));
    if let Err(error) = moved {
        eprintln!("Error: failed to leave the daemon's cgroup: {error}");
        return ExitCode::FAILURE;
    }
    process::main(args)
}
