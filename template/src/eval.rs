//! A template's tree and a document to text. Invariant: the document is never changed.

use serde_json::Value;

use super::functions::{call, show, truth};
use super::parse::{Command, Node, Operand, Pipe};
use super::{Functions, Mode, TemplateError};

struct Scope<'a> {
    /// `$` and the variables in sight, innermost last.
    variables: Vec<(String, Value)>,
    mode: Mode,
    functions: Functions<'a>,
    out: &'a mut String,
}

pub fn render(
    nodes: &[Node],
    data: &Value,
    mode: Mode,
    functions: Functions<'_>,
) -> Result<String, TemplateError> {
    let mut out = String::new();
    let variables = vec![("$".into(), data.clone())];
    let mut scope = Scope { variables, mode, functions, out: &mut out };
    scope.list(nodes, data)?;
    Ok(out)
}

impl Scope<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        let depth = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.names.is_empty() {
                        self.out.push_str(&show(&value));
                    }
                }
                Node::If { test, then, otherwise } => {
                    let inner = self.variables.len();
                    let value = self.pipe(test, dot)?;
                    self.list(if truth(&value) { then } else { otherwise }, dot)?;
                    self.variables.truncate(inner);
                }
                Node::With { over, then, otherwise } => {
                    let inner = self.variables.len();
                    let value = self.pipe(over, dot)?;
                    if truth(&value) {
                        self.list(then, &value)?;
                    } else {
                        self.list(otherwise, dot)?;
                    }
                    self.variables.truncate(inner);
                }
                Node::Range { over, each, otherwise } => self.range(over, each, otherwise, dot)?,
            }
        }
        self.variables.truncate(depth);
        Ok(())
    }

    fn range(
        &mut self,
        over: &Pipe,
        each: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), TemplateError> {
        let depth = self.variables.len();
        let value = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Array(list) => {
                list.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect()
            }
            Value::Object(map) => {
                let mut items: Vec<_> = map.into_iter().collect();
                items.sort_by(|a, b| a.0.cmp(&b.0));
                items.into_iter().map(|(key, item)| (key.into(), item)).collect()
            }
            Value::Null => Vec::new(),
            other => {
                return Err(TemplateError(format!("range can't iterate over {}", show(&other))));
            }
        };
        if items.is_empty() {
            return self.list(otherwise, dot);
        }
        for (key, item) in items {
            match over.names.as_slice() {
                [] => {}
                [one] => self.variables.push((one.clone(), item.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
            }
            self.list(each, &item)?;
            self.variables.truncate(depth);
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.names {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(match command {
                Command::Value(_) if last.is_some() => {
                    return Err(TemplateError("non executable command in pipeline".into()));
                }
                Command::Value(operand) => self.operand(operand, dot)?,
                Command::Call { function, arguments } => {
                    let mut values = Vec::with_capacity(arguments.len() + 1);
                    for argument in arguments {
                        values.push(self.operand(argument, dot)?);
                    }
                    values.extend(last.take());
                    match (self.functions)(function, &values) {
                        Some(value) => value?,
                        None => call(function, values, self.mode)?,
                    }
                }
            });
        }
        Ok(last.expect("the parser gives every pipeline a command"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Dot(path) => fields(dot, path),
            Operand::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(have, _)| have == name);
                let (_, value) =
                    found.ok_or_else(|| TemplateError(format!("undefined variable {name:?}")))?;
                fields(value, path)
            }
            Operand::Pipe(pipe, path) => {
                let value = self.pipe(pipe, dot)?;
                fields(&value, path)
            }
        }
    }
}

fn fields(value: &Value, path: &[String]) -> Result<Value, TemplateError> {
    let mut at = value;
    for name in path {
        at = match at {
            Value::Object(map) => map
                .get(name)
                .ok_or_else(|| TemplateError(format!("can't evaluate field {name}")))?,
            Value::Null => {
                return Err(TemplateError(format!("nil pointer evaluating {name}")));
            }
            other => {
                let kind = match other {
                    Value::String(_) => "string",
                    Value::Array(_) => "slice",
                    Value::Bool(_) => "bool",
                    _ => "number",
                };
                return Err(TemplateError(format!("can't evaluate field {name} in type {kind}")));
            }
        };
    }
    Ok(at.clone())
}
