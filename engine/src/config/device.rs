//! The host's devices that a container may use, and rules for those that have no node.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A device of the host that a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub on_host: PathBuf,
    pub in_container: PathBuf,
    /// Of `rwm`.
    pub access: String,
}

/// A device's node, of which more is said than where it is on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// In the container.
    pub path: PathBuf,
    /// Says what is not said here.
    pub on_host: PathBuf,
    pub kind: Option<DeviceKind>,
    /// Major and minor.
    pub number: Option<(u32, u32)>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// None: the container's user.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Of `rwm`; empty: the device cgroup does not allow it.
    pub access: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    Block,
    Char,
    Fifo,
}

/// A rule of the device cgroup, as Docker writes it: `c 10:* rwm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// None: any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Of `rwm`.
    pub access: String,
}

impl DeviceRule {
    pub fn parse(text: &str) -> Option<DeviceRule> {
        let mut fields = text.split(' ');
        let (kind, device, access) = (fields.next()?, fields.next()?, fields.next()?);
        let kind = ["a", "b", "c"].contains(&kind).then(|| kind.chars().next())??;
        let (major, minor) = device.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let (major, minor) = (number(major)?, number(minor)?);
        let whole = fields.next().is_none() && is_access(access);
        whole.then(|| DeviceRule { kind, major, minor, access: access.to_owned() })
    }
}

/// What may be done with a device: to read, to write, to make its node.
pub(super) fn is_access(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.chars().all(|c| "rwm".contains(c))
}
