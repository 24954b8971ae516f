//! The flags of `run` and `create`, in groups, and the request they become.
//!
//! Invariant: conversion asks nobody: files and variables that flags name are read, the daemon is not.

mod health;
mod isolation;
pub mod limits;
mod networking;
mod process;
mod storage;

use clap::Args;
use skep_docker_api::json::ContainerCreateRequest;

use crate::failure::{Failure, Outcome};

#[derive(Debug, Args)]
pub struct ContainerFlags {
    #[command(flatten)]
    pub process: process::ProcessFlags,
    #[command(flatten)]
    isolation: isolation::IsolationFlags,
    #[command(flatten)]
    limits: limits::Limits,
    #[command(flatten)]
    rare: limits::RareLimits,
    #[command(flatten)]
    networking: networking::NetworkFlags,
    #[command(flatten)]
    storage: storage::StorageFlags,
    #[command(flatten)]
    health: health::HealthFlags,
    /// Print usage
    // `-h` is the host name's.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[arg(hide = true, required = true, value_name = "IMAGE")]
    pub image: String,
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    pub arguments: Vec<String>,
}

fn refuse<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Failure::new(message))
}

impl ContainerFlags {
    /// What is sent to the daemon, but for what only the caller knows: detaching and the terminal's size.
    pub fn request(&self) -> Outcome<ContainerCreateRequest> {
        let mut request = ContainerCreateRequest::default();
        request.config.image = self.image.clone();
        if !self.arguments.is_empty() {
            request.config.cmd = Some(self.arguments.clone());
        }
        self.process.apply(&mut request)?;
        self.isolation.apply(&mut request)?;
        self.limits.apply(&mut request.host_config);
        self.rare.apply(&mut request.host_config)?;
        self.networking.apply(&mut request)?;
        self.storage.apply(&mut request)?;
        request.config.healthcheck = self.health.config()?;
        let restarts = !matches!(request.host_config.restart_policy.name.as_str(), "" | "no");
        if request.host_config.auto_remove && restarts {
            return refuse("conflicting options: cannot specify both --restart and --rm");
        }
        Ok(request)
    }
}
