//! The part of Go's `text/template` that people write after `--format` and in services, over JSON
//! documents.
//!
//! It has fields, variables, pipelines, `if`, `with`, `range`, Docker's functions and those of who
//! uses it; it has no definitions, blocks or methods.
//! Invariant: rendering ends: there are no loops but over a document that is already in memory.

mod eval;
mod functions;
mod parse;
pub mod service;

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {0}")]
pub struct TemplateError(String);

impl TemplateError {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Whether functions act, or pass what they were given: a table's header is its own template over the columns' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Row,
    Header,
}

/// Functions of who uses a template, looked at before those of all; none where it is not one's own.
pub type Functions<'a> = &'a dyn Fn(&str, &[Value]) -> Option<Result<Value, TemplateError>>;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, &[])
    }

    /// With functions of these names, too.
    pub fn parse_with(text: &str, names: &[&str]) -> Result<Self, TemplateError> {
        parse::parse(text, names).map(|nodes| Self { nodes })
    }

    pub fn render(&self, data: &Value, mode: Mode) -> Result<String, TemplateError> {
        eval::render(&self.nodes, data, mode, &|_, _| None)
    }

    /// With the functions that [`Self::parse_with`] was given the names of.
    pub fn render_with(
        &self,
        data: &Value,
        functions: Functions<'_>,
    ) -> Result<String, TemplateError> {
        eval::render(&self.nodes, data, Mode::Row, functions)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(template: &str, expected: Expect) {
        let data = json!({
            "Name": "web", "Replicas": 3, "On": true, "Off": false, "Empty": "",
            "Labels": {"b": "2", "a.dotted": "1"}, "Ports": [80, 443],
            "Spec": {"Name": "inner"}, "Nodes": [{"ID": "x"}, {"ID": "y"}],
        });
        let text = Template::parse(template).and_then(|t| t.render(&data, Mode::Row));
        expected.assert_eq(&text.unwrap_or_else(|error| error.to_string()));
    }

    #[test]
    fn fields_and_functions() {
        check("{{.Name}}: {{ .Spec.Name }}", expect!["web: inner"]);
        check("{{json .Ports}} {{json .Spec}}", expect![[r#"[80,443] {"Name":"inner"}"#]]);
        check("{{.Labels}} {{.Ports}}", expect!["map[a.dotted:1 b:2] [80 443]"]);
        check(r#"{{index .Labels "a.dotted"}} {{index .Ports 1}}"#, expect!["1 443"]);
        check(r#"{{.Name | upper | printf "%s-%v"}}"#, expect!["WEB-%!v(MISSING)"]);
        check(r#"{{printf "%s-%d %q" .Name .Replicas "a"}}"#, expect![[r#"web-3 "a""#]]);
        check(
            r#"{{join (split "a,b" ",") "+"}} {{len .Ports}} {{title "ab"}}"#,
            expect!["a+b 2 Ab"],
        );
        check("{{pad .Name 1 2}}|{{truncate .Name 2}}", expect![" web  |we"]);
    }

    #[test]
    fn control() {
        check(
            "{{if .On}}yes{{else}}no{{end}} {{if .Empty}}x{{else if .Off}}y{{else}}z{{end}}",
            expect!["yes z"],
        );
        check("{{range .Nodes}}{{.ID}},{{end}}", expect!["x,y,"]);
        check("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", expect!["a.dotted=1 b=2 "]);
        check(
            "{{range $i, $n := .Nodes}}{{$i}}{{$n.ID}}{{$.Name}} {{end}}",
            expect!["0xweb 1yweb "],
        );
        check("{{with .Spec}}{{.Name}}{{end}}{{with .Empty}}a{{else}}b{{end}}", expect!["innerb"]);
        check("a {{- .Name -}} b{{/* said */}}", expect!["awebb"]);
        check(
            r#"{{if and (eq .Name "web" "x") (gt .Replicas 2) (not .Off)}}ok{{end}}"#,
            expect!["ok"],
        );
    }

    #[test]
    fn functions_of_ones_own_come_first() {
        let functions = |name: &str, arguments: &[Value]| match (name, arguments) {
            ("secret", [name]) => Some(Ok(format!("<{}>", name.as_str()?).into())),
            ("upper", _) => Some(Err(TemplateError::new("not so loud"))),
            _ => None,
        };
        let shown = |text| {
            let template = Template::parse_with(text, &["secret"])?;
            template.render_with(&json!({"Name": "web"}), &functions)
        };
        assert_eq!(shown("{{secret .Name}} {{lower \"A\"}}").unwrap(), "<web> a");
        let error = shown("{{upper .Name}}").unwrap_err().to_string();
        assert_eq!(error, "template parsing error: not so loud");
        assert!(Template::parse("{{secret .Name}}").is_err());
    }

    #[test]
    fn faults_are_named() {
        check("{{.Nope}}", expect!["template parsing error: can't evaluate field Nope"]);
        check("{{.Name", expect!["template parsing error: unclosed action"]);
        check(
            "{{nope .Name}}",
            expect![[r#"template parsing error: function "nope" not defined"#]],
        );
        check("{{if .On}}", expect!["template parsing error: unexpected EOF"]);
        check("{{end}}", expect!["template parsing error: unexpected {{end}}"]);
        check(
            "{{.Name.First}}",
            expect!["template parsing error: can't evaluate field First in type string"],
        );
    }
}
