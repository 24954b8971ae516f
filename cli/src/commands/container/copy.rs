//! `skep cp`: files into a container and out of it. What is called what at the other end is decided in [`plan`], as Docker does.

mod pack;
mod plan;
mod unpack;

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;
use futures::TryStreamExt;
use skep_docker_api::json::{ArchivePutOptions, PathStat};
use tokio::io::AsyncWriteExt;

use self::plan::{End, Plan};
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::human::size;
use crate::output::warn;
use crate::values::pairs::io_words;
use crate::values::volume::absolute;

#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool", value_parser = crate::values::integer::truth)]
    quiet: Option<bool>,
    #[arg(hide = true, value_name = "SRC_PATH", allow_hyphen_values = true)]
    source: String,
    #[arg(hide = true, value_name = "DEST_PATH", allow_hyphen_values = true)]
    destination: String,
}

/// `container:path`, or a path here: one that begins with `/` or `.` always is.
fn parted(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with(['/', '.']) && !container.is_empty() => {
            (Some(container), path)
        }
        _ => (None, text),
    }
}

pub async fn run(session: &Session, args: CopyArgs) -> Outcome {
    if args.source.is_empty() {
        return Err(Failure::new("source can not be empty"));
    }
    if args.destination.is_empty() {
        return Err(Failure::new("destination can not be empty"));
    }
    match (parted(&args.source), parted(&args.destination)) {
        ((Some(container), from), (None, to)) => out(session, &args, container, from, to).await,
        ((None, from), (Some(container), to)) => into(session, &args, container, from, to).await,
        ((Some(_), _), (Some(_), _)) => {
            Err(Failure::new("copying between containers is not supported"))
        }
        _ => Err(Failure::new("must specify at least one container source")),
    }
}

/// A path here, absolute, with the slash or dot at its end that says what it means.
fn local(path: &str) -> Outcome<String> {
    let plain = absolute(path).map_err(Failure::new)?;
    Ok(plan::keep_end(&plain, path))
}

/// Where a link in a container leads, as its own paths go.
fn followed(path: &str, stat: &PathStat) -> Option<String> {
    if !stat.is_symlink() {
        return None;
    }
    let target = &stat.link_target;
    Some(match target.starts_with('/') {
        true => target.clone(),
        false => {
            let (parent, _) = plan::parted(path);
            crate::values::volume::clean(&Path::new(&parent).join(target))
        }
    })
}

fn told(args: &CopyArgs, bytes: u64, to: &str) {
    if !args.quiet.unwrap_or_else(|| !std::io::stdout().is_terminal()) {
        let shown = size(i64::try_from(bytes).unwrap_or(i64::MAX));
        warn(format!("Successfully copied {shown} to {to}"));
    }
}

async fn out(session: &Session, args: &CopyArgs, container: &str, from: &str, to: &str) -> Outcome {
    let client = &session.client;
    let mut source = from.to_owned();
    let mut called = None;
    if args.follow_link
        && let Ok(stat) = client.container_archive_stat(container, from).await
        && let Some(target) = followed(from, &stat)
    {
        // What was asked for by the link's name keeps that name.
        called = Some(plan::parted(from).1);
        source = target;
    }
    let to_local = if to == "-" { String::new() } else { local(to)? };
    if to != "-" {
        plan::check_parent(&to_local)?;
    }
    let (stat, mut bytes) = client.container_archive_get(container, &source).await?;
    if to == "-" {
        let mut stdout = tokio::io::stdout();
        while let Some(chunk) = bytes.try_next().await? {
            stdout.write_all(&chunk).await?;
        }
        stdout.flush().await?;
        return Ok(());
    }
    let there = End::here(&to_local);
    let plan = Plan::make(
        &End { path: source, exists: true, is_dir: stat.is_dir() },
        &there,
        called.as_deref(),
    )?;
    let copied = unpack::unpack(bytes, plan).await?;
    told(args, copied, &to_local);
    Ok(())
}

async fn into(
    session: &Session,
    args: &CopyArgs,
    container: &str,
    from: &str,
    to: &str,
) -> Outcome {
    let client = &session.client;
    let mut there = End { path: to.into(), exists: false, is_dir: false };
    let mut stat = client.container_archive_stat(container, to).await;
    if let Ok(found) = &stat
        && let Some(target) = followed(to, found)
    {
        stat = client.container_archive_stat(container, &target).await;
        there.path = target;
    }
    match stat {
        Ok(found) => (there.exists, there.is_dir) = (true, found.is_dir()),
        // It need not be there; its parent must, which the daemon says.
        Err(error) if error.is_not_found() && !error.to_string().contains("No such container") => {}
        Err(error) => return Err(error.into()),
    }
    let options = ArchivePutOptions { no_overwrite_dir_non_dir: true, copy_uid_gid: args.archive };
    if from == "-" {
        if !there.is_dir {
            return Err(Failure::new(format!(
                "destination \"{container}:{to}\" must be a directory"
            )));
        }
        let body = tokio::io::stdin();
        return Ok(client.container_archive_put(container, &there.path, &options, body).await?);
    }
    let mut source = local(from)?;
    let missing = |error: std::io::Error| {
        Failure::new(format!("lstat {}: {}", source.trim_end_matches('/'), io_words(&error)))
    };
    let info = std::fs::symlink_metadata(source.trim_end_matches("/.")).map_err(missing)?;
    let mut called = None;
    let follows = args.follow_link || source.ends_with('/') || source.ends_with("/.");
    if info.is_symlink() && follows {
        let target = std::fs::canonicalize(&source).map_err(missing)?;
        called = Some(plan::parted(source.trim_end_matches('/')).1);
        source = plan::keep_end(&target.to_string_lossy(), &source);
    }
    let is_dir = std::fs::metadata(&source).is_ok_and(|info| info.is_dir())
        && (follows || !info.is_symlink());
    let plan =
        Plan::make(&End { path: source.clone(), exists: true, is_dir }, &there, called.as_deref())?;
    let (body, packed) = pack::pack(source, plan.clone());
    let sent = client.container_archive_put(container, &plan.folder, &options, body).await;
    // Where the packing failed, the daemon was given half an archive: the reason is on our side.
    let copied = packed.await;
    sent?;
    told(args, copied?, &format!("{container}:{}", there.path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_side() {
        for (text, container, path) in [
            ("web:/etc", Some("web"), "/etc"),
            ("/a:b", None, "/a:b"),
            ("./a:b", None, "./a:b"),
            ("a", None, "a"),
            ("-", None, "-"),
        ] {
            assert_eq!(parted(text), (container, path), "{text}");
        }
    }
}
