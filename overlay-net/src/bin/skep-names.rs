//! The process that answers names by itself, as the multi-call binary runs it, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    skep_overlay_net::dns::process::main(&args)
}
