//! Docker's JSON for a seccomp profile, read to the OCI runtime specification's.
//!
//! Docker's says for each rule when it counts: on which architectures and kernels, and with which
//! capabilities. That is decided here.

use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<Architecture>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// What a rule is held against.
pub struct Host<'a> {
    pub capabilities: &'a [&'a str],
    /// Go's name: `amd64`.
    pub machine: &'a str,
    /// libseccomp's name: `SCMP_ARCH_X86_64`.
    pub architecture: &'a str,
    /// `6.1.0-18-amd64`.
    pub kernel: &'a str,
}

/// The filter; None where the profile allows all. Errors are in Docker's words where it has them.
pub fn read(text: &str, host: &Host) -> Result<Option<Value>, String> {
    let profile: Profile = serde_json::from_str(text)
        .map_err(|error| format!("Decoding seccomp profile failed: {error}"))?;
    let rules = profile.syscalls.unwrap_or_default();
    if profile.default_action.is_empty() && rules.is_empty() {
        return Ok(None);
    }
    let (given, map) =
        (profile.architectures.unwrap_or_default(), profile.arch_map.unwrap_or_default());
    if !given.is_empty() && !map.is_empty() {
        return Err("'architectures' and 'archMap' were specified in the seccomp profile, use \
                    either 'architectures' or 'archMap'"
            .into());
    }
    let own = map.into_iter().find(|entry| entry.architecture == host.architecture);
    let architectures = match own {
        Some(entry) => {
            let mut all = vec![entry.architecture];
            all.extend(entry.sub_architectures.unwrap_or_default());
            all
        }
        None => given,
    };
    let mut filter = json!({ "defaultAction": profile.default_action });
    if !architectures.is_empty() {
        filter["architectures"] = json!(architectures);
    }
    if let Some(errno) = profile.default_errno_ret {
        filter["defaultErrnoRet"] = errno.into();
    }
    if let Some(flags) = profile.flags.filter(|flags| !flags.is_empty()) {
        filter["flags"] = json!(flags);
    }
    let mut calls = Vec::new();
    for rule in rules {
        if let Some(call) = counts(rule, host)? {
            calls.push(call);
        }
    }
    filter["syscalls"] = calls.into();
    Ok(Some(filter))
}

fn counts(rule: Rule, host: &Host) -> Result<Option<Value>, String> {
    if rule.action == "SCMP_ACT_NOTIFY" || rule.action == "SCMP_ACT_TRACE" {
        return Err(format!("seccomp action {} is not supported", rule.action));
    }
    let (includes, excludes) =
        (rule.includes.unwrap_or_default(), rule.excludes.unwrap_or_default());
    let has = |names: &Option<Vec<String>>| -> (bool, bool, bool) {
        let names = names.as_deref().unwrap_or_default();
        let mut held = names.iter().map(|name| host.capabilities.contains(&name.as_str()));
        (names.is_empty(), held.clone().all(|held| held), held.any(|held| held))
    };
    let here = |arches: &Option<Vec<String>>| {
        arches.as_deref().unwrap_or_default().iter().any(|name| name == host.machine)
    };
    let at_least = |kernel: &Option<String>| match kernel.as_deref() {
        None | Some("") => Ok(None),
        Some(wanted) => match (version(wanted), version(host.kernel)) {
            (Some(wanted), Some(own)) => Ok(Some(own >= wanted)),
            _ => Err(format!("invalid kernel version \"{wanted}\" in the seccomp profile")),
        },
    };
    let excluded = here(&excludes.arches)
        || has(&excludes.caps).2
        || at_least(&excludes.min_kernel)? == Some(true);
    let (nothing_named, all_held, _) = has(&includes.caps);
    let elsewhere = includes.arches.as_ref().is_some_and(|arches| !arches.is_empty())
        && !here(&includes.arches);
    let too_old = at_least(&includes.min_kernel)? == Some(false);
    if excluded || elsewhere || too_old || !(nothing_named || all_held) {
        return Ok(None);
    }
    let mut names = rule.names.unwrap_or_default();
    if !rule.name.is_empty() {
        if !names.is_empty() {
            return Err("'name' and 'names' were specified in the seccomp profile, use either \
                        'name' or 'names'"
                .into());
        }
        names.push(rule.name);
    }
    if names.is_empty() {
        return Ok(None);
    }
    let mut call = json!({ "names": names, "action": rule.action });
    if let Some(errno) = rule.errno_ret {
        call["errnoRet"] = errno.into();
    }
    let arguments = rule.args.unwrap_or_default();
    if !arguments.is_empty() {
        call["args"] = arguments.into_iter().map(argument).collect();
    }
    Ok(Some(call))
}

fn argument(argument: Argument) -> Value {
    let Argument { index, value, value_two, op } = argument;
    // Docker writes the mask first; ours stands in the second value.
    let (value, value_two) = match op.as_str() {
        "SCMP_CMP_MASKED_EQ" => (value_two, value),
        _ => (value, value_two),
    };
    json!({ "index": index, "value": value, "valueTwo": value_two, "op": op })
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-', '+']);
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(capabilities: &'static [&'static str]) -> Host<'static> {
        Host {
            capabilities,
            machine: "amd64",
            architecture: "SCMP_ARCH_X86_64",
            kernel: "6.1.0-18-amd64",
        }
    }

    fn names(text: &str, capabilities: &'static [&'static str]) -> Vec<String> {
        let filter = read(text, &host(capabilities)).unwrap().unwrap();
        let rules = filter["syscalls"].as_array().unwrap().iter();
        let names = rules.flat_map(|rule| rule["names"].as_array().unwrap());
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_rule_counts_where_it_says() {
        let rule = |name: &str, when: &str| {
            format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_ALLOW","args":null,{when}}}"#)
        };
        let rules = [
            rule("plain", r#""comment":"","includes":{},"excludes":{}"#),
            rule("admin", r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#),
            rule("common", r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#),
            rule("new", r#""includes":{"minKernel":"4.8"}"#),
            rule("newest", r#""includes":{"minKernel":"99.0"}"#),
            rule("elsewhere", r#""includes":{"arches":["arm64"]}"#),
            rule("here", r#""includes":{"arches":["amd64","x32"]}"#),
        ];
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{{"architecture":"SCMP_ARCH_X86_64",
               "subArchitectures":["SCMP_ARCH_X86"]}}],"syscalls":[{}]}}"#,
            rules.join(",")
        );
        assert_eq!(names(&text, &[]), ["plain", "common", "new", "here"]);
        assert_eq!(names(&text, &["CAP_SYS_ADMIN"]), ["plain", "admin", "new", "here"]);
        let filter = read(&text, &host(&[])).unwrap().unwrap();
        assert_eq!(filter["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    }

    #[test]
    fn what_is_no_profile_is_refused_and_an_empty_one_filters_nothing() {
        let said = |text| read(text, &host(&[])).unwrap_err();
        assert!(said("{").starts_with("Decoding seccomp profile failed"));
        let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":
                       [{"name":"a","names":["b"],"action":"SCMP_ACT_ERRNO"}]}"#;
        assert!(said(both).starts_with("'name' and 'names' were specified"));
        assert!(read("{}", &host(&[])).unwrap().is_none());
    }
}
