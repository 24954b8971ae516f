//! `skep update`: other limits and another restart policy, while it runs.

use clap::Args;
use skep_docker_api::json::{ContainerUpdateRequest, RestartPolicyName};

use super::flags::limits::Limits;
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::line;
use crate::values::restart;

#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    limits: Limits,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(required = true, hide = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl UpdateArgs {
    fn request(&self) -> Outcome<ContainerUpdateRequest> {
        if !self.limits.any() && self.restart.is_none() {
            return Err(Failure::new("you must provide one or more flags when using this command"));
        }
        let mut request = ContainerUpdateRequest::default();
        self.limits.update(&mut request);
        request.restart_policy = match self.restart.as_deref().unwrap_or_default() {
            "" => RestartPolicyName::default(),
            text => restart::parse(text).map_err(Failure::new)?,
        };
        Ok(request)
    }
}

pub async fn run(session: &Session, args: UpdateArgs) -> Outcome {
    let request = args.request()?;
    let (mut warnings, mut failures) = (Vec::new(), Vec::new());
    for name in &args.containers {
        match session.client.container_update(name, &request).await {
            Ok(answer) => {
                line(name)?;
                warnings.extend(answer.warnings.into_iter().flatten());
            }
            Err(error) => failures.push(error.into()),
        }
    }
    if !warnings.is_empty() {
        line(warnings.join("\n"))?;
    }
    Failure::join(failures)
}
