//! `skep manifest`: what registries say of images. As docker's, it asks them itself: the daemon's API
//! has no word for it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use skep_images::{PullOptions, Reference, RegistryConfig, Resolved};

use super::Session;
use crate::config::credentials;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::values::image;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Display an image manifest, or manifest list
    #[command(override_usage = "skep manifest inspect [OPTIONS] MANIFEST")]
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Allow communication with an insecure registry
    #[arg(long)]
    insecure: bool,
    /// Output additional info including layers and platform
    #[arg(short, long)]
    verbose: bool,
    #[arg(hide = true, value_name = "MANIFEST")]
    manifest: String,
}

pub async fn run(session: &Session, command: Command) -> Outcome {
    let Command::Inspect(args) = command;
    let failed = |error: &dyn std::error::Error| Failure::new(skep_types::error_chain(error));
    let reference: Reference =
        args.manifest.parse().map_err(|error: skep_images::ParseReferenceError| failed(&error))?;
    let login = credentials::for_image(&session.config, &image::full(&args.manifest))?;
    let auth = login.map(skep_containers::registry_login).transpose();
    let insecure = match args.insecure {
        true => vec![reference.domain().to_owned()],
        false => Vec::new(),
    };
    let options = PullOptions {
        auth: auth.map_err(|error| failed(&error))?.flatten(),
        registries: RegistryConfig {
            insecure,
            ca_dir: Some(PathBuf::from(skep_node::config::CERTS_DIR)),
            ..RegistryConfig::default()
        },
        ..PullOptions::default()
    };
    if !args.verbose {
        let found = skep_images::resolve(&reference, &options).await;
        return output::print(&(indented(&found.map_err(|error| failed(&error))?.bytes) + "\n"));
    }
    let mut found = skep_images::manifests(&reference, &options).await.map_err(|e| failed(&e))?;
    // As docker, which tells of an index by what is in it.
    let is_index = found.len() > 1;
    let images: Vec<Value> =
        found.drain(usize::from(is_index)..).map(|one| described(&reference, &one)).collect();
    let shown = match (is_index, images.first()) {
        (false, Some(one)) => one.clone(),
        _ => images.into(),
    };
    output::print(&(indented(shown.to_string().as_bytes()) + "\n"))
}

fn described(reference: &Reference, one: &Resolved) -> Value {
    let mut descriptor = json!({
        "mediaType": one.media_type, "digest": one.digest.to_string(), "size": one.size,
    });
    if let Some(platform) = one.platforms.first() {
        descriptor["platform"] =
            json!({ "architecture": platform.architecture, "os": platform.os });
        if let Some(variant) = &platform.variant {
            descriptor["platform"]["variant"] = variant.as_str().into();
        }
    }
    let kind = match one.media_type.contains("docker") {
        true => "SchemaV2Manifest",
        false => "OCIManifest",
    };
    let manifest: Value = serde_json::from_slice(&one.bytes).unwrap_or_default();
    json!({
        "Ref": reference.with_digest(one.digest).to_string(),
        "Descriptor": descriptor,
        "Raw": STANDARD.encode(&one.bytes),
        kind: manifest,
    })
}

/// A JSON document with each value on a line of its own, in the order in which it came.
fn indented(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (mut out, mut depth) = (String::with_capacity(text.len() * 2), 0);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n('\t', depth));
    };
    let mut chars = text.chars().filter(|char| !char.is_control()).peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                out.push('"');
                while let Some(char) = chars.next() {
                    out.push(char);
                    match char {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ' ' => {}
            '{' | '[' => {
                out.push(char);
                while chars.next_if_eq(&' ').is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::indented;

    #[test]
    fn documents_keep_their_order() {
        let text = br#"{"z": [1,{"a":"x, \"y\": {"}],
            "b" : {}, "c":[ ] }"#;
        let expected = "{\n\t\"z\": [\n\t\t1,\n\t\t{\n\t\t\t\"a\": \"x, \\\"y\\\": {\"\n\t\t}\n\t],\n\t\"b\": {},\n\t\"c\": []\n}";
        assert_eq!(indented(text), expected);
    }
}
