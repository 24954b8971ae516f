//! The shim by itself, as the multi-call binary runs it. Tests and measurements of this crate start
//! containers with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    skep_engine::shim::main(&args)
}
