//! Each group of commands in a file of its own: its flags, its calls, its words.

pub mod container;
pub mod context;
pub mod endpoint;
pub mod image;
pub mod inspect;
pub mod login;
pub mod manifest;
pub mod network;
pub mod node;
pub mod node_show;
pub mod payload;
pub mod progress;
pub mod prune;
pub mod search;
pub mod service;
pub mod stack;
pub mod swarm;
pub mod system;
pub mod tasks;
pub mod volume;

use skep_docker_api::Client;

use crate::args::{Cli, Command, LogLevel};
use crate::config::ConfigFile;
use crate::failure::Outcome;
use crate::{output, usage};

/// What every command is given.
pub struct Session {
    pub client: Client,
    /// The user's own settings.
    pub config: ConfigFile,
    /// The name of the context in use.
    pub context: String,
    /// Whether more is to be said than is asked.
    pub debug: bool,
}

pub async fn run(cli: Cli) -> Outcome {
    log(if cli.asked.debug { LogLevel::Debug } else { cli.log_level });
    let mut config = cli.asked.config();
    // Neither asks a daemon, and a context that is not there can only be mended by them.
    let command = match cli.command {
        Some(Command::Context(command)) => return context::run(&mut config, &cli.asked, command),
        Some(Command::Logout(args)) => return login::logout(&mut config, args),
        command => command,
    };
    let context = cli.asked.context(&config)?;
    let client = cli.asked.client(&config)?;
    let mut session = Session { client, config, context, debug: cli.asked.debug };
    if let Some(Command::Login(args)) = command {
        return login::login(&mut session, args).await;
    }
    dispatch(&session, command).await
}

async fn dispatch(session: &Session, command: Option<Command>) -> Outcome {
    match command {
        Some(Command::Swarm(command)) => swarm::run(session, command).await,
        Some(Command::Node(command)) => node::run(session, command).await,
        Some(Command::Daemon(_)) => unreachable!("main runs the daemon on a runtime of its own"),
        Some(Command::Service(command)) => service::run(session, command).await,
        Some(Command::Stack(command)) => stack::run(session, command).await,
        Some(Command::Secret(command)) => payload::secret(session, command).await,
        Some(Command::Config(command)) => payload::config(session, command).await,
        Some(Command::Image(command)) => image::run(session, command).await,
        Some(Command::Images(args)) => image::list::run(session, args).await,
        Some(Command::Import(args)) => image::transfer::import(session, args).await,
        Some(Command::Load(args)) => image::transfer::load(session, args).await,
        Some(Command::Pull(args)) => image::transfer::pull(session, args).await,
        Some(Command::Rmi(args)) => image::remove(session, args).await,
        Some(Command::Save(args)) => image::transfer::save(session, args).await,
        Some(Command::Tag(args)) => image::tag(session, args).await,
        Some(Command::Manifest(command)) => manifest::run(session, command).await,
        Some(Command::Network(command)) => network::run(session, command).await,
        Some(Command::Info(args)) => system::info(session, args).await,
        Some(Command::Version(args)) => system::version(session, args).await,
        Some(Command::Completion { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut usage::grammar(), "skep", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
        Some(Command::Context(_) | Command::Login(_) | Command::Logout(_)) => {
            unreachable!("these are run before a daemon is looked for")
        }
        Some(Command::Container(args)) => container::dispatch(session, *args).await,
        Some(Command::Volume(args)) => volume::run(session, args).await,
        Some(Command::System(args)) => system::run(session, args).await,
        Some(Command::Run(args)) => container::run::run(session, *args).await,
        Some(Command::Create(args)) => container::create::run(session, *args).await,
        Some(Command::Exec(args)) => container::exec::run(session, args).await,
        Some(Command::Ps(args)) => container::list::run(session, args).await,
        Some(Command::Attach(args)) => container::attach::run(session, args).await,
        Some(Command::Commit(args)) => container::small::commit(session, args).await,
        Some(Command::Cp(args)) => container::copy::run(session, args).await,
        Some(Command::Diff(args)) => container::small::diff(session, args).await,
        Some(Command::Events(args)) => system::events::run(session, args).await,
        Some(Command::Export(args)) => container::small::export(session, args).await,
        Some(Command::History(args)) => image::history::run(session, args).await,
        Some(Command::Inspect(args)) => inspect::run(session, args).await,
        Some(Command::Kill(args)) => container::life::kill(session, args).await,
        Some(Command::Logs(args)) => container::small::logs(session, args).await,
        Some(Command::Pause(args)) => container::life::pause(session, args).await,
        Some(Command::Port(args)) => container::small::port(session, args).await,
        Some(Command::Push(args)) => image::transfer::push(session, args).await,
        Some(Command::Rename(args)) => container::life::rename(session, args).await,
        Some(Command::Restart(args)) => container::life::restart(session, args).await,
        Some(Command::Rm(args)) => container::life::remove(session, args).await,
        Some(Command::Search(args)) => search::run(session, args).await,
        Some(Command::Start(args)) => container::start::run(session, args).await,
        Some(Command::Stats(args)) => container::stats::run(session, args).await,
        Some(Command::Stop(args)) => container::life::stop(session, args).await,
        Some(Command::Top(args)) => container::small::top(session, args).await,
        Some(Command::Unpause(args)) => container::life::unpause(session, args).await,
        Some(Command::Update(args)) => container::update::run(session, args).await,
        Some(Command::Wait(args)) => container::life::wait(session, args).await,
        None => Ok(()),
    }
}

fn log(level: LogLevel) {
    let level = match level {
        LogLevel::Debug => tracing_subscriber::filter::LevelFilter::DEBUG,
        LogLevel::Info => tracing_subscriber::filter::LevelFilter::INFO,
        LogLevel::Warn => tracing_subscriber::filter::LevelFilter::WARN,
        LogLevel::Error => tracing_subscriber::filter::LevelFilter::ERROR,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
}
