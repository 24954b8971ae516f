//! Shapes: what a value may look like, and the check of a tree against one.
//!
//! All faults are gathered and the deepest is told, a wrong type before others, as Docker does:
//! the deeper a fault, the likelier it is what the author wrote.

use crate::error::{At, Problem};
use crate::node::{Node, Value, fingerprint};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Integer,
    Boolean,
    Null,
}

/// A rule for text (or a number that stands for text).
#[derive(Debug)]
pub(crate) struct Format {
    pub name: &'static str,
    pub valid: fn(&str) -> bool,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Any,
    Scalar(&'static [Kind]),
    Formatted(&'static [Kind], &'static Format),
    Words(&'static [&'static str]),
    /// A whole number not below zero.
    Size,
    List(&'static Shape),
    /// No item twice.
    Set(&'static Shape),
    Map(&'static Fields),
    /// The one of these that has the value's type.
    Either(&'static [Shape]),
}

/// What a map may hold.
#[derive(Debug)]
pub(crate) struct Fields {
    pub known: &'static [(&'static str, Shape)],
    pub required: &'static [&'static str],
    pub others: Others,
    pub or_null: bool,
}

/// Keys that are not known by name.
#[derive(Debug)]
pub(crate) enum Others {
    /// Only `x-…`. DEVIATION: everywhere, as in the Compose Specification; Docker takes them at
    /// the top, in services and in objects.
    Extensions,
    /// Names of objects, and `x-…`.
    Named(&'static Shape),
    /// Any key, with values of a shape.
    Values(&'static Shape),
    /// Anything.
    Free,
}

struct Fault {
    depth: usize,
    wrong_type: bool,
    at: At,
    message: String,
}

/// Holds where `node` has the shape.
pub(crate) fn check(node: &Node, shape: &Shape) -> Result<(), Problem> {
    let mut faults = Vec::new();
    visit(node, shape, &mut Vec::new(), &mut faults);
    // Ties go to the earlier spot.
    faults.sort_by_key(|fault| (usize::MAX - fault.depth, !fault.wrong_type, fault.at));
    match faults.into_iter().next() {
        Some(fault) => Err(fault.at.problem(fault.message)),
        None => Ok(()),
    }
}

fn visit(node: &Node, shape: &Shape, path: &mut Vec<String>, faults: &mut Vec<Fault>) {
    if !fits(node, shape) {
        faults.push(fault(node, path, true, &format!("must be a {}", expected(shape))));
        return;
    }
    match shape {
        Shape::Any | Shape::Scalar(_) => {}
        Shape::Formatted(_, format) => {
            if !node.scalar().is_some_and(|text| (format.valid)(&text)) {
                let message = format!("Does not match format '{}'", format.name);
                faults.push(fault(node, path, false, &message));
            }
        }
        Shape::Words(words) => {
            if !node.as_str().is_some_and(|text| words.contains(&text)) {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                let message = format!("must be one of the following: {}", words.join(", "));
                faults.push(fault(node, path, false, &message));
            }
        }
        Shape::Size => {
            if node.as_int().is_some_and(|size| size < 0) {
                faults.push(fault(node, path, false, "Must be greater than or equal to 0"));
            }
        }
        Shape::List(item) => visit_items(node, item, path, faults),
        Shape::Set(item) => {
            let mut seen = std::collections::BTreeMap::new();
            for (index, item) in node.items().iter().enumerate() {
                if let Some(first) = seen.insert(fingerprint(item), index) {
                    let message = format!("array items[{first},{index}] must be unique");
                    faults.push(fault(item, path, false, &message));
                }
            }
            visit_items(node, item, path, faults);
        }
        Shape::Map(fields) => visit_map(node, fields, path, faults),
        Shape::Either(shapes) => {
            let shape = shapes.iter().find(|shape| fits(node, shape));
            visit(node, shape.expect("one fits, or the whole would not"), path, faults);
        }
    }
}

fn visit_items(node: &Node, shape: &Shape, path: &mut Vec<String>, faults: &mut Vec<Fault>) {
    for (index, item) in node.items().iter().enumerate() {
        path.push(index.to_string());
        visit(item, shape, path, faults);
        path.pop();
    }
}

fn visit_map(node: &Node, fields: &Fields, path: &mut Vec<String>, faults: &mut Vec<Fault>) {
    if node.is_null() {
        return;
    }
    for name in fields.required {
        if node.get(name).is_none() {
            faults.push(fault(node, path, false, &format!("{name} is required")));
        }
    }
    for (key, value) in node.entries() {
        let known = fields.known.iter().find(|(name, _)| name == key).map(|(_, shape)| shape);
        let extension = key.starts_with("x-");
        let shape = known.or(match fields.others {
            // An object may be called `x-…`; only a map is one.
            Others::Named(shape)
                if is_object_name(key) && (!extension || value.as_map().is_some()) =>
            {
                Some(shape)
            }
            Others::Values(shape) if !key.is_empty() => Some(shape),
            Others::Extensions | Others::Named(_) if extension => Some(&Shape::Any),
            Others::Free => Some(&Shape::Any),
            _ => None,
        });
        let Some(shape) = shape else {
            let message = format!("Additional property {key} is not allowed");
            faults.push(fault(value, path, false, &message));
            continue;
        };
        path.push(key.clone());
        visit(value, shape, path, faults);
        path.pop();
    }
}

/// What Compose lets services and objects be called.
pub(crate) fn is_object_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.chars().all(valid)
}

fn fault(node: &Node, path: &[String], wrong_type: bool, message: &str) -> Fault {
    let field = if path.is_empty() { "(root)".to_owned() } else { path.join(".") };
    Fault { depth: path.len(), wrong_type, at: node.at, message: format!("{field} {message}") }
}

fn fits(node: &Node, shape: &Shape) -> bool {
    let of = |kinds: &[Kind]| {
        kinds.iter().any(|kind| match kind {
            Kind::Text => node.as_str().is_some(),
            Kind::Number => node.as_number().is_some(),
            Kind::Integer => node.as_int().is_some(),
            Kind::Boolean => node.as_bool().is_some(),
            Kind::Null => node.is_null(),
        })
    };
    match shape {
        Shape::Any => true,
        Shape::Scalar(kinds) | Shape::Formatted(kinds, _) => of(kinds),
        Shape::Words(_) => of(&[Kind::Text]),
        Shape::Size => of(&[Kind::Integer]),
        Shape::List(_) | Shape::Set(_) => matches!(node.value, Value::List(_)),
        Shape::Map(fields) => node.as_map().is_some() || (fields.or_null && node.is_null()),
        Shape::Either(shapes) => shapes.iter().any(|shape| fits(node, shape)),
    }
}

/// The type in words. Of several shapes the first is named, as Docker does.
fn expected(shape: &Shape) -> String {
    let words = |kinds: &[Kind]| {
        let mut words: Vec<_> = kinds
            .iter()
            .map(|kind| match kind {
                Kind::Text => "string",
                Kind::Number => "number",
                Kind::Integer => "integer",
                Kind::Boolean => "boolean",
                Kind::Null => "null",
            })
            .collect();
        let last = words.pop().unwrap_or_default();
        if words.is_empty() { last.to_owned() } else { format!("{} or {last}", words.join(", ")) }
    };
    match shape {
        Shape::Any => "value".to_owned(),
        Shape::Scalar(kinds) | Shape::Formatted(kinds, _) => words(kinds),
        Shape::Words(_) => "string".to_owned(),
        Shape::Size => "integer".to_owned(),
        Shape::List(_) | Shape::Set(_) => "list".to_owned(),
        Shape::Map(fields) if fields.or_null => "mapping or null".to_owned(),
        Shape::Map(_) => "mapping".to_owned(),
        Shape::Either(shapes) => shapes.first().map(expected).unwrap_or_default(),
    }
}
