//! Variables in a whole document: each value's text is a template; keys are not.
//!
//! Text that a variable changed takes the type its place asks for, so that
//! `replicas: ${REPLICAS}` is a number.

use std::collections::BTreeSet;

use crate::error::{At, Problem};
use crate::node::{Node, Value};
use crate::read::template::{Fault, VALUE_BYTES_MAX, substitute};

/// All values of a document together; a variable of many kilobytes used in every line ends here.
const EXPANDED_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) struct Interpolator<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    unset: &'a mut BTreeSet<String>,
    expanded_bytes: usize,
}

impl<'a> Interpolator<'a> {
    /// Names that have no value are added to `unset`.
    pub(crate) fn new(
        lookup: &'a dyn Fn(&str) -> Option<String>,
        unset: &'a mut BTreeSet<String>,
    ) -> Self {
        Self { lookup, unset, expanded_bytes: 0 }
    }

    pub(crate) fn document(&mut self, node: &mut Node) -> Result<(), Problem> {
        self.visit(node, &mut Vec::new())
    }

    fn visit(&mut self, node: &mut Node, path: &mut Vec<String>) -> Result<(), Problem> {
        match &mut node.value {
            Value::List(items) => {
                path.push("[]".to_owned());
                for item in items {
                    self.visit(item, path)?;
                }
                path.pop();
            }
            Value::Map(map) => {
                for (key, value) in map {
                    path.push(key.clone());
                    self.visit(value, path)?;
                    path.pop();
                }
            }
            Value::Text(text) if text.contains('$') => {
                let new = self.text(node.at, text, path)?;
                if new != *text {
                    node.value = cast(node.at, new, path)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, at: At, text: &str, path: &[String]) -> Result<String, Problem> {
        let path = path.join(".");
        let mut unset = |name: &str| {
            self.unset.insert(name.to_owned());
        };
        let new = substitute(text, self.lookup, &mut unset).map_err(|fault| match fault {
            Fault::Format => at.problem(format!(
                "invalid interpolation format for {path}: {text:?}; you may need to escape any $ \
                 with another $"
            )),
            Fault::TooLarge => at.problem(format!(
                "error while interpolating {path}: value is larger than {VALUE_BYTES_MAX} bytes"
            )),
            Fault::Missing { name, message } => at.problem(format!(
                "error while interpolating {path}: required variable {name} is missing a value: \
                 {message}"
            )),
        })?;
        self.expanded_bytes += new.len();
        if self.expanded_bytes > EXPANDED_BYTES_MAX {
            return Err(at.problem(format!(
                "error while interpolating {path}: values are too large: expected at most \
                 {EXPANDED_BYTES_MAX} bytes together"
            )));
        }
        Ok(new)
    }
}

#[derive(Clone, Copy)]
enum Cast {
    Text,
    Int,
    Float,
    Bool,
}

/// What type the value at a place has.
fn wanted(path: &[&str]) -> Cast {
    match path {
        ["services", _, rest @ ..] => match rest {
            ["configs" | "secrets", "[]", "mode"]
            | ["healthcheck", "retries"]
            | ["deploy", "replicas"]
            | ["deploy", "update_config" | "rollback_config", "parallelism"]
            | ["deploy", "restart_policy", "max_attempts"]
            | ["deploy", "placement", "max_replicas_per_node"]
            | ["deploy", "resources", "limits", "pids"]
            | ["ports", "[]", "target" | "published"]
            | ["ulimits", _]
            | ["ulimits", _, "hard" | "soft"]
            | ["oom_score_adj"] => Cast::Int,
            ["deploy", "update_config" | "rollback_config", "max_failure_ratio"] => Cast::Float,
            ["healthcheck", "disable"]
            | ["privileged" | "read_only" | "stdin_open" | "tty" | "init"]
            | ["volumes", "[]", "read_only"]
            | ["volumes", "[]", "volume", "nocopy"]
            | ["env_file", "[]", "required"] => Cast::Bool,
            _ => Cast::Text,
        },
        ["networks", _, "external" | "internal" | "attachable" | "enable_ipv6"]
        | ["volumes" | "secrets" | "configs", _, "external"] => Cast::Bool,
        _ => Cast::Text,
    }
}

fn cast(at: At, text: String, path: &[String]) -> Result<Value, Problem> {
    let parts: Vec<_> = path.iter().map(String::as_str).collect();
    let failed = |what: String| {
        at.problem(format!(
            "error while interpolating {}: failed to cast to expected type: {what}",
            path.join(".")
        ))
    };
    Ok(match wanted(&parts) {
        Cast::Text => Value::Text(text),
        Cast::Int => match text.parse::<i64>() {
            Ok(value) => Value::Int(value.into()),
            Err(_) => return Err(failed("invalid integer".to_owned())),
        },
        Cast::Float => match text.parse::<f64>().ok().filter(|value| value.is_finite()) {
            Some(value) => Value::Float(value),
            None => return Err(failed("invalid number".to_owned())),
        },
        Cast::Bool => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" | "on" => Value::Bool(true),
            "n" | "no" | "false" | "off" => Value::Bool(false),
            _ => return Err(failed("invalid boolean".to_owned())),
        },
    })
}
