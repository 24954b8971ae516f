//! Flags about the process: its words, its environment, its streams, and what becomes of it when it ends.

use clap::Args;
use skep_docker_api::json::{ContainerCreateRequest, LogConfig, RestartPolicyName};

use super::refuse;
use crate::failure::{Failure, Outcome};
use crate::values::{integer, pairs, restart};

#[derive(Debug, Args)]
pub struct ProcessFlags {
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "map")]
    annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list", value_parser = stream)]
    pub attach: Vec<String>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub cidfile: String,
    /// Container NIS domain name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    domainname: String,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = pairs::variable)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    group_add: Vec<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string", default_value = "", hide_default_value = true)]
    hostname: String,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool", value_parser = integer::truth)]
    init: Option<bool>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub interactive: bool,
    /// Set meta data on a container
    #[arg(short, long, value_name = "list", value_parser = pairs::label)]
    label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    label_file: Vec<String>,
    /// Logging driver for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    log_driver: String,
    /// Log driver options
    #[arg(long, value_name = "list")]
    log_opt: Vec<String>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string", default_value = "no")]
    restart: String,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    rm: bool,
    /// Runtime to use for this container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    runtime: String,
    /// Signal to stop the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    stop_signal: String,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    stop_timeout: Option<i64>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    user: String,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    workdir: String,
}

fn stream(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(lower),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".into()),
    }
}

impl ProcessFlags {
    pub fn apply(&self, request: &mut ContainerCreateRequest) -> Outcome {
        let ContainerCreateRequest { config, host_config: host, .. } = request;
        let named = |name: &str| self.attach.iter().any(|have| have == name);
        config.attach_stdin = self.interactive || named("stdin");
        config.attach_stdout = self.attach.is_empty() || named("stdout");
        config.attach_stderr = self.attach.is_empty() || named("stderr");
        config.open_stdin = self.interactive;
        // Whoever attached its input and left will not come back to it.
        config.stdin_once = config.open_stdin && config.attach_stdin;
        config.tty = self.tty;
        config.hostname = self.hostname.clone();
        config.domainname = self.domainname.clone();
        config.user = self.user.clone();
        config.working_dir = self.workdir.clone();
        config.stop_signal = self.stop_signal.clone();
        config.stop_timeout = self.stop_timeout;
        // An empty one takes the image's away.
        config.entrypoint = self.entrypoint.clone().map(|word| vec![word]);
        config.env = pairs::container_environment(&self.env_file, &self.env)
            .map_err(|failure| Failure::new(format!("--env-file: {failure}")))?;
        config.labels = pairs::labels(&self.label_file, &self.label)
            .map_err(|failure| Failure::new(format!("--label-file: {failure}")))?;
        host.annotations = pairs::map(&self.annotation);
        host.container_id_file = self.cidfile.clone();
        host.group_add = some(&self.group_add);
        host.init = self.init;
        host.runtime = self.runtime.clone();
        host.auto_remove = self.rm;
        host.restart_policy = match self.restart.as_str() {
            "" => RestartPolicyName::default(),
            text => restart::parse(text).map_err(Failure::new)?,
        };
        if self.log_driver == "none" && !self.log_opt.is_empty() {
            return refuse("invalid logging opts for driver none");
        }
        host.log_config =
            LogConfig { kind: self.log_driver.clone(), config: pairs::map(&self.log_opt) };
        Ok(())
    }
}

/// What nobody gave is not there at all.
pub fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}
