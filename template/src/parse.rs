//! Text of a template to its tree. It knows the names of functions, not what they do.

use serde_json::Value;

use super::TemplateError;
use super::functions::NAMES;

/// A piece of a template.
#[derive(Debug, Clone)]
pub enum Node {
    Text(String),
    Print(Pipe),
    If { test: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    With { over: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipe, each: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each given the value of the one before; the last value is also named, where names stand.
#[derive(Debug, Clone)]
pub struct Pipe {
    pub names: Vec<String>,
    pub commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub enum Command {
    Value(Operand),
    Call { function: String, arguments: Vec<Operand> },
}

#[derive(Debug, Clone)]
pub enum Operand {
    Literal(Value),
    /// The fields below the current document.
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Pipe(Box<Pipe>, Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `.`, `.A.B`, `$x.A`: with its leading character.
    Path(String),
    Literal(Value),
    Open,
    Close,
    Bar,
    Comma,
    Assign,
}

fn fault<T>(text: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(text.into()))
}

/// `names` are functions that it may call beside those of all.
pub fn parse(text: &str, names: &[&str]) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces(text)?.into_iter();
    let (nodes, end) = list(&mut pieces, 0, names)?;
    match end {
        None => Ok(nodes),
        Some(tokens) => fault(format!("unexpected {{{{{}}}}}", word(&tokens))),
    }
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// How deep blocks and parentheses may lie in each other; people write three or four.
const DEPTH_MAX: usize = 64;

/// Cuts text from actions, and trims where an action says so.
fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let Some(start) = rest.find("{{") else {
            out.push(Piece::Text(if trim { rest.trim_start() } else { rest }.into()));
            return Ok(out);
        };
        let mut before = &rest[..start];
        let mut action = &rest[start + 2..];
        if trim {
            before = before.trim_start();
        }
        if let Some(cut) =
            action.strip_prefix('-').filter(|cut| cut.starts_with(char::is_whitespace))
        {
            before = before.trim_end();
            action = cut;
        }
        if !before.is_empty() {
            out.push(Piece::Text(before.into()));
        }
        let trimmed = action.trim_start();
        let length = if trimmed.starts_with("/*") {
            let Some(end) = trimmed.find("*/") else { return fault("unclosed comment") };
            action = &trimmed[end + 2..];
            let Some(length) = action.find("}}") else { return fault("unclosed action") };
            trim = action[..length].trim() == "-";
            length
        } else {
            let (tokens, length) = tokens(action)?;
            out.push(Piece::Action(tokens));
            trim = action[..length]
                .strip_suffix('-')
                .is_some_and(|cut| cut.ends_with(char::is_whitespace));
            length
        };
        rest = &action[length + 2..];
    }
}

/// The tokens up to `}}`, and how many bytes stand before it.
fn tokens(text: &str) -> Result<(Vec<Token>, usize), TemplateError> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return fault("unclosed action") };
        let mut used = first.len_utf8();
        match first {
            '}' if rest.starts_with("}}") => return Ok((out, at)),
            '-' if rest[1..].trim_start().starts_with("}}") => {}
            _ if first.is_whitespace() => {}
            '(' => out.push(Token::Open),
            ')' => {
                out.push(Token::Close);
                // `(…).Field`
                let path = name(&rest[1..], true);
                if path.starts_with('.') {
                    out.push(Token::Path(path.into()));
                    used += path.len();
                }
            }
            '|' => out.push(Token::Bar),
            ',' => out.push(Token::Comma),
            ':' if rest.starts_with(":=") => {
                out.push(Token::Assign);
                used = 2;
            }
            '=' => out.push(Token::Assign),
            '"' => {
                let end = closing(rest);
                let Some(end) = end else { return fault("unterminated quoted string") };
                let literal = serde_json::from_str(&rest[..=end])
                    .map_err(|_| TemplateError(format!("invalid string {}", &rest[..=end])))?;
                out.push(Token::Literal(literal));
                used = end + 1;
            }
            '`' => {
                let Some(end) = rest[1..].find('`') else {
                    return fault("unterminated raw quoted string");
                };
                out.push(Token::Literal(rest[1..=end].into()));
                used = end + 2;
            }
            '.' | '$' => {
                let path = &rest[..1 + name(&rest[1..], true).len()];
                out.push(Token::Path(path.into()));
                used = path.len();
            }
            '0'..='9' | '-' => {
                let digits =
                    rest[1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
                let number =
                    serde_json::from_str::<serde_json::Number>(&rest[..=digits]).map_err(|_| {
                        TemplateError(format!("bad number syntax: {:?}", &rest[..=digits]))
                    })?;
                out.push(Token::Literal(Value::Number(number)));
                used = digits + 1;
            }
            _ => {
                let word = name(rest, false);
                if word.is_empty() {
                    return fault(format!("unexpected {first:?} in command"));
                }
                used = word.len();
                out.push(match word {
                    "true" => Token::Literal(true.into()),
                    "false" => Token::Literal(false.into()),
                    "nil" => Token::Literal(Value::Null),
                    _ => Token::Word(word.into()),
                });
            }
        }
        at += used;
    }
}

/// Where the quote that `text` begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end.then_some(at)
    })
}

/// The identifier that `text` begins with; with dots, a path.
fn name(text: &str, dots: bool) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || dots && c == '.'));
    &text[..end.unwrap_or(text.len())]
}

fn word(tokens: &[Token]) -> &str {
    match tokens.first() {
        Some(Token::Word(word)) => word,
        _ => "",
    }
}

type Pieces = std::vec::IntoIter<Piece>;

