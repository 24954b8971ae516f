//! Arguments to a command, and what is wrong with them in Docker's words and with its exit status.
//!
//! clap reads; what it says of errors is not shown. Invariant: nothing is called when this fails.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command, CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::failure::{EXIT_FAILURE, EXIT_USAGE, Failure};
use crate::output;
use crate::positionals;
use crate::values::integer;

pub enum Asked {
    Run(Box<Cli>),
    /// Help or version: printed, and all is well.
    Show(String),
}

pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Asked, Failure> {
    let arguments = positionals::fence(&Cli::command(), arguments.collect());
    let error = match lenient(Cli::command()).try_get_matches_from(&arguments) {
        Ok(matches) => match Cli::from_arg_matches(&matches) {
            Ok(cli) if cli.version => return Ok(Asked::Show(version())),
            Ok(Cli { command: None, .. }) => return Ok(Asked::Show(help(&[]))),
            Ok(cli) => return Ok(Asked::Run(Box::new(cli))),
            Err(error) => error,
        },
        Err(error) => error,
    };
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (path, rest) = walk(&words);
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => {
            // As Docker, which shows it all the same.
            let asked = rest.iter().find(|word| matches!(word.as_str(), "-h" | "--help"));
            if !path.is_empty() && asked.is_some_and(|word| word == "-h") {
                output::warn("Flag shorthand -h has been deprecated, use --help");
            }
            Ok(Asked::Show(help(&path)))
        }
        _ => Err(explain(&error, &path, rest)),
    }
}

pub fn version() -> String {
    format!("skep version {}\n", env!("CARGO_PKG_VERSION"))
}

/// The whole grammar, for help and completion.
pub fn grammar() -> Command {
    fn styled(command: Command, path: &str) -> Command {
        let leaf = command.get_subcommands().next().is_none();
        let command = match leaf || path == "skep" {
            true => command,
            false => command.override_usage(format!("{path} COMMAND")),
        };
        // In the order of their names, as pflag shows them.
        let mut names: Vec<String> =
            command.get_arguments().filter_map(|one| one.get_long().map(str::to_owned)).collect();
        names.sort();
        let command = command
            .help_template(if leaf {
                "Usage:  {usage}\n\n{about}\n\n{all-args}"
            } else {
                "Usage:  {usage}\n\n{about}\n\nCommands:\n{subcommands}\n\nOptions:\n{options}"
            })
            .mut_args(|argument| {
                let place =
                    argument.get_long().and_then(|long| names.iter().position(|name| name == long));
                let argument = argument.display_order(place.unwrap_or(0));
                match argument.get_action() {
                    ArgAction::Help => argument.help("Print usage"),
                    _ => argument,
                }
            });
        command.mut_subcommands(|inner| {
            let path = format!("{path} {}", inner.get_name());
            styled(inner, &path)
        })
    }
    let mut command = styled(Cli::command(), "skep");
    command.build();
    command
}

fn help(path: &[String]) -> String {
    let mut command = find(grammar(), path);
    let text = command.render_help().to_string();
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    if command.get_subcommands().next().is_some() {
        let name = named(path);
        text.push_str(&format!(
            "\nRun '{name} COMMAND --help' for more information on a command.\n"
        ));
    }
    text
}

/// Docker's flags: a switch takes `=false`, and of a flag given twice the last counts.
fn lenient(command: Command) -> Command {
    command
        .args_override_self(true)
        .mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(integer::truth)
                .default_missing_value("true")
                .default_value("false"),
            // The word behind a flag is its value, whatever it begins with.
            ArgAction::Set | ArgAction::Append
                if !argument.is_positional() && !argument.is_require_equals_set() =>
            {
                argument.allow_hyphen_values(true)
            }
            _ => argument,
        })
        .mut_subcommands(lenient)
}

/// The commands named by leading words, and the words behind the last of them.
fn walk(words: &[String]) -> (Vec<String>, &[String]) {
    let mut command = Cli::command();
    let mut path = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if let Some(found) = command.find_subcommand(word).cloned() {
            path.push(found.get_name().to_owned());
            command = found;
            at += 1;
        } else if path.is_empty() && word.starts_with('-') {
            at += if positionals::takes_next(&command, word) { 2 } else { 1 };
        } else {
            break;
        }
    }
    (path, &words[at.min(words.len())..])
}

