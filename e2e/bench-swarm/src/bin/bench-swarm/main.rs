//! `bench-swarm`: measures a whole control plane in one process, and prints what it found.

mod control_plane;
mod figures;
mod leader;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use figures::Figure;

/// Benchmarks of managers with simulated nodes, in this process
#[derive(Parser)]
#[command(name = "bench-swarm", max_term_width = 100)]
struct Arguments {
    /// Only the benchmark of this name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where the managers' logs stand meanwhile: on a real disk
    #[arg(long, value_name = "DIR", default_value = "target")]
    dir: PathBuf,
    /// Where to write the figures as JSON, beside what stands there
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    out: PathBuf,
    /// Simulated nodes [default: leader 1,000, control-plane 10,000]
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// Tasks [default: leader 100,000, control-plane 1,000,000]
    #[arg(long, value_name = "N")]
    tasks: Option<usize>,
    /// Managers of `leader`
    #[arg(long, value_name = "N", default_value_t = 3)]
    managers: usize,
    /// Nodes of `control-plane` that come over TLS
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    tls: usize,
    /// For how long tasks change while lists are measured in `control-plane`
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
}

/// By name, in the order in which they run.
const ALL: &[&str] = &["leader", "control-plane"];

async fn act(arguments: &Arguments) -> Result<()> {
    let only = arguments.only.as_deref();
    ensure!(
        only.is_none_or(|only| ALL.contains(&only)),
        "no benchmark has that name: there are {}",
        ALL.join(", ")
    );
    let dir = tempfile::Builder::new().prefix("bench-swarm-").tempdir_in(&arguments.dir);
    let dir = dir.context("failed to make a directory for the logs")?;
    let mut figures: Vec<Figure> = Vec::new();
    let asked = |name: &str| only.is_none_or(|only| only == name);
    if asked("leader") {
        figures.extend(leader::measure(&dir.path().join("leader"), arguments).await?);
    }
    if asked("control-plane") {
        let dir = dir.path().join("control-plane");
        figures.extend(control_plane::measure(&dir, arguments).await?);
    }
    print!("{}", figures::table(&figures));
    figures::save(&arguments.out, &figures)
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("bench")
        .enable_all()
        .build();
    let outcome = runtime
        .context("failed to make a runtime")
        .and_then(|runtime| runtime.block_on(act(&Arguments::parse())));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-swarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
