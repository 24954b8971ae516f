//! A list of objects in the shape its reader asked for: Docker's table, ids alone, JSON lines, or a template.

use std::collections::BTreeMap;

use serde_json::Value;
use skep_template::{Mode, Template, TemplateError};

use super::{print, tabs};
use crate::failure::{EXIT_TEMPLATE, Failure, Outcome};

/// What a kind of object shows in lists.
pub struct Columns {
    /// Each name a template may use, with its header.
    pub headers: &'static [(&'static str, &'static str)],
    /// The table where nobody asks for another.
    pub table: &'static str,
}

/// What the flags of a list ask for.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    pub format: Option<String>,
    pub quiet: bool,
}

/// One object's cells, by column name.
pub type Row = BTreeMap<&'static str, Value>;

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        Self::with_status(EXIT_TEMPLATE, error.to_string())
    }
}

impl Columns {
    pub fn show(&self, shape: &Shape, rows: Vec<Row>) -> Outcome {
        print(&self.render(shape, rows)?)
    }

    pub fn render(&self, shape: &Shape, rows: Vec<Row>) -> Outcome<String> {
        let asked = match shape.format.as_deref() {
            None | Some("" | "table") if shape.quiet => "{{.ID}}",
            None | Some("" | "table") => self.table,
            Some("json") => "{{json .}}",
            Some(asked) => asked,
        };
        let rest = asked.strip_prefix("table");
        let text =
            rest.unwrap_or(asked).trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        let template = Template::parse(&text)?;
        let mut out = String::new();
        if rest.is_some() {
            let headers: BTreeMap<&str, Value> =
                self.headers.iter().map(|(name, header)| (*name, (*header).into())).collect();
            out.push_str(&template.render(&object(headers), Mode::Header)?);
            out.push('\n');
        }
        for row in rows {
            out.push_str(&template.render(&object(row), Mode::Row)?);
            out.push('\n');
        }
        Ok(if rest.is_some() { tabs::align(&out, tabs::LIST) } else { out })
    }
}

fn object(row: BTreeMap<&str, Value>) -> Value {
    Value::Object(row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const COLUMNS: Columns = Columns {
        headers: &[("ID", "ID"), ("Name", "NAME"), ("Self", "")],
        table: "table {{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Name}}",
    };

    fn check(format: Option<&str>, quiet: bool, expected: Expect) {
        let row = |id: &str, name: &str, own: bool| {
            Row::from([("ID", id.into()), ("Name", name.into()), ("Self", own.into())])
        };
        let shape = Shape { format: format.map(str::to_owned), quiet };
        let text = COLUMNS.render(&shape, vec![row("a1", "web", true), row("b2", "db", false)]);
        expected.assert_eq(&text.unwrap_or_else(|error| error.to_string()));
    }

    #[test]
    fn every_shape() {
        check(
            None,
            false,
            expect![[r#"
                ID        NAME
                a1 *      web
                b2        db
            "#]],
        );
        check(None, true, expect!["a1\nb2\n"]);
        check(
            Some("json"),
            false,
            expect![[r#"
            {"ID":"a1","Name":"web","Self":true}
            {"ID":"b2","Name":"db","Self":false}
        "#]],
        );
        check(
            Some(r"table {{upper .Name}}\t{{.ID}}"),
            false,
            expect![[r#"
            NAME      ID
            WEB       a1
            DB        b2
        "#]],
        );
        check(Some("{{.Name}}={{.ID}}"), true, expect!["web=a1\ndb=b2\n"]);
        check(
            Some("{{.Nope}}"),
            false,
            expect!["template parsing error: can't evaluate field Nope"],
        );
    }
}
