//! Flags for what a service may have only on nodes whose operators allow it. They go as labels of
//! the container's spec, as Docker's own command would have to write them.

use skep_docker_api::json::{DeviceMapping, Map};
use skep_types::privilege::{self, DEVICES, Device, PRIVILEGED};

use crate::failure::{Failure, Outcome};
use crate::values;

/// Changes the labels of a spec; without anything to change they stay as they are. A device is known
/// by its path in the container.
pub fn change(
    labels: &mut Map,
    privileged: Option<bool>,
    add: &[DeviceMapping],
    remove: &[String],
) -> Outcome {
    match privileged {
        Some(true) => drop(labels.insert(PRIVILEGED.to_owned(), "true".to_owned())),
        Some(false) => drop(labels.remove(PRIVILEGED)),
        None => {}
    }
    if add.is_empty() && remove.is_empty() {
        return Ok(());
    }
    let given = labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let asked = privilege::of(&given).map_err(|error| Failure::new(error.to_string()))?;
    let mut devices = asked.devices;
    devices.retain(|device| !remove.contains(&device.in_container));
    for added in add {
        let device = Device {
            on_host: added.path_on_host.clone(),
            in_container: added.path_in_container.clone(),
            access: added.cgroup_permissions.clone(),
        };
        match devices.iter_mut().find(|it| it.in_container == device.in_container) {
            Some(stands) => *stands = device,
            None => devices.push(device),
        }
    }
    // A comma would be read as the end of one.
    if let Some(bad) = devices.iter().find(|it| it.to_string().contains(',')) {
        return Err(Failure::new(format!("a device of a service cannot have a comma: {bad}")));
    }
    let text: Vec<String> = devices.iter().map(ToString::to_string).collect();
    match text.is_empty() {
        true => drop(labels.remove(DEVICES)),
        false => drop(labels.insert(DEVICES.to_owned(), text.join(","))),
    }
    Ok(())
}

/// Checked here as `run` does; what it comes to the swarm says.
pub fn gpus(text: &str) -> Result<String, String> {
    values::device::gpus(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(text: &str) -> DeviceMapping {
        values::device::mapping(text).unwrap()
    }

    #[test]
    fn flags_are_labels() {
        let mut labels = Map::new();
        let fuse = [mapping("/dev/fuse")];
        change(&mut labels, Some(true), &fuse, &[]).unwrap();
        assert_eq!(labels[PRIVILEGED], "true");
        assert_eq!(labels[DEVICES], "/dev/fuse:/dev/fuse:rwm");
        // Another with that path takes its place; one is taken away by its path.
        let more = [mapping("/dev/null:/dev/fuse:r"), mapping("/dev/tty:/dev/x")];
        change(&mut labels, None, &more, &[]).unwrap();
        assert_eq!(labels[DEVICES], "/dev/null:/dev/fuse:r,/dev/tty:/dev/x:rwm");
        assert_eq!(labels[PRIVILEGED], "true");
        change(&mut labels, Some(false), &[], &["/dev/fuse".to_owned()]).unwrap();
        assert_eq!(labels, Map::from([(DEVICES.to_owned(), "/dev/tty:/dev/x:rwm".to_owned())]));
        change(&mut labels, None, &[], &["/dev/x".to_owned()]).unwrap();
        assert_eq!(labels, Map::new());
        let comma = change(&mut labels, None, &[mapping("/dev/a,b")], &[]).unwrap_err();
        assert!(comma.to_string().contains("cannot have a comma"), "{comma}");
    }
}
