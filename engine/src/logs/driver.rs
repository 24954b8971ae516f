//! Log drivers that hand entries to a service of the host: their options, and how an entry is put.
//! Pure; [`super::remote`] sends.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::entry::{Stdio, rfc3339};
use crate::config::{ContainerConfig, LogDriver};
use crate::error::{Error, Result};

/// The annotations of a container from which a tag takes its name and its image's.
pub const NAME: &str = "name";
/// See [`NAME`].
pub const IMAGE: &str = "image";

/// Where entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Datagrams, and a stream where there is a socket for that.
    Unix(String),
    Datagrams(String),
    Udp(String),
    Tcp(String),
}

/// How an entry becomes a message.
#[derive(Debug)]
pub enum Format {
    Syslog {
        facility: u8,
        shape: Shape,
        tag: String,
        host: String,
        process: u32,
    },
    /// The fields that do not change, as they are sent.
    Journald(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The traditional one without a host.
    Local,
    Rfc3164,
    Rfc5424 {
        micro: bool,
    },
}

/// Numbers of RFC 5424, section 6.2.1, by Docker's names.
const FACILITIES: [&str; 12] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
];

/// Reads a driver's options; None for those that are no service.
pub fn read(config: &ContainerConfig, host: &str) -> Result<Option<(Address, Format)>> {
    match &config.log_driver {
        LogDriver::JsonFile | LogDriver::None => Ok(None),
        LogDriver::Syslog(options) => {
            check_names(
                options,
                "syslog",
                &["syslog-address", "syslog-facility", "syslog-format"],
            )?;
            let option = |name: &str| options.get(name).map_or("", String::as_str);
            let format = Format::Syslog {
                facility: facility(option("syslog-facility"))?,
                shape: shape(option("syslog-format"))?,
                tag: tag(config, option("tag"))?,
                host: host.to_owned(),
                process: std::process::id(),
            };
            Ok(Some((address(option("syslog-address"))?, format)))
        }
        LogDriver::Journald(options) => {
            check_names(options, "journald", &[])?;
            let tag = tag(config, options.get("tag").map_or("", String::as_str))?;
            let mut fields = Vec::new();
            let annotation = |name: &str| config.annotations.get(name).map_or("", String::as_str);
            for (name, value) in [
                ("CONTAINER_ID", short(&config.id).as_str()),
                ("CONTAINER_ID_FULL", &config.id),
                ("CONTAINER_NAME", annotation(NAME)),
                ("CONTAINER_TAG", &tag),
                ("IMAGE_NAME", annotation(IMAGE)),
                ("SYSLOG_IDENTIFIER", &tag),
            ] {
                field(name, value.as_bytes(), &mut fields);
            }
            let address = Address::Datagrams("/run/systemd/journal/socket".to_owned());
            Ok(Some((address, Format::Journald(fields))))
        }
    }
}

impl Format {
    /// The message for an entry, ended as a stream needs it.
    pub fn message(&self, now: OffsetDateTime, stdio: Stdio, text: &[u8]) -> Vec<u8> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let severity = match stdio {
            Stdio::Stdout => 6,
            Stdio::Stderr => 3,
        };
        match self {
            Format::Journald(fields) => {
                let mut message = fields.clone();
                field("PRIORITY", severity.to_string().as_bytes(), &mut message);
                field("SYSLOG_TIMESTAMP", rfc3339(now).as_bytes(), &mut message);
                if line.len() == text.len() {
                    field("CONTAINER_PARTIAL_MESSAGE", b"true", &mut message);
                }
                field("MESSAGE", line, &mut message);
                message
            }
            Format::Syslog { facility, shape, tag, host, process } => {
                let priority = facility * 8 + severity;
                let head = match shape {
                    Shape::Local => format!("<{priority}>{} {tag}[{process}]: ", stamp(now)),
                    Shape::Rfc3164 => {
                        format!("<{priority}>{} {host} {tag}[{process}]: ", stamp(now))
                    }
                    Shape::Rfc5424 { micro } => {
                        let nanos = if *micro { now.nanosecond() / 1000 * 1000 } else { 0 };
                        let time = rfc3339(now.replace_nanosecond(nanos).unwrap_or(now));
                        format!("<{priority}>1 {time} {host} {tag} {process} {tag} - ")
                    }
                };
                [head.as_bytes(), line, b"\n"].concat()
            }
        }
    }
}

