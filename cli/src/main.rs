//! The `skep` command: reads its arguments, asks the daemon, shows the answer.
//!
//! One file is to be many programs; what it is called as is looked at here, before any thread is started.

mod args;
mod commands;
mod config;
mod daemon;
mod failure;
mod output;
mod positionals;
mod terminal;
mod usage;
mod values;

use std::process::ExitCode;

use failure::{Failure, Outcome};

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if args.first().is_some_and(|name| name == skep_engine::defaults::SHIM_NAME) {
        return skep_engine::shim::main(&args);
    }
    if args.first().is_some_and(|name| name == skep_node::names::NAME) {
        return skep_node::names::main(&args);
    }
    let done = match usage::parse(std::env::args_os()) {
        Ok(usage::Asked::Run(cli)) => run(*cli),
        Ok(usage::Asked::Show(text)) => output::print(&text),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, status }) => {
            if !message.is_empty() {
                output::warn(message);
            }
            ExitCode::from(status)
        }
    }
}

fn run(cli: args::Cli) -> Outcome {
    if let Some(args::Command::Daemon(args)) = cli.command {
        return daemon::run(*args, cli.log_level);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("failed to start the runtime: {error}")))?;
    let done = runtime.block_on(commands::run(cli));
    // Threads that still read or write for nobody are not waited for.
    runtime.shutdown_background();
    done
}
