//! Changes to a configuration in the words of a Dockerfile: `import --change`, `commit --change`.
//!
//! Only the instructions that Docker takes there, and only as far as they change the
//! configuration; nothing is run or copied.

mod words;

use std::time::Duration;

use skep_types::container::HealthConfig;

use self::words::{pairs, words};
use crate::config::ImageConfig;
use crate::error::{Error, Result};

/// What a command in shell form runs in.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies instructions in order; if one is refused, nothing is changed.
pub fn apply_changes(config: &mut ImageConfig, changes: &[String]) -> Result<()> {
    let mut changed = config.clone();
    let mut cmd_given = false;
    for change in changes {
        let line = change.trim();
        let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let instruction = instruction.to_ascii_uppercase();
        apply(&mut changed, &instruction, rest.trim(), &mut cmd_given).map_err(|reason| {
            match reason {
                Reason::Unknown => {
                    invalid(change, &format!("{instruction} is not a valid change command"))
                }
                Reason::Bad(reason) => invalid(change, &reason),
            }
        })?;
    }
    *config = changed;
    Ok(())
}

fn invalid(change: &str, reason: &str) -> Error {
    Error::Invalid { what: format!("change {change:?}"), reason: reason.to_owned() }
}

enum Reason {
    Unknown,
    Bad(String),
}