/// DEVIATION: in UTC, not in the host's zone: a shim reads no zone's rules.
fn stamp(now: OffsetDateTime) -> String {
    let now = now.to_offset(time::UtcOffset::UTC);
    let month = &now.month().to_string()[..3];
    let (hour, minute, second) = now.to_hms();
    format!("{month} {:2} {hour:02}:{minute:02}:{second:02}", now.day())
}

/// A field of journald's own protocol: by length where a line would not do.
fn field(name: &str, value: &[u8], into: &mut Vec<u8>) {
    into.extend(name.as_bytes());
    if value.contains(&b'\n') {
        into.push(b'\n');
        into.extend((value.len() as u64).to_le_bytes());
    } else {
        into.push(b'=');
    }
    into.extend(value);
    into.push(b'\n');
}

fn check_names(options: &BTreeMap<String, String>, driver: &str, own: &[&str]) -> Result<()> {
    // A shim never waits for a driver, so both modes are the one that Docker calls non-blocking.
    const COMMON: [&str; 3] = ["tag", "mode", "max-buffer-size"];
    for name in options.keys().map(String::as_str) {
        match name {
            "labels" | "labels-regex" | "env" | "env-regex" => {
                return Err(Error::Unsupported("labels and variables in logs are not supported"));
            }
            _ if name.starts_with("syslog-tls") && driver == "syslog" => {
                return Err(Error::Unsupported("syslog over TLS is not supported"));
            }
            _ if COMMON.contains(&name) || own.contains(&name) => {}
            _ => {
                return Err(Error::Invalid(format!(
                    "unknown log opt '{name}' for {driver} log driver"
                )));
            }
        }
    }
    Ok(())
}

fn facility(name: &str) -> Result<u8> {
    let local = name.strip_prefix("local").and_then(|number| number.parse::<u8>().ok());
    let number = match (name, name.parse::<u8>(), local) {
        ("", _, _) => Some(3),
        (_, Ok(number), _) => Some(number).filter(|number| *number <= 23),
        (_, _, Some(number)) => Some(16 + number).filter(|number| *number <= 23),
        _ => FACILITIES.iter().position(|known| *known == name).map(|place| place as u8),
    };
    number.ok_or_else(|| Error::Invalid("invalid syslog facility".to_owned()))
}

fn shape(name: &str) -> Result<Shape> {
    match name {
        "" => Ok(Shape::Local),
        "rfc3164" => Ok(Shape::Rfc3164),
        "rfc5424" => Ok(Shape::Rfc5424 { micro: false }),
        "rfc5424micro" => Ok(Shape::Rfc5424 { micro: true }),
        _ => Err(Error::Invalid("Invalid syslog format".to_owned())),
    }
}

