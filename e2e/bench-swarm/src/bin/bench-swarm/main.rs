//! `bench-swarm`: measures a whole control plane in one process, and prints what it found.

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
    /// Managers of the benchmark `leader`
    #[arg(long, value_name = "N", default_value_t = 3)]
    managers: usize,
    /// Simulated nodes of the benchmark `leader`
    #[arg(long, value_name = "N", default_value_t = 1000)]
    nodes: usize,
    /// Replicas of the service of the benchmark `leader`
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    replicas: usize,
}

/// By name, in the order in which they run.
const ALL: &[&str] = &["leader"];

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
    if only.is_none_or(|only| only == "leader") {
        figures.extend(leader::measure(dir.path(), arguments).await?);
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
        .worker_threads(1)
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
