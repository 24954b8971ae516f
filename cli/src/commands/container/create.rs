//! `skep create`, and the making of a container that `run` begins with.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use skep_docker_api::json::{ContainerCreateRequest, HostConfig, PullRequest};

use super::api_socket;
use super::flags::ContainerFlags;
use crate::commands::Session;
use crate::commands::image::transfer;
use crate::config::credentials;
use crate::failure::{EXIT_USAGE, Failure, Outcome};
use crate::output::display::Display;
use crate::output::{line, warn};
use crate::terminal::raw;
use crate::values::image;

/// How a container is made, apart from what it is.
#[derive(Debug, Args)]
pub struct MakeFlags {
    /// Skip image verification
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", hide = true, value_parser = crate::values::integer::truth)]
    disable_content_trust: bool,
    /// Assign a name to the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    name: String,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Pull image before running ("always", "missing", "never")
    #[arg(long, value_name = "string", default_value = "missing")]
    pull: String,
    /// Suppress the pull output
    #[arg(short, long)]
    quiet: bool,
    /// Bind mount Docker API socket and required auth
    #[arg(long)]
    use_api_socket: bool,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    make: MakeFlags,
    #[command(flatten)]
    container: Box<ContainerFlags>,
}

/// With Docker's pointer to the help.
pub fn with_help(failure: &Failure, command: &str) -> String {
    format!("skep: {failure}\n\nRun 'skep {command} --help' for more information")
}

pub async fn run(session: &Session, args: CreateArgs) -> Outcome {
    let wrong = |failure: Failure| Failure::with_status(EXIT_USAGE, with_help(&failure, "create"));
    args.make.check().map_err(wrong)?;
    let mut request = args.container.request().map_err(wrong)?;
    let id = args.make.make(session, &mut request).await?;
    line(id)
}

/// A file that gets a container's id, and goes again where there is none to get.
struct IdFile {
    path: PathBuf,
    file: std::fs::File,
    written: bool,
}

impl IdFile {
    fn create(path: &str) -> Outcome<Option<Self>> {
        if path.is_empty() {
            return Ok(None);
        }
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(
            |error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => Failure::new(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                )),
                _ => Failure::new(format!("failed to create the container ID file: {error}")),
            },
        )?;
        Ok(Some(Self { path: path.into(), file, written: false }))
    }

    fn write(&mut self, id: &str) -> Outcome {
        self.file.write_all(id.as_bytes()).map_err(|error| {
            Failure::new(format!("failed to write the container ID to the file: {error}"))
        })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl MakeFlags {
    pub fn check(&self) -> Outcome {
        match self.pull.as_str() {
            "always" | "missing" | "never" | "" => {}
            other => {
                return Err(Failure::new(format!(
                    "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
                )));
            }
        }
        Ok(())
    }

    async fn pull(&self, session: &Session, name: &str) -> Outcome {
        let reference = image::tagged(name);
        let auth = credentials::for_image(&session.config, &image::full(&reference))?;
        let request = PullRequest { reference, platform: self.platform.clone(), auth };
        // Standard output is the container's alone.
        let display = Display::on_stderr(self.quiet);
        transfer::follow(session.client.image_pull(&request).await?, display).await
    }

    /// Makes the container, pulling its image where that is wanted; gives its id.
    pub async fn make(
        &self,
        session: &Session,
        request: &mut ContainerCreateRequest,
    ) -> Outcome<String> {
        let name = request.config.image.clone();
        let mut id_file = IdFile::create(&request.host_config.container_id_file)?;
        image::check(&name)?;
        let lent = match self.use_api_socket {
            true => Some(api_socket::lend(session, request)?),
            false => None,
        };
        if self.pull == "always" {
            self.pull(session, &name).await?;
        }
        let (rows, columns) = raw::size().unwrap_or_default();
        request.host_config.console_size = [rows.into(), columns.into()];
        let named = Some(self.name.as_str()).filter(|name| !name.is_empty());
        let client = &session.client;
        let first = client.container_create(named, &self.platform, request).await;
        let created = match first {
            Err(error) if error.is_not_found() && matches!(self.pull.as_str(), "missing" | "") => {
                if image::is_id(&name) {
                    return Err(error.into());
                }
                if !self.quiet {
                    let shown = image::familiar(&image::tagged(&name));
                    warn(format!("Unable to find image '{shown}' locally"));
                }
                self.pull(session, &name).await?;
                client.container_create(named, &self.platform, request).await?
            }
            other => other?,
        };
        for warning in created.warnings.iter().chain(&loopback_dns(&request.host_config)) {
            warn(format!("WARNING: {warning}"));
        }
        if let Some(file) = &mut id_file {
            file.write(&created.id)?;
        }
        if let Some(lent) = lent {
            lent.put(session, &created.id).await?;
        }
        Ok(created.id)
    }
}

/// A container has a loopback of its own.
fn loopback_dns(host: &HostConfig) -> Option<String> {
    let own = |text: &&String| text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let server = host.dns.iter().flatten().find(own)?;
    Some(format!("Localhost DNS ({server}) may fail in containers."))
}
