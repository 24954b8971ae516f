//! Filters whose values are regular expressions, or a shell's patterns, compiled once and bounded.

use super::Filters;

/// A filter whose values are regular expressions, as Docker has it for names and ids of networks and containers.
#[derive(Debug, Clone)]
pub struct Patterns {
    /// `None`: everything passes.
    patterns: Option<Vec<Pattern>>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    /// `None` where the text is no expression: it then only equals itself.
    expression: Option<regex::Regex>,
}

/// The compiled size of one pattern: room for any sane one, and nothing to exhaust memory with.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

impl Patterns {
    pub fn new(filters: &Filters, name: &str) -> Self {
        let compile = |text: &str| Pattern {
            text: text.to_owned(),
            expression: regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().ok(),
        };
        let given = filters.0.get(name).filter(|set| !set.is_empty());
        Self { patterns: given.map(|set| set.iter().map(|text| compile(text)).collect()) }
    }

    pub fn matches(&self, value: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        patterns.iter().any(|pattern| {
            pattern.text == value
                || pattern.expression.as_ref().is_some_and(|expression| expression.is_match(value))
        })
    }
}

/// A shell's pattern: `*` and `?` stand for anything but a slash.
pub(super) fn glob(pattern: &str) -> Result<regex::Regex, regex::Error> {
    let mut expression = String::from("^");
    for part in pattern.chars() {
        match part {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            _ => expression.push_str(&regex::escape(part.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    regex::RegexBuilder::new(&expression).size_limit(PATTERN_BYTES_MAX).build()
}