/// Nodes up to the text's end, or to the `end` or `else` that closes them, which is given back.
fn list(
    pieces: &mut Pieces,
    depth: usize,
    names: &[&str],
) -> Result<(Vec<Node>, Option<Vec<Token>>), TemplateError> {
    if depth > DEPTH_MAX {
        return fault("blocks lie too deep in each other");
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        match word(&tokens) {
            "end" | "else" => return Ok((nodes, Some(tokens))),
            "if" | "with" | "range" => nodes.push(block(pieces, tokens, depth + 1, names)?),
            "template" | "block" | "define" | "break" | "continue" => {
                return fault(format!("{{{{{}}}}} is not supported", word(&tokens)));
            }
            _ if tokens.is_empty() => return fault("missing value for command"),
            _ => nodes.push(Node::Print(whole(&tokens, names)?)),
        }
    }
    Ok((nodes, None))
}

fn block(
    pieces: &mut Pieces,
    tokens: Vec<Token>,
    depth: usize,
    names: &[&str],
) -> Result<Node, TemplateError> {
    let pipe = whole(&tokens[1..], names)?;
    let (body, end) = list(pieces, depth, names)?;
    let Some(end) = end else { return fault("unexpected EOF") };
    let otherwise = match (word(&end), end.get(1)) {
        ("end", _) => Vec::new(),
        (_, None) => match list(pieces, depth, names)? {
            (nodes, Some(end)) if word(&end) == "end" => nodes,
            (_, Some(_)) => return fault("unexpected {{else}}"),
            (_, None) => return fault("unexpected EOF"),
        },
        // `else if …` shares the `end` of the block it continues.
        (_, Some(Token::Word(_))) => vec![block(pieces, end[1..].to_vec(), depth + 1, names)?],
        (_, Some(_)) => return fault("unexpected operand in else"),
    };
    Ok(match word(&tokens) {
        "if" => Node::If { test: pipe, then: body, otherwise },
        "with" => Node::With { over: pipe, then: body, otherwise },
        "range" => Node::Range { over: pipe, each: body, otherwise },
        other => return fault(format!("unexpected {other} after else")),
    })
}

fn whole(tokens: &[Token], names: &[&str]) -> Result<Pipe, TemplateError> {
    let mut rest = tokens;
    let pipe = pipe(&mut rest, 0, names)?;
    if rest.is_empty() { Ok(pipe) } else { fault("unexpected right paren") }
}

fn pipe(tokens: &mut &[Token], depth: usize, names: &[&str]) -> Result<Pipe, TemplateError> {
    if depth > DEPTH_MAX {
        return fault("parentheses lie too deep in each other");
    }
    let mut variables = Vec::new();
    if let Some(assign) = tokens.iter().position(|token| *token == Token::Assign) {
        for token in &tokens[..assign] {
            match token {
                Token::Path(path) if path.starts_with('$') => variables.push(path.clone()),
                Token::Comma => {}
                _ => return fault("unexpected := in command"),
            }
        }
        *tokens = &tokens[assign + 1..];
    }
    let mut commands = Vec::new();
    loop {
        let mut operands = Vec::new();
        let mut function = None;
        while let Some(token) = tokens.first() {
            match token {
                Token::Bar | Token::Close => break,
                Token::Word(word) if operands.is_empty() && function.is_none() => {
                    if !known(word, names) {
                        return fault(format!("function {word:?} not defined"));
                    }
                    function = Some(word.clone());
                    *tokens = &tokens[1..];
                }
                _ => operands.push(operand(tokens, depth, names)?),
            }
        }
        commands.push(match function {
            Some(function) => Command::Call { function, arguments: operands },
            None if operands.len() == 1 => Command::Value(operands.remove(0)),
            None if operands.is_empty() => return fault("missing value for command"),
            None => return fault("can't give argument to non-function"),
        });
        match tokens.first() {
            Some(Token::Bar) => *tokens = &tokens[1..],
            _ => return Ok(Pipe { names: variables, commands }),
        }
    }
}

fn known(function: &str, names: &[&str]) -> bool {
    NAMES.contains(&function) || names.contains(&function)
}

fn operand(tokens: &mut &[Token], depth: usize, names: &[&str]) -> Result<Operand, TemplateError> {
    let (first, rest) = tokens.split_first().expect("the caller saw a token");
    *tokens = rest;
    let fields =
        |path: &str| path.split('.').filter(|f| !f.is_empty()).map(str::to_owned).collect();
    Ok(match first {
        Token::Literal(value) => Operand::Literal(value.clone()),
        Token::Path(path) if path.starts_with('$') => {
            let (name, path) = path.split_at(path.find('.').unwrap_or(path.len()));
            Operand::Variable(name.into(), fields(path))
        }
        Token::Path(path) => Operand::Dot(fields(path)),
        Token::Open => {
            let inner = pipe(tokens, depth + 1, names)?;
            let Some((Token::Close, rest)) = tokens.split_first() else {
                return fault("unclosed left paren");
            };
            *tokens = rest;
            let mut path = Vec::new();
            if let Some((Token::Path(text), rest)) = tokens.split_first()
                && text.starts_with('.')
                && text.len() > 1
            {
                path = fields(text);
                *tokens = rest;
            }
            Operand::Pipe(Box::new(inner), path)
        }
        Token::Word(word) if known(word, names) => Operand::Pipe(
            Box::new(Pipe {
                names: Vec::new(),
                commands: vec![Command::Call { function: word.clone(), arguments: Vec::new() }],
            }),
            Vec::new(),
        ),
        Token::Word(word) => return fault(format!("function {word:?} not defined")),
        _ => return fault("unexpected token in operand"),
    })
}
