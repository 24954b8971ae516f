//! `skep image` and its short names: the images of the host whose daemon is asked.

pub mod history;
pub mod list;
pub mod transfer;

use clap::{Args, Subcommand};
use skep_docker_api::json::{ImageRemoveOptions, TagRequest};

use super::{Session, prune};
use crate::failure::{Failure, Outcome};
use crate::output::{inspect, line, warn};
use crate::values::image;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the history of an image
    #[command(override_usage = "skep image history [OPTIONS] IMAGE")]
    History(history::HistoryArgs),
    /// Import the contents from a tarball to create a filesystem image
    #[command(override_usage = "skep image import [OPTIONS] file|- [REPOSITORY[:TAG]]")]
    Import(transfer::ImportArgs),
    /// Display detailed information on one or more images
    #[command(override_usage = "skep image inspect [OPTIONS] IMAGE [IMAGE...]")]
    Inspect(InspectArgs),
    /// Load an image from a tar archive or STDIN
    Load(transfer::LoadArgs),
    /// List images
    #[command(
        visible_alias = "list",
        override_usage = "skep image ls [OPTIONS] [REPOSITORY[:TAG]]"
    )]
    Ls(list::LsArgs),
    /// Remove unused images
    Prune(prune::AllPruneArgs),
    /// Download an image from a registry
    #[command(override_usage = "skep image pull [OPTIONS] NAME[:TAG|@DIGEST]")]
    Pull(transfer::PullArgs),
    /// Upload an image to a registry
    #[command(override_usage = "skep image push [OPTIONS] NAME[:TAG]")]
    Push(transfer::PushArgs),
    /// Remove one or more images
    #[command(
        visible_alias = "remove",
        override_usage = "skep image rm [OPTIONS] IMAGE [IMAGE...]"
    )]
    Rm(RmArgs),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    #[command(override_usage = "skep image save [OPTIONS] IMAGE [IMAGE...]")]
    Save(transfer::SaveArgs),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    #[command(override_usage = "skep image tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")]
    Tag(TagArgs),
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, hide = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true, hide = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct TagArgs {
    #[arg(hide = true, value_name = "SOURCE_IMAGE")]
    source: String,
    #[arg(hide = true, value_name = "TARGET_IMAGE")]
    target: String,
}

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::History(args) => history::run(session, args).await,
        Command::Import(args) => transfer::import(session, args).await,
        Command::Inspect(args) => {
            let mut found = Vec::new();
            for name in &args.images {
                let image = session.client.image(name).await.map_err(Failure::from);
                found.push(image.map(|image| inspect::value(&image)));
            }
            inspect::show(args.format.as_deref(), found)
        }
        Command::Load(args) => transfer::load(session, args).await,
        Command::Ls(args) => list::run(session, args).await,
        Command::Prune(args) => prune::images(session, args).await,
        Command::Pull(args) => transfer::pull(session, args).await,
        Command::Push(args) => transfer::push(session, args).await,
        Command::Rm(args) => remove(session, args).await,
        Command::Save(args) => transfer::save(session, args).await,
        Command::Tag(args) => tag(session, args).await,
    }
}

pub async fn remove(session: &Session, args: RmArgs) -> Outcome {
    let options = ImageRemoveOptions { force: args.force, no_prune: args.no_prune };
    let mut failures = Vec::new();
    let mut fatal = false;
    for name in &args.images {
        match session.client.image_remove(name, options).await {
            Ok(done) => {
                for one in done {
                    line(match one.deleted.as_str() {
                        "" => format!("Untagged: {}", one.untagged),
                        id => format!("Deleted: {id}"),
                    })?;
                }
            }
            Err(error) => {
                fatal |= !error.is_not_found();
                failures.push(error.into());
            }
        }
    }
    match Failure::join(failures) {
        Err(failure) if args.force && !fatal => {
            warn(failure.to_string());
            Ok(())
        }
        done => done,
    }
}

pub async fn tag(session: &Session, args: TagArgs) -> Outcome {
    if args.target.contains('@') {
        return Err(Failure::new("refusing to create a tag with a digest reference"));
    }
    let (repo, tag) = image::parts(&args.target);
    let request = TagRequest { repo: repo.into(), tag: tag.unwrap_or("latest").into() };
    Ok(session.client.image_tag(&args.source, &request).await?)
}