fn find(mut command: Command, path: &[String]) -> Command {
    for name in path {
        match command.find_subcommand(name).cloned() {
            Some(found) => command = found,
            None => break,
        }
    }
    command
}

fn named(path: &[String]) -> String {
    std::iter::once("skep").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

fn explain(error: &clap::Error, path: &[String], rest: &[String]) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(list)) => list.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    let command = find(grammar(), path);
    match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument
            if command.get_subcommands().next().is_some() && !argument.starts_with('-') =>
        {
            let wrong = rest.first().map(String::as_str).unwrap_or_default();
            // Docker shows a group's usage, but not its own: its list of commands is long.
            let usage = if path.is_empty() {
                String::new()
            } else {
                format!("Usage:  {}\n\n", named(path))
            };
            let name = named(path);
            let message = format!(
                "skep: unknown command: {name} {wrong}\n\n{usage}Run '{name} --help' for more information"
            );
            Failure::with_status(EXIT_FAILURE, message)
        }
        ErrorKind::UnknownArgument if flag.starts_with("--") => {
            fault(format!("unknown flag: {flag}"), &command, path)
        }
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            let word = rest.iter().find(|word| word.contains(letter) && word.starts_with('-'));
            let word = word.map_or(flag, String::as_str);
            fault(format!("unknown shorthand flag: {letter:?} in {word}"), &command, path)
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues
            if flag.starts_with('-') && context(ContextKind::InvalidValue).is_empty() =>
        {
            fault(format!("flag needs an argument: {flag}"), &command, path)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if flag.starts_with('-') => {
            let value = context(ContextKind::InvalidValue);
            let reason = std::error::Error::source(error)
                .map_or_else(|| "invalid value".into(), ToString::to_string);
            let message =
                format!("invalid argument {value:?} for {:?} flag: {reason}", both(&command, flag));
            fault(message, &command, path)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
            if !context(ContextKind::InvalidValue).is_empty() =>
        {
            let reason = std::error::Error::source(error)
                .map_or_else(|| "invalid value".into(), ToString::to_string);
            Failure::new(format!(
                "invalid argument {:?}: {reason}",
                context(ContextKind::InvalidValue)
            ))
        }
        _ => arity(&command, path),
    }
}

/// A flag under both its names, as pflag says them: `-f, --filter`.
fn both(command: &Command, flag: &str) -> String {
    let long = flag.trim_start_matches('-');
    let found = command.get_arguments().find(|argument| argument.get_long() == Some(long));
    match found.and_then(|argument| argument.get_short()) {
        Some(short) => format!("-{short}, {flag}"),
        None => flag.into(),
    }
}

fn usage(command: &Command) -> String {
    let text = command.clone().render_usage().to_string();
    format!("Usage:  {}", text.trim_start_matches("Usage:").trim())
}

fn fault(message: String, command: &Command, path: &[String]) -> Failure {
    let name = named(path);
    let usage = usage(command);
    Failure::with_status(
        EXIT_USAGE,
        format!("{message}\n\n{usage}\n\nRun '{name} --help' for more information"),
    )
}

/// Too few or too many arguments: how many the command wants follows from its grammar.
fn arity(command: &Command, path: &[String]) -> Failure {
    let (mut least, mut most) = (0, Some(0));
    for argument in command.get_positionals() {
        if argument.is_required_set() {
            least += 1;
        }
        let endless = argument.get_num_args().is_some_and(|range| range.max_values() > 1);
        most = if endless { None } else { most.map(|most: usize| most + 1) };
    }
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let (wants, pointer) = match (least, most) {
        (0, Some(0)) => ("accepts no arguments".into(), "Run"),
        (least, Some(most)) if least == most => {
            (format!("requires {least} {}", plural(least)), "Run")
        }
        (0, Some(most)) => (format!("requires at most {most} {}", plural(most)), "Run"),
        (least, Some(most)) => {
            (format!("requires at least {least} and at most {most} {}", plural(most)), "Run")
        }
        (least, None) => (format!("requires at least {least} {}", plural(least)), "See"),
    };
    let (name, usage) = (named(path), usage(command));
    Failure::new(format!(
        "skep: '{name}' {wants}\n\n{usage}\n\n{pointer} '{name} --help' for more information"
    ))
}