impl From<String> for Reason {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

fn apply(
    config: &mut ImageConfig,
    instruction: &str,
    rest: &str,
    cmd_given: &mut bool,
) -> Result<(), Reason> {
    let bad = |reason: &str| Err(Reason::Bad(reason.to_owned()));
    if !matches!(
        instruction,
        "CMD"
            | "ENTRYPOINT"
            | "ENV"
            | "EXPOSE"
            | "HEALTHCHECK"
            | "LABEL"
            | "ONBUILD"
            | "STOPSIGNAL"
            | "USER"
            | "VOLUME"
            | "WORKDIR"
    ) {
        return Err(Reason::Unknown);
    }
    if rest.is_empty() && !matches!(instruction, "CMD" | "ENTRYPOINT") {
        return Err(Reason::Bad(format!("{instruction} requires at least one argument")));
    }
    let env = config.env.clone();
    let one = |text: &str| -> Result<String, Reason> {
        match <[String; 1]>::try_from(words(text, &env)?) {
            Ok([word]) if !word.is_empty() => Ok(word),
            _ => Err(Reason::Bad(format!("{instruction} requires exactly one argument"))),
        }
    };
    match instruction {
        "CMD" => {
            config.cmd = command(rest, config)?;
            *cmd_given = true;
        }
        "ENTRYPOINT" => {
            config.entrypoint = command(rest, config)?;
            // The image's command was meant for its own entrypoint.
            if !*cmd_given {
                config.cmd.clear();
            }
        }
        "ENV" => {
            for (key, value) in pairs(rest, &env)? {
                let start = format!("{key}=");
                config.env.retain(|entry| !entry.starts_with(&start));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest, &env)?),
        "EXPOSE" => {
            for word in words(rest, &env)? {
                for port in ports(&word)? {
                    config.exposed_ports.insert(port);
                }
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(health(rest)?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "STOPSIGNAL" => config.stop_signal = one(rest)?,
        "USER" => config.user = one(rest)?,
        "VOLUME" => {
            let paths = match json_words(rest) {
                Some(paths) => paths,
                None => words(rest, &env)?,
            };
            if paths.iter().any(|path| path.trim().is_empty()) {
                return bad("VOLUME specified can not be an empty string");
            }
            config.volumes.extend(paths);
        }
        "WORKDIR" => config.working_dir = join(&config.working_dir, &one(rest)?),
        _ => return Err(Reason::Unknown),
    }
    Ok(())
}

/// Exec form is a JSON list of words; anything else is shell form.
fn command(rest: &str, config: &ImageConfig) -> Result<Vec<String>, Reason> {
    if let Some(words) = json_words(rest) {
        return Ok(words);
    }
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let mut command: Vec<String> = match &config.shell[..] {
        [] => SHELL.map(str::to_owned).to_vec(),
        shell => shell.to_vec(),
    };
    command.push(rest.to_owned());
    Ok(command)
}

fn json_words(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') { serde_json::from_str(rest).ok() } else { None }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(word: &str) -> Result<Vec<String>, Reason> {
    let refused = || Reason::Bad(format!("invalid containerPort: {word}"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Reason::Bad(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().map_err(|_| refused());
    let (first, last) = (port(first)?, port(last)?);
    if first == 0 || first > last {
        return Err(refused());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn health(rest: &str) -> Result<HealthConfig, Reason> {
    let mut health = HealthConfig::default();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| Reason::Bad(format!("missing a value on flag: {option}")))?;
        match name {
            "interval" => health.interval = duration(value)?,
            "timeout" => health.timeout = duration(value)?,
            "start-period" => health.start_period = duration(value)?,
            "start-interval" => health.start_interval = duration(value)?,
            "retries" => {
                health.retries = value
                    .parse()
                    .ok()
                    .filter(|retries| *retries >= 0)
                    .ok_or_else(|| format!("--retries must be a number, not {value:?}"))?;
            }
            _ => return Err(Reason::Bad(format!("unknown flag: --{name}"))),
        }
        rest = after.trim_start();
    }
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    health.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if arguments.trim().is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(Reason::Bad("HEALTHCHECK NONE takes no arguments".to_owned())),
        "CMD" => match json_words(arguments.trim()) {
            Some(words) if words.is_empty() => {
                return Err(Reason::Bad("Missing command after HEALTHCHECK CMD".to_owned()));
            }
            Some(words) => [vec!["CMD".to_owned()], words].concat(),
            None if arguments.trim().is_empty() => {
                return Err(Reason::Bad("Missing command after HEALTHCHECK CMD".to_owned()));
            }
            None => vec!["CMD-SHELL".to_owned(), arguments.trim().to_owned()],
        },
        other => {
            return Err(Reason::Bad(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")));
        }
    };
    Ok(health)
}

/// Go's notation: `1m30s`, `1.5s`, `500ms`; at least a millisecond, or zero for the default.
fn duration(text: &str) -> Result<Duration, Reason> {
    let refused = || Reason::Bad(format!("invalid duration {text:?}"));
    let mut total = 0f64;
    let mut rest = text;
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let value: f64 = rest[..digits].parse().map_err(|_| refused())?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |end| digits + end);
        let seconds = match &rest[digits..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(refused()),
        };
        total += value * seconds;
        rest = &rest[unit_end..];
    }
    let duration = Duration::try_from_secs_f64(total).map_err(|_| refused())?;
    if text.is_empty() || (!duration.is_zero() && duration < Duration::from_millis(1)) {
        return Err(refused());
    }
    Ok(duration)
}

/// A relative directory is below the one before it.
fn join(base: &str, dir: &str) -> String {
    let whole = if dir.starts_with('/') { dir.to_owned() } else { format!("{base}/{dir}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<ImageConfig> {
        let mut config = ImageConfig { cmd: vec!["old".to_owned()], ..ImageConfig::default() };
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply_changes(&mut config, &changes)?;
        Ok(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = changed(&[
            "ENV A=1 B=\"two words\" C=$A",
            "env LEGACY some words",
            "ENV A=3",
            "EXPOSE 80 53/udp 8000-8001",
            "ENTRYPOINT [\"/init\", \"-x\"]",
            "CMD echo $A",
            "WORKDIR /srv",
            "WORKDIR app/../data",
            "USER www-data:www-data",
            "VOLUME [\"/var/lib/a\"]",
            "VOLUME /b /c",
            "LABEL k=v \"x y\"='z w'",
            "STOPSIGNAL SIGQUIT",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f localhost",
            "ONBUILD RUN true",
        ])
        .unwrap();
        assert_eq!(config.env, ["B=two words", "C=", "LEGACY=some words", "A=3"]);
        let ports: Vec<&str> = config.exposed_ports.iter().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(config.entrypoint, ["/init", "-x"]);
        assert_eq!(config.cmd, ["/bin/sh", "-c", "echo $A"]);
        assert_eq!(config.working_dir, "/srv/data");
        assert_eq!(config.user, "www-data:www-data");
        assert_eq!(config.volumes.iter().collect::<Vec<_>>(), ["/b", "/c", "/var/lib/a"]);
        assert_eq!(config.labels["x y"], "z w");
        assert_eq!(config.stop_signal, "SIGQUIT");
        let health = config.healthcheck.unwrap();
        assert_eq!(health.test, ["CMD-SHELL", "curl -f localhost"]);
        assert_eq!((health.interval, health.retries), (Duration::from_secs(90), 2));
        assert_eq!(changed(&["ENTRYPOINT x"]).unwrap().cmd, Vec::<String>::new());
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for (change, expected) in [
            ("RUN true", "RUN is not a valid change command"),
            ("", "is not a valid change command"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV A=1 B", "Syntax error - can't find = in \"B\". Must be of the form: name=value"),
            ("EXPOSE 80/x", "invalid proto: x"),
            ("EXPOSE 70000", "invalid containerPort: 70000"),
            ("USER a b", "USER requires exactly one argument"),
            ("HEALTHCHECK RUN x", "Unknown type \"RUN\" in HEALTHCHECK (try CMD)"),
            ("HEALTHCHECK --interval=1us CMD x", "invalid duration \"1us\""),
            ("LABEL 'a=b", "unexpected end of statement while looking for matching single-quote"),
        ] {
            let error = changed(&[change]).unwrap_err().to_string();
            assert!(error.contains(expected), "{change}: {error}");
        }
    }
}
