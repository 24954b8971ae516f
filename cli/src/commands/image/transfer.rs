//! Images on their way: from registries, from and to archives.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::TryStreamExt;
use skep_docker_api::client::ProgressLines;
use skep_docker_api::json::{ImportRequest, Progress, PullRequest, PushRequest};

use crate::commands::Session;
use crate::config::credentials;
use crate::failure::{Failure, Outcome};
use crate::output::display::Display;
use crate::output::human::size;
use crate::output::{line, save};
use crate::values::image;

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true, value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<PathBuf>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    message: String,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    #[arg(hide = true, value_name = "FILE", allow_hyphen_values = true)]
    source: String,
    #[arg(hide = true, value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

#[derive(Debug, Args)]
pub struct SaveArgs {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[arg(required = true, hide = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// How wide a bar is drawn.
const BAR: u64 = 40;

fn bar(current: u64, total: u64) -> String {
    let bytes = |n: u64| size(i64::try_from(n).unwrap_or(i64::MAX));
    if total == 0 {
        return bytes(current);
    }
    let done = (current.min(total).saturating_mul(BAR) / total) as usize;
    let head = if done < BAR as usize { ">" } else { "" };
    let drawn = format!("{}{head}", "=".repeat(done));
    format!("[{drawn:<40}] {}/{}", bytes(current), bytes(total))
}

/// Shows lines until the work is done; the first that tells of failure ends it.
pub async fn follow(mut lines: ProgressLines, mut display: Display) -> Outcome {
    while let Some(one) = lines.try_next().await? {
        let Progress { stream, status, detail, id, .. } = one;
        if !stream.is_empty() {
            display.say(stream.trim_end_matches(['\r', '\n']))?;
            continue;
        }
        let moving = detail.filter(|detail| detail.current > 0 || detail.total > 0);
        match (id.as_str(), moving) {
            ("", None) if !status.is_empty() => display.say(&status)?,
            ("", _) => {}
            (id, None) => display.set(id, &status)?,
            (id, Some(detail)) if display.moves() => {
                display.set(id, &format!("{status} {}", bar(detail.current, detail.total)))?;
            }
            // Off a terminal, what moves would fill a log.
            (_, Some(_)) => {}
        }
    }
    Ok(())
}

#[derive(Debug, Args)]
pub struct PushArgs {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image signing
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", hide = true, value_parser = crate::values::integer::truth)]
    disable_content_trust: bool,
    /// Push a platform-specific manifest as a single-platform image to the registry
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true, value_name = "NAME")]
    name: String,
}

pub async fn push(session: &Session, args: PushArgs) -> Outcome {
    let named = image::tagged(&args.name) == args.name;
    if args.all_tags && named {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !args.all_tags && !named && !args.quiet {
        line("Using default tag: latest")?;
    }
    let reference = if args.all_tags { args.name } else { image::tagged(&args.name) };
    let full = image::full(&reference);
    let auth = credentials::for_image(&session.config, &full)?;
    let request =
        PushRequest { reference: image::familiar(&reference), platform: args.platform, auth };
    follow(session.client.image_push(&request).await?, Display::new(args.quiet)).await?;
    if args.quiet { line(full) } else { Ok(()) }
}

pub async fn pull(session: &Session, args: PullArgs) -> Outcome {
    let named = image::tagged(&args.name) == args.name;
    if args.all_tags && named {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !args.all_tags && !named && !args.quiet {
        line("Using default tag: latest")?;
    }
    let reference = if args.all_tags { args.name } else { image::tagged(&args.name) };
    let full = image::full(&reference);
    let request = PullRequest {
        reference,
        platform: args.platform,
        auth: credentials::for_image(&session.config, &full)?,
    };
    follow(session.client.image_pull(&request).await?, Display::new(args.quiet)).await?;
    line(full)
}

async fn open(path: &Path) -> Outcome<tokio::fs::File> {
    tokio::fs::File::open(path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(format!("open {}: no such file or directory", path.display()))
        }
        _ => Failure::new(format!("open {}: {error}", path.display())),
    })
}

pub async fn load(session: &Session, args: LoadArgs) -> Outcome {
    // The daemon draws bars only where they are seen.
    let silent = args.quiet || !std::io::stdout().is_terminal();
    let lines = match &args.input {
        Some(path) => session.client.image_load(silent, open(path).await?).await?,
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::new("requested load from stdin, but stdin is empty"));
        }
        None => session.client.image_load(silent, tokio::io::stdin()).await?,
    };
    follow(lines, Display::new(false)).await
}

pub async fn import(session: &Session, args: ImportArgs) -> Outcome {
    if args.source.contains("://") {
        return Err(Failure::new(
            "importing from a URL is not supported: fetch it and import from standard input",
        ));
    }
    let request = ImportRequest {
        reference: args.reference.unwrap_or_default(),
        message: args.message,
        platform: args.platform,
        changes: args.change,
    };
    let lines = match args.source.as_str() {
        "-" => session.client.image_import(&request, tokio::io::stdin()).await?,
        path => session.client.image_import(&request, open(Path::new(path)).await?).await?,
    };
    follow(lines, Display::new(false)).await
}

pub async fn save(session: &Session, args: SaveArgs) -> Outcome {
    save::refuse_terminal(args.output.as_deref())?;
    let names: Vec<_> = args.images.iter().map(String::as_str).collect();
    let bytes = session.client.image_save(&names).await?;
    save::stream(bytes, args.output.as_deref(), "failed to save image").await
}
