//! Settings under `/proc/sys/net` of a namespace.

use std::borrow::Cow;
use std::fs;

use crate::netlink::flatten;
use crate::{KernelError, Namespace};

/// Writes settings, each as a path below `/proc/sys/net` and its value.
pub async fn write<V: Into<Cow<'static, str>>>(
    place: &Namespace,
    settings: Vec<(String, V)>,
) -> Result<(), KernelError> {
    for (key, value) in settings {
        let value = value.into();
        let path = format!("/proc/sys/net/{key}");
        let step = format!("set {path} to {value} in {place}");
        // The kernel shows the settings of the namespace of whoever opens the file.
        flatten(place.run(move || fs::write(path, value.as_bytes())).await)
            .map_err(KernelError::io(step))?;
    }
    Ok(())
}

/// Whether a setting has a value other than zero.
pub async fn is_set(place: &Namespace, key: &'static str) -> Result<bool, KernelError> {
    let step = format!("read /proc/sys/net/{key} in {place}");
    let read = move || fs::read_to_string(format!("/proc/sys/net/{key}"));
    let text = flatten(place.run(read).await).map_err(KernelError::io(step))?;
    Ok(text.trim() != "0")
}
