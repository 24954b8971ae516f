//! Objects in full: an indented JSON list, or a template over each.

use serde::Serialize;
use serde_json::Value;

use super::print;
use super::template::{Mode, Template};
use crate::failure::{Failure, Outcome};

/// Shows what was found, then fails with what was not: Docker's order.
pub fn show(format: Option<&str>, found: Vec<Outcome<Value>>) -> Outcome {
    let template = match format.unwrap_or_default() {
        "" | "json" => None,
        text => Some(Template::parse(text)?),
    };
    let mut failures = Vec::new();
    let mut values = Vec::new();
    for item in found {
        match item {
            Ok(value) => values.push(value),
            Err(failure) => failures.push(failure),
        }
    }
    let text = match (&template, format) {
        (None, Some("json")) => format!("{}\n", Value::Array(values)),
        (None, _) => format!("{}\n", indented(&values)?),
        (Some(template), _) => {
            let mut text = String::new();
            for value in &values {
                match template.render(value, Mode::Row) {
                    Ok(one) => text.push_str(&format!("{one}\n")),
                    Err(error) => failures.push(Failure::new(error.to_string())),
                }
            }
            if text.is_empty() { "\n".into() } else { text }
        }
    };
    print(&text)?;
    Failure::join(failures)
}

/// JSON with Docker's four spaces.
fn indented(values: &[Value]) -> Outcome<String> {
    if values.is_empty() {
        return Ok("[]".into());
    }
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    values
        .serialize(&mut serializer)
        .map_err(|error| Failure::new(format!("failed to write the answer as JSON: {error}")))?;
    Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
}

/// A document as a template sees it.
pub fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("API documents always serialise")
}