fn address(text: &str) -> Result<Address> {
    if text.is_empty() {
        return Ok(Address::Unix("/dev/log".to_owned()));
    }
    let port = |rest: &str| match rest.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => rest.to_owned(),
        _ => format!("{rest}:514"),
    };
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(path.to_owned())),
        Some(("unixgram", path)) if path.starts_with('/') => {
            Ok(Address::Datagrams(path.to_owned()))
        }
        Some(("udp", rest)) if !rest.is_empty() => Ok(Address::Udp(port(rest))),
        Some(("tcp", rest)) if !rest.is_empty() => Ok(Address::Tcp(port(rest))),
        Some(("tcp+tls", _)) => Err(Error::Unsupported("syslog over TLS is not supported")),
        _ => Err(Error::Invalid(format!(
            "syslog-address should be in form proto://address, got {text}"
        ))),
    }
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// The names of Docker's template that a tag may hold.
fn tag(config: &ContainerConfig, template: &str) -> Result<String> {
    let annotation = |name: &str| config.annotations.get(name).cloned().unwrap_or_default();
    let template = if template.is_empty() { "{{.ID}}" } else { template };
    let mut rest = template;
    let mut tag = String::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        tag.push_str(before);
        tag.push_str(&match name.trim() {
            ".ID" => short(&config.id),
            ".FullID" => config.id.clone(),
            ".Name" => annotation(NAME),
            ".ImageName" => annotation(IMAGE),
            ".DaemonName" => "docker".to_owned(),
            _ => {
                return Err(Error::Invalid(format!(
                    "the log tag holds what is not known: {{{{{name}}}}}"
                )));
            }
        });
        rest = after;
    }
    tag.push_str(rest);
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rootfs;
    use time::macros::datetime;

    fn config(driver: LogDriver) -> ContainerConfig {
        let rootfs = Rootfs::Directory("/".into());
        let mut config = ContainerConfig::new("0123456789abcdef", rootfs, vec!["true".to_owned()]);
        config.annotations.insert(NAME.to_owned(), "web".to_owned());
        config.log_driver = driver;
        config
    }

    fn options(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn message(driver: LogDriver) -> String {
        let (_, mut format) = read(&config(driver), "host").unwrap().unwrap();
        if let Format::Syslog { process, .. } = &mut format {
            *process = 7;
        }
        let now = datetime!(2026-11-04 12:00:00.1234567 UTC);
        String::from_utf8(format.message(now, Stdio::Stderr, b"said\n")).unwrap()
    }

    #[test]
    fn messages_are_put_as_docker_puts_them() {
        let syslog = |all: &[(&str, &str)]| message(LogDriver::Syslog(options(all)));
        assert_eq!(syslog(&[]), "<27>Nov  4 12:00:00 0123456789ab[7]: said\n");
        assert_eq!(
            syslog(&[("syslog-format", "rfc3164"), ("tag", "a/{{.Name}}")]),
            "<27>Nov  4 12:00:00 host a/web[7]: said\n"
        );
        assert_eq!(
            syslog(&[("syslog-format", "rfc5424"), ("syslog-facility", "local1"), ("tag", "t")]),
            "<139>1 2026-11-04T12:00:00Z host t 7 t - said\n"
        );
        assert_eq!(
            syslog(&[("syslog-format", "rfc5424micro"), ("syslog-facility", "mail")]),
            "<19>1 2026-11-04T12:00:00.123456Z host 0123456789ab 7 0123456789ab - said\n"
        );
        let journald = message(LogDriver::Journald(options(&[("tag", "t")])));
        for field in [
            "CONTAINER_ID=0123456789ab\n",
            "CONTAINER_ID_FULL=0123456789abcdef\n",
            "CONTAINER_NAME=web\n",
            "CONTAINER_TAG=t\n",
            "PRIORITY=3\n",
            "MESSAGE=said\n",
        ] {
            assert!(journald.contains(field), "{field} in {journald}");
        }
    }

    #[test]
    fn options_are_checked() {
        let syslog = |name: &str, value: &str| {
            read(&config(LogDriver::Syslog(options(&[(name, value)]))), "h").map(|it| it.unwrap().0)
        };
        assert_eq!(syslog("tag", "x").unwrap(), Address::Unix("/dev/log".into()));
        assert_eq!(syslog("syslog-address", "udp://h").unwrap(), Address::Udp("h:514".into()));
        assert_eq!(
            syslog("syslog-address", "tcp://[::1]:99").unwrap(),
            Address::Tcp("[::1]:99".into())
        );
        for (name, value) in [
            ("syslog-address", "tcp+tls://h"),
            ("syslog-address", "h"),
            ("syslog-facility", "nope"),
            ("syslog-facility", "local8"),
            ("syslog-format", "nope"),
            ("tag", "{{.Nope}}"),
            ("nope", "x"),
            ("env", "x"),
        ] {
            syslog(name, value).unwrap_err();
        }
    }
}
