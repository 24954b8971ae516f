//! Objects in full: an indented JSON list, or a template over each.

use serde::Serialize;
use serde_json::Value;
use skep_docker_api::json::Whole;
use skep_template::{Mode, Template, TemplateError};

use super::print;
use crate::failure::{Failure, Outcome};

/// Shows what was found, then fails with what was not: Docker's order.
pub fn show(format: Option<&str>, found: Vec<Outcome<Document>>) -> Outcome {
    let template = match format.unwrap_or_default() {
        "" | "json" => None,
        text => Some(Template::parse(text)?),
    };
    let mut failures = Vec::new();
    let mut documents = Vec::new();
    for item in found {
        match item {
            Ok(document) => documents.push(document),
            Err(failure) => failures.push(failure),
        }
    }
    let written = |documents: Vec<Document>| documents.into_iter().map(|one| one.written);
    let text = match (&template, format) {
        (None, Some("json")) => format!("{}\n", written(documents).collect::<Value>()),
        (None, _) => format!("{}\n", indented(&written(documents).collect::<Vec<_>>())?),
        (Some(template), _) => {
            let mut text = String::new();
            for document in &documents {
                match document.render(template) {
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

/// A document as it is written, and as a template sees it: in Go a key that JSON leaves out has its zero.
pub struct Document {
    written: Value,
    whole: Value,
}

pub fn value<T: Serialize + Whole>(document: &T) -> Document {
    let written = serde_json::to_value(document).expect("API documents always serialise");
    Document { written, whole: document.whole() }
}

impl Document {
    /// One whose keys are called otherwise in Go than in JSON: `whole` is as Go has it.
    pub fn called(written: Value, whole: Value) -> Self {
        Self { written, whole }
    }

    /// One that has all its keys already.
    pub fn plain(value: Value) -> Self {
        Self { written: value.clone(), whole: value }
    }

    /// Adds a part to both.
    pub fn with(mut self, key: &str, part: &Value) -> Self {
        self.written[key] = part.clone();
        self.whole[key] = part.clone();
        self
    }

    /// `json` of a part writes what an answer would, so the whole document is only for keys that are left out.
    pub fn render(&self, template: &Template) -> Result<String, TemplateError> {
        template
            .render(&self.written, Mode::Row)
            .or_else(|_| template.render(&self.whole, Mode::Row))
    }
}
