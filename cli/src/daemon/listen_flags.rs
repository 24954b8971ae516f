//! `skep daemon`'s flags on where and to whom the API is served, as keys of `daemon.json`.

use clap::{ArgAction, Args};
use serde_json::{Map, Value};

/// Where the API is served, and who may speak there.
#[derive(Debug, Args)]
pub struct ListenFlags {
    /// Place of the API (unix://PATH or tcp://HOST:PORT), several times for several
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Group that may use the Unix socket
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Use TLS; implied by --tlsverify
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub tls: Option<bool>,
    /// Use TLS and verify the remote
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub tlsverify: Option<bool>,
    /// Trust certs signed only by this CA
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<String>,
    /// Path to TLS certificate file
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<String>,
    /// Path to TLS key file
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<String>,
}

impl ListenFlags {
    pub fn keys(&self) -> Map<String, Value> {
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let hosts = (!self.hosts.is_empty()).then(|| Value::from(self.hosts.clone()));
        let keys = [
            ("hosts", hosts),
            ("group", text(&self.group)),
            ("tls", self.tls.map(Value::from)),
            ("tlsverify", self.tlsverify.map(Value::from)),
            ("tlscacert", text(&self.tlscacert)),
            ("tlscert", text(&self.tlscert)),
            ("tlskey", text(&self.tlskey)),
        ];
        let given = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        given.collect()
    }
}
