//! Where a command's own flags end: for `run IMAGE …` and its like, at the first word that is no flag.
//!
//! Behind it, everything is the container's: `run alpine ls --help` asks `ls`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Whether the word is a flag whose value is the next word.
pub fn takes_next(command: &Command, word: &str) -> bool {
    let valued = |found: Option<&Arg>| {
        found.is_some_and(|argument| {
            matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
                && !argument.is_require_equals_set()
        })
    };
    if let Some(long) = word.strip_prefix("--") {
        let named = |argument: &&Arg| {
            argument.get_long() == Some(long)
                || argument.get_all_aliases().is_some_and(|all| all.contains(&long))
        };
        return !long.contains('=') && valued(command.get_arguments().find(named));
    }
    // Several letters in one word: the first that wants a value takes what is left of it.
    let mut letters = word.chars().skip(1);
    while let Some(letter) = letters.next() {
        let named = |argument: &&Arg| argument.get_short() == Some(letter);
        if valued(command.get_arguments().find(named)) {
            return letters.next().is_none();
        }
    }
    false
}

/// Puts `--` before the first word that is no flag, where the command found by the leading words wants all from there on.
pub fn fence(top: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let mut command = top;
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        if word == "--" {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            at += if takes_next(command, word) { 2 } else { 1 };
            continue;
        }
        match command.find_subcommand(word) {
            Some(found) => {
                command = found;
                at += 1;
            }
            None => {
                let all = command.get_positionals().any(Arg::is_trailing_var_arg_set);
                if all {
                    words.insert(at, "--".into());
                }
                break;
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn fenced(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = fence(&crate::args::Cli::command(), words);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_containers_words_are_its_own() {
        for (line, expected) in [
            ("skep run -it alpine ls --help", "skep run -it -- alpine ls --help"),
            ("skep run -itv /a:/b -e A alpine -e x", "skep run -itv /a:/b -e A -- alpine -e x"),
            ("skep run --net=host a --rm", "skep run --net=host -- a --rm"),
            ("skep run --net host a --rm", "skep run --net host -- a --rm"),
            ("skep run -v/a:/b a --rm", "skep run -v/a:/b -- a --rm"),
            ("skep -H unix:///a container run a -x", "skep -H unix:///a container run -- a -x"),
            ("skep exec -u 0 web sh -c id", "skep exec -u 0 -- web sh -c id"),
            ("skep run -- a b", "skep run -- a b"),
            ("skep ps -a", "skep ps -a"),
            ("skep rm web -f", "skep rm web -f"),
        ] {
            assert_eq!(fenced(line), expected, "{line}");
        }
    }
}
