//! Programs of the host that are run as a container comes and goes. libcontainer runs all but those
//! after its end, for it never takes a shim's container away.

use libcontainer::container::{Container, ContainerStatus};
use libcontainer::hooks::run_hooks;
use libcontainer::oci_spec::runtime;
use serde_json::{Value, json};
use skep_types::error_chain;

use crate::config::{ContainerConfig, Hook, HookPoint};

/// How long a program after the container's end may take that has no bound of its own, in seconds:
/// until then nobody hears that the container has ended.
const AFTER_END_S: u32 = 10;

/// As the runtime's specification has them, by their points; None where nothing is to be run.
pub fn spec(hooks: &[Hook]) -> Option<Value> {
    let mut all = json!({});
    for point in HookPoint::ALL {
        let of_point = hooks.iter().filter(|hook| hook.point == point);
        let of_point: Vec<Value> = of_point.map(one).collect();
        if !of_point.is_empty() {
            all[point.name()] = of_point.into();
        }
    }
    (!hooks.is_empty()).then_some(all)
}

fn one(hook: &Hook) -> Value {
    let mut value = json!({ "path": hook.path });
    if !hook.args.is_empty() {
        value["args"] = hook.args.clone().into();
    }
    if !hook.env.is_empty() {
        value["env"] = hook.env.clone().into();
    }
    if let Some(seconds) = hook.timeout_s {
        value["timeout"] = seconds.into();
    }
    value
}

/// What is to be run after the end of a container.
pub fn after_end(config: &ContainerConfig) -> Vec<Hook> {
    config.hooks.iter().filter(|hook| hook.point == HookPoint::Poststop).cloned().collect()
}

/// Runs each, whatever became of those before.
pub fn run_after_end(hooks: &[Hook], container: &mut Container) {
    container.state.status = ContainerStatus::Stopped;
    container.state.pid = None;
    for hook in hooks {
        let bounded = Hook { timeout_s: hook.timeout_s.or(Some(AFTER_END_S)), ..hook.clone() };
        let run = serde_json::from_value::<runtime::Hook>(one(&bounded))
            .map_err(|error| error.to_string())
            .and_then(|hook| {
                run_hooks(Some(&vec![hook]), Some(&container.state), None, None, None)
                    .map_err(|error| error_chain(&error))
            });
        if let Err(error) = run {
            eprintln!(
                "a program after the container's end failed: {}: {error}",
                hook.path.display()
            );
        }
    }
}
