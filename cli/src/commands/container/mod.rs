//! `skep container` and its short names: the containers of the host whose daemon is asked.

mod api_socket;
pub mod attach;
pub mod copy;
pub mod create;
pub mod exec;
mod flags;
pub mod life;
pub mod list;
mod resize;
pub mod run;
mod signals;
pub mod small;
pub mod start;
pub mod stats;
mod status;
pub mod update;
mod wiring;

use clap::Subcommand;

use super::{Session, inspect, prune};
use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach local standard input, output, and error streams to a running container
    #[command(override_usage = "skep container attach [OPTIONS] CONTAINER")]
    Attach(attach::AttachArgs),
    /// Create a new image from a container's changes
    #[command(override_usage = "skep container commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]")]
    Commit(small::CommitArgs),
    /// Copy files/folders between a container and the local filesystem
    #[command(
        override_usage = "skep container cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tskep cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
    )]
    Cp(copy::CopyArgs),
    /// Create a new container
    #[command(
        disable_help_flag = true,
        override_usage = "skep container create [OPTIONS] IMAGE [COMMAND] [ARG...]"
    )]
    Create(create::CreateArgs),
    /// Inspect changes to files or directories on a container's filesystem
    #[command(override_usage = "skep container diff CONTAINER")]
    Diff(small::DiffArgs),
    /// Execute a command in a running container
    #[command(override_usage = "skep container exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
    Exec(exec::ExecArgs),
    /// Export a container's filesystem as a tar archive
    #[command(override_usage = "skep container export [OPTIONS] CONTAINER")]
    Export(small::ExportArgs),
    /// Display detailed information on one or more containers
    #[command(override_usage = "skep container inspect [OPTIONS] CONTAINER [CONTAINER...]")]
    Inspect(inspect::ContainerInspectArgs),
    /// Kill one or more running containers
    #[command(override_usage = "skep container kill [OPTIONS] CONTAINER [CONTAINER...]")]
    Kill(life::KillArgs),
    /// Fetch the logs of a container
    #[command(override_usage = "skep container logs [OPTIONS] CONTAINER")]
    Logs(small::LogsArgs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"], override_usage = "skep container ls [OPTIONS]")]
    Ls(list::LsArgs),
    /// Pause all processes within one or more containers
    #[command(override_usage = "skep container pause CONTAINER [CONTAINER...]")]
    Pause(life::Names),
    /// List port mappings or a specific mapping for the container
    #[command(override_usage = "skep container port CONTAINER [PRIVATE_PORT[/PROTO]]")]
    Port(small::PortArgs),
    /// Remove all stopped containers
    #[command(override_usage = "skep container prune [OPTIONS]")]
    Prune(prune::PruneArgs),
    /// Rename a container
    #[command(override_usage = "skep container rename CONTAINER NEW_NAME")]
    Rename(life::RenameArgs),
    /// Restart one or more containers
    #[command(override_usage = "skep container restart [OPTIONS] CONTAINER [CONTAINER...]")]
    Restart(life::StopArgs),
    /// Remove one or more containers
    #[command(
        visible_alias = "remove",
        override_usage = "skep container rm [OPTIONS] CONTAINER [CONTAINER...]"
    )]
    Rm(life::RmArgs),
    /// Create and run a new container from an image
    #[command(
        disable_help_flag = true,
        override_usage = "skep container run [OPTIONS] IMAGE [COMMAND] [ARG...]"
    )]
    Run(run::RunArgs),
    /// Start one or more stopped containers
    #[command(override_usage = "skep container start [OPTIONS] CONTAINER [CONTAINER...]")]
    Start(start::StartArgs),
    /// Display a live stream of container(s) resource usage statistics
    #[command(override_usage = "skep container stats [OPTIONS] [CONTAINER...]")]
    Stats(stats::StatsArgs),
    /// Stop one or more running containers
    #[command(override_usage = "skep container stop [OPTIONS] CONTAINER [CONTAINER...]")]
    Stop(life::StopArgs),
    /// Display the running processes of a container
    #[command(override_usage = "skep container top CONTAINER [ps OPTIONS]")]
    Top(small::TopArgs),
    /// Unpause all processes within one or more containers
    #[command(override_usage = "skep container unpause CONTAINER [CONTAINER...]")]
    Unpause(life::Names),
    /// Update configuration of one or more containers
    #[command(override_usage = "skep container update [OPTIONS] CONTAINER [CONTAINER...]")]
    Update(update::UpdateArgs),
    /// Block until one or more containers stop, then print their exit codes
    #[command(override_usage = "skep container wait CONTAINER [CONTAINER...]")]
    Wait(life::Names),
}

pub async fn dispatch(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Attach(args) => attach::run(session, args).await,
        Command::Commit(args) => small::commit(session, args).await,
        Command::Cp(args) => copy::run(session, args).await,
        Command::Create(args) => create::run(session, args).await,
        Command::Diff(args) => small::diff(session, args).await,
        Command::Exec(args) => exec::run(session, args).await,
        Command::Export(args) => small::export(session, args).await,
        Command::Inspect(args) => inspect::containers(session, args).await,
        Command::Kill(args) => life::kill(session, args).await,
        Command::Logs(args) => small::logs(session, args).await,
        Command::Ls(args) => list::run(session, args).await,
        Command::Pause(args) => life::pause(session, args).await,
        Command::Port(args) => small::port(session, args).await,
        Command::Prune(args) => prune::containers(session, args).await,
        Command::Rename(args) => life::rename(session, args).await,
        Command::Restart(args) => life::restart(session, args).await,
        Command::Rm(args) => life::remove(session, args).await,
        Command::Run(args) => run::run(session, args).await,
        Command::Start(args) => start::run(session, args).await,
        Command::Stats(args) => stats::run(session, args).await,
        Command::Stop(args) => life::stop(session, args).await,
        Command::Top(args) => small::top(session, args).await,
        Command::Unpause(args) => life::unpause(session, args).await,
        Command::Update(args) => update::run(session, args).await,
        Command::Wait(args) => life::wait(session, args).await,
    }
}
