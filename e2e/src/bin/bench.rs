//! `bench`: measures skep on the local fleet, and a peer beside it, and prints what it found.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use skep_e2e::bench::{ALL, Engine, Figure, Report, Side};

/// Benchmarks on a fleet of one or three hosts on this machine.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    /// The skep binary to measure
    #[arg(long, value_name = "PATH")]
    skep: PathBuf,
    /// Measure Debian's dockerd too, in the same run
    #[arg(long)]
    peer: bool,
    /// Only the benchmarks whose name begins so
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The length of each run of `data-path`, in seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Where to write the figures as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    out: PathBuf,
}

/// A root file system of the machine's static busybox.
fn image(dir: &Path) -> Result<PathBuf> {
    let bin = dir.join("root/bin");
    std::fs::create_dir_all(&bin).context("failed to make the image")?;
    std::fs::copy("/bin/busybox", bin.join("busybox"))
        .context("failed to copy /bin/busybox: is busybox-static installed?")?;
    let archive = dir.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir.join("root")).arg("-cf").arg(&archive).arg(".");
    ensure!(tar.status().context("failed to run tar")?.success(), "tar failed");
    Ok(archive)
}

struct Measured {
    figures: Vec<Figure>,
    /// Names of the benchmarks that came to no end.
    failed: Vec<&'static str>,
}

/// Runs the benchmarks on one side. One that fails has no figures and costs the others nothing: a
/// peer may lack something on this kernel.
fn measure(engine: &Engine, only: &str, image: &Path, run: Duration) -> Measured {
    let mut measured = Measured { figures: Vec::new(), failed: Vec::new() };
    // A whole name means that one alone.
    let exact = ALL.iter().any(|it| it.name == only);
    let wanted = |name: &str| if exact { name == only } else { name.starts_with(only) };
    for benchmark in ALL.iter().filter(|it| wanted(it.name)) {
        // A fleet each: what one benchmark leaves behind does not slow the next.
        let figures = Side::up(engine.clone(), image, benchmark.hosts, run).and_then(|side| {
            eprintln!("{}: {} …", side.name(), benchmark.name);
            (benchmark.measure)(&side)
        });
        match figures {
            Ok(figures) => measured.figures.extend(figures),
            Err(error) => {
                eprintln!("{}: not measured: {error:#}", benchmark.name);
                measured.failed.push(benchmark.name);
            }
        }
    }
    measured
}

fn act(arguments: &Arguments) -> Result<()> {
    let only = arguments.only.as_deref().unwrap_or_default();
    ensure!(
        ALL.iter().any(|it| it.name.starts_with(only)),
        "no benchmark begins with `{only}`: there are {}",
        ALL.iter().map(|it| it.name).collect::<Vec<_>>().join(", ")
    );
    let dir = tempfile::tempdir().context("failed to make a directory")?;
    let image = image(dir.path())?;
    let run = Duration::from_secs(arguments.seconds);
    let ours = measure(&Engine::Skep(arguments.skep.clone()), only, &image, run);
    let peer = match arguments.peer {
        true => measure(&Engine::Docker, only, &image, run).figures,
        false => Vec::new(),
    };
    let report = Report::new(&ours.figures, &peer);
    print!("{}", report.table());
    report.save(&arguments.out)?;
    ensure!(ours.failed.is_empty(), "not measured: {}", ours.failed.join(", "));
    Ok(())
}

fn main() -> ExitCode {
    match act(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
