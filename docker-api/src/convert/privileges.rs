//! What a container may do beyond, or short of, the engine's defaults: nothing but the defaults is taken.
//!
//! The empty shells that the command line and Compose clients send along are let through; any wish in them is refused by name,
//! for a container that runs with other rights than it asked for is a hole, not a convenience.

use super::{Answer, unsupported};
use crate::json;

pub(super) fn check(container: &json::ContainerSpec) -> Answer<()> {
    if !matches!(container.isolation.as_str(), "" | "default") {
        return Err(unsupported(format!("isolation {:?}", container.isolation)));
    }
    let Some(privileges) = &container.privileges else { return Ok(()) };
    if privileges.credential_spec.is_some() {
        return Err(unsupported("credential-spec"));
    }
    // Switching off what is not there is granted; any other context would not be applied.
    if let Some(context) = &privileges.selinux_context
        && (json::SelinuxContext { disable: false, ..context.clone() })
            != json::SelinuxContext::default()
    {
        return Err(unsupported("an SELinux context"));
    }
    if let Some(seccomp) = &privileges.seccomp
        && (!matches!(seccomp.mode.as_str(), "" | "default") || !seccomp.profile.is_empty())
    {
        return Err(unsupported(format!("seccomp mode {:?}", seccomp.mode)));
    }
    if let Some(app_armor) = &privileges.app_armor
        && !matches!(app_armor.mode.as_str(), "" | "default")
    {
        return Err(unsupported(format!("AppArmor mode {:?}", app_armor.mode)));
    }
    if privileges.no_new_privileges {
        return Err(unsupported("no-new-privileges"));
    }
    Ok(())
}
