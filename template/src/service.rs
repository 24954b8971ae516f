//! What a service leaves open until it is known which task is made of it, and where: templates in
//! the environment, the host name and the mounts of its container, and payloads that are templates
//! themselves. Names and functions are SwarmKit's.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_types::ContainerSpec;

use crate::{Template, TemplateError};

/// What a template may name, as `{{.Service.Name}}`, `{{.Node.Hostname}}` or `{{.Task.Slot}}`.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub service_id: String,
    pub service_name: String,
    pub service_labels: BTreeMap<String, String>,
    pub node_id: String,
    pub node_hostname: String,
    pub node_os: String,
    pub node_architecture: String,
    pub task_id: String,
    pub task_name: String,
    /// The number of a replica; a global task's node.
    pub task_slot: String,
}

/// A template could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expanding {what} failed: {source}")]
pub struct ExpandError {
    what: String,
    source: TemplateError,
}

/// Where a payload's template reads beside the names: by the file names that its task has.
pub trait Reads {
    fn secret(&self, file: &str) -> Option<String>;
    fn config(&self, file: &str) -> Option<String>;
    /// Empty where there is none of that name.
    fn variable(&self, name: &str) -> String;
}

/// `join SEPARATOR TEXT…`: SwarmKit's, not the one of Docker's command line.
fn join(arguments: &[Value]) -> Result<Value, TemplateError> {
    let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_str).collect();
    match texts.as_deref() {
        Some([separator, parts @ ..]) => Ok(parts.join(separator).into()),
        _ => Err(TemplateError::new("join: expected a separator and texts")),
    }
}

impl Names {
    fn document(&self) -> Value {
        json!({
            "Service": {
                "ID": self.service_id, "Name": self.service_name, "Labels": self.service_labels,
            },
            "Node": {
                "ID": self.node_id, "Hostname": self.node_hostname,
                "Platform": { "Architecture": self.node_architecture, "OS": self.node_os },
            },
            "Task": { "ID": self.task_id, "Name": self.task_name, "Slot": self.task_slot },
        })
    }

    /// Fills in a container's templates. What is none stays as it is.
    ///
    /// # Errors
    /// One is malformed, or names what there is not.
    pub fn fill(&self, container: &mut ContainerSpec) -> Result<(), ExpandError> {
        let document = self.document();
        // The text is not repeated in the error: it may hold a password.
        let fill = |text: &mut String, what: &str| -> Result<(), ExpandError> {
            if !text.contains("{{") {
                return Ok(());
            }
            let functions =
                |name: &str, arguments: &[Value]| (name == "join").then(|| join(arguments));
            let filled = Template::parse(text).and_then(|it| it.render_with(&document, &functions));
            *text = filled.map_err(|source| ExpandError { what: what.to_owned(), source })?;
            Ok(())
        };
        fill(&mut container.hostname, "hostname")?;
        for pair in &mut container.env {
            // Of a pair only the value.
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, mut value) = (name.to_owned(), value.to_owned());
            fill(&mut value, &format!("env {name}"))?;
            *pair = format!("{name}={value}");
        }
        for mount in &mut container.mounts {
            fill(&mut mount.source, "mount source")?;
            fill(&mut mount.target, "mount target")?;
            for value in mount.volume_labels.values_mut() {
                fill(value, "volume label")?;
            }
            for value in
                mount.volume_driver.iter_mut().flat_map(|(_, options)| options.values_mut())
            {
                fill(value, "volume driver option")?;
            }
        }
        Ok(())
    }

    /// Fills in a payload that is a template; `kind` and `name` say which, for the error.
    ///
    /// # Errors
    /// It is no text, is malformed, or names or reads what there is not.
    pub fn fill_payload(
        &self,
        kind: &str,
        name: &str,
        data: &[u8],
        reads: &dyn Reads,
    ) -> Result<String, ExpandError> {
        let functions = |function: &str, arguments: &[Value]| {
            let read = |found: Option<String>, file: &str| {
                found.map(Value::from).ok_or_else(|| {
                    TemplateError::new(format!("{function} target {file} not found"))
                })
            };
            match (function, arguments) {
                ("join", arguments) => Some(join(arguments)),
                ("secret", [Value::String(file)]) => Some(read(reads.secret(file), file)),
                ("config", [Value::String(file)]) => Some(read(reads.config(file), file)),
                ("env", [Value::String(name)]) => Some(Ok(reads.variable(name).into())),
                _ => None,
            }
        };
        let filled = std::str::from_utf8(data)
            .map_err(|_| TemplateError::new("not UTF-8"))
            .and_then(|text| Template::parse_with(text, &["secret", "config", "env"]))
            .and_then(|template| template.render_with(&self.document(), &functions));
        filled.map_err(|source| ExpandError { what: format!("{kind} {name}"), source })
    }
}

#[cfg(test)]
mod tests {
    use skep_types::Mount;

    use super::*;

    fn names() -> Names {
        Names {
            service_name: "web".into(),
            service_labels: BTreeMap::from([("tier".into(), "front".into())]),
            node_hostname: "host2".into(),
            task_slot: "3".into(),
            ..Names::default()
        }
    }

    #[test]
    fn a_containers_templates_are_filled_in() {
        let mut container = ContainerSpec {
            hostname: "{{.Service.Name}}-{{.Task.Slot}}".into(),
            env: vec!["A={{.Node.Hostname}}=x".into(), "{{.Nope}}".into(), "B=plain".into()],
            // No template in Docker either.
            args: vec!["{{.Task.Slot}}".into()],
            mounts: vec![Mount {
                source: r#"data-{{join "-" .Task.Slot (index .Service.Labels "tier")}}"#.into(),
                volume_driver: Some((
                    "local".into(),
                    [("o".into(), "{{.Task.Slot}}".into())].into(),
                )),
                ..Mount::default()
            }],
            ..ContainerSpec::default()
        };
        names().fill(&mut container).unwrap();
        assert_eq!(container.hostname, "web-3");
        assert_eq!(container.env, ["A=host2=x", "{{.Nope}}", "B=plain"]);
        assert_eq!(container.args, ["{{.Task.Slot}}"]);
        assert_eq!(container.mounts[0].source, "data-3-front");
        assert_eq!(container.mounts[0].volume_driver.as_ref().unwrap().1["o"], "3");
        for (hostname, why) in [("{{.Task.Nope}}", "field Nope"), ("{{.Task", "unclosed action")] {
            let mut container = ContainerSpec { hostname: hostname.into(), ..Default::default() };
            let error = names().fill(&mut container).unwrap_err().to_string();
            assert!(error.starts_with("expanding hostname failed: "), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }

    struct Files;

    impl Reads for Files {
        fn secret(&self, file: &str) -> Option<String> {
            (file == "key").then(|| "hush".into())
        }
        fn config(&self, _: &str) -> Option<String> {
            None
        }
        fn variable(&self, name: &str) -> String {
            if name == "A" { "1".into() } else { String::new() }
        }
    }

    #[test]
    fn a_payload_reads_what_its_task_does() {
        let fill = |text: &str| names().fill_payload("config", "c", text.as_bytes(), &Files);
        let text = r#"{{.Service.Name}} {{secret "key"}} [{{env "A"}}{{env "B"}}]"#;
        assert_eq!(fill(text).unwrap(), "web hush [1]");
        let error = fill(r#"{{config "none"}}"#).unwrap_err().to_string();
        assert!(error.contains("expanding config c failed"), "{error}");
        assert!(error.contains("config target none not found"), "{error}");
    }
}
