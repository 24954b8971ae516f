//! A filter of system calls as the kernel takes it.
//!
//! libseccomp makes it from rules, which takes a CPU longer than all the rest of a container's start.
//! What it made depends on nothing but the rules and the machine, so it is made once by the daemon,
//! and each process of a container puts it in place by a single call.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::str::FromStr;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kernel's BPF_MAXINSNS.
const INSTRUCTIONS_MAX: usize = 4096;
/// Of a `struct sock_filter`.
const INSTRUCTION_BYTES: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Of seccomp(2).
    flags: libc::c_ulong,
    /// An array of `struct sock_filter`.
    #[serde(with = "base64_text")]
    program: Vec<u8>,
}

/// Rules as the OCI runtime specification writes them, but for the two values of a masked
/// comparison: see [`super::seccomp`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    default_action: String,
    default_errno_ret: Option<i32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<i32>,
    #[serde(default)]
    args: Vec<Argument>,
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

impl Rules {
    fn read(rules: &Value) -> Result<Rules, String> {
        Rules::deserialize(rules).map_err(|error| undecoded(&error))
    }

    fn flags(&self) -> Result<libc::c_ulong, String> {
        self.flags.iter().try_fold(0, |all, name| Ok(all | flag(name)?))
    }
}

/// In Docker's words.
fn undecoded(why: &dyn Display) -> String {
    format!("Decoding seccomp profile failed: {why}")
}

impl Filter {
    /// Refuses words that are none, which to make the filter would find out later and dearer.
    pub fn check(rules: &Value) -> Result<(), String> {
        let rules = Rules::read(rules)?;
        rules.flags()?;
        action(&rules.default_action, rules.default_errno_ret)?;
        for name in &rules.architectures {
            architecture(name)?;
        }
        for rule in &rules.syscalls {
            action(&rule.action, rule.errno_ret)?;
            for argument in &rule.args {
                compare(argument)?;
            }
        }
        Ok(())
    }

    /// Made from rules. Names that this machine's libseccomp does not know are passed over.
    pub fn compile(rules: &Value) -> Result<Filter, String> {
        let rules = Rules::read(rules)?;
        let flags = rules.flags()?;
        let program = generate(&rules)?;
        let instructions = program.len() / INSTRUCTION_BYTES;
        if instructions > INSTRUCTIONS_MAX {
            return Err(format!(
                "the seccomp profile comes to {instructions} instructions: the kernel takes at \
                 most {INSTRUCTIONS_MAX}"
            ));
        }
        Ok(Filter { flags, program })
    }

    /// Puts it in place for the calling thread and what comes from it, for good. Needs the
    /// administrator's capability, or that no privilege can be gained any more.
    pub fn install(&self) -> io::Result<()> {
        let mut program: Vec<libc::sock_filter> =
            self.program.chunks_exact(INSTRUCTION_BYTES).map(instruction).collect();
        let program = libc::sock_fprog {
            // At most INSTRUCTIONS_MAX.
            len: program.len() as libc::c_ushort,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: `program` and what it points to are valid for the call; the kernel copies it.
        let done = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, self.flags, &program)
        };
        Errno::result(done)?;
        Ok(())
    }
}

fn instruction(bytes: &[u8]) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

fn flag(name: &str) -> Result<libc::c_ulong, String> {
    match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(libc::SECCOMP_FILTER_FLAG_TSYNC),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(libc::SECCOMP_FILTER_FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        // It is for notifications, which are not supported either.
        name => Err(undecoded(&format_args!("flag {name} is not supported"))),
    }
}

fn generate(rules: &Rules) -> Result<Vec<u8>, String> {
    let failed = |error: &dyn Display| format!("failed to make a seccomp filter: {error}");
    let default = action(&rules.default_action, rules.default_errno_ret)?;
    let mut filter = ScmpFilterContext::new(default).map_err(|error| failed(&error))?;
    for name in &rules.architectures {
        filter.add_arch(architecture(name)?).map_err(|error| failed(&error))?;
    }
    for rule in &rules.syscalls {
        let action = action(&rule.action, rule.errno_ret)?;
        // libseccomp refuses what changes nothing.
        if action == default {
            continue;
        }
        let arguments = rule.args.iter().map(compare).collect::<Result<Vec<_>, _>>()?;
        // One rule of libseccomp looks at an argument once: more are alternatives, as in runc.
        let alternatives: Vec<&[ScmpArgCompare]> = match looks_twice(&rule.args) {
            true => arguments.chunks(1).collect(),
            false => vec![&arguments],
        };
        for call in rule.names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
            for arguments in &alternatives {
                let added = filter.add_rule_conditional(action, call, arguments);
                added.map_err(|error| failed(&error))?;
            }
        }
    }
    let file = memfd_create(c"skep-seccomp", MFdFlags::MFD_CLOEXEC);
    let mut file = File::from(file.map_err(|error| failed(&error))?);
    filter.export_bpf(&file).map_err(|error| failed(&error))?;
    let mut program = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut program));
    read.map_err(|error| failed(&error))?;
    Ok(program)
}

fn looks_twice(arguments: &[Argument]) -> bool {
    let indexes = || arguments.iter().map(|argument| argument.index);
    indexes().enumerate().any(|(at, index)| indexes().take(at).any(|before| before == index))
}

fn action(name: &str, errno: Option<i32>) -> Result<ScmpAction, String> {
    ScmpAction::from_str(name, Some(errno.unwrap_or(libc::EPERM)))
        .map_err(|_| undecoded(&format_args!("action {name} is not supported")))
}

fn architecture(name: &str) -> Result<ScmpArch, String> {
    ScmpArch::from_str(name)
        .map_err(|_| undecoded(&format_args!("architecture {name} is not supported")))
}

fn compare(argument: &Argument) -> Result<ScmpArgCompare, String> {
    let operator = match ScmpCompareOp::from_str(&argument.op) {
        Ok(ScmpCompareOp::MaskedEqual(_)) => ScmpCompareOp::MaskedEqual(argument.value_two),
        Ok(other) => other,
        Err(_) => {
            return Err(undecoded(&format_args!("comparison {} is not supported", argument.op)));
        }
    };
    Ok(ScmpArgCompare::new(argument.index, operator, argument.value))
}

/// Bytes as text: an array of numbers would take many times as long to read.
mod base64_text {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use libcontainer::oci_spec::runtime::LinuxSeccomp;

    use super::super::seccomp::profile;
    use super::*;

    const CASE: &str = "SKEP_ENGINE_TEST_RULES";
    /// Of `linux/ptrace.h`.
    const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;

    /// Masks, alternatives for one argument, other errors, and names that nobody knows.
    fn unusual() -> Value {
        serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_NATIVE"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                { "names": ["ioctl", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
                  "args": [{ "index": 1, "value": 7, "op": "SCMP_CMP_EQ" },
                           { "index": 1, "value": 4, "op": "SCMP_CMP_GE" }] },
                { "names": ["fcntl"], "action": "SCMP_ACT_LOG",
                  "args": [{ "index": 1, "value": 8, "valueTwo": 24, "op": "SCMP_CMP_MASKED_EQ" },
                           { "index": 2, "value": 1, "op": "SCMP_CMP_NE" }] },
                { "names": ["chmod"], "action": "SCMP_ACT_KILL_PROCESS" },
                { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
            ],
        })
    }

    fn cases() -> [Value; 3] {
        [profile(&[]), profile(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]), unusual()]
    }

    /// Run by the next test in a process of its own, for a filter stays.
    #[test]
    #[ignore = "a part of another test"]
    fn filtered_by_libcontainer() {
        let Ok(case) = std::env::var(CASE) else { return };
        let rules: LinuxSeccomp =
            serde_json::from_value(cases()[case.parse::<usize>().unwrap()].clone()).unwrap();
        libcontainer::seccomp::initialize_seccomp(&rules).unwrap();
        println!("\nthread {}", nix::unistd::gettid());
        std::thread::sleep(Duration::from_secs(60));
    }

    fn ptrace(
        request: libc::c_uint,
        thread: i32,
        address: usize,
        data: *mut u8,
    ) -> io::Result<usize> {
        // SAFETY: `data` is null or as long as the kernel said that the filter is.
        let answer = unsafe { libc::ptrace(request, thread, address, data) };
        Ok(Errno::result(answer)? as usize)
    }

    /// What a thread's last filter is, as the kernel tells who may look at it.
    fn loaded(thread: i32) -> io::Result<Vec<u8>> {
        let none = std::ptr::null_mut();
        ptrace(libc::PTRACE_ATTACH, thread, 0, none)?;
        // SAFETY: a null status is allowed.
        Errno::result(unsafe { libc::waitpid(thread, none.cast(), libc::__WALL) })?;
        let program = ptrace(PTRACE_SECCOMP_GET_FILTER, thread, 0, none).and_then(|instructions| {
            let mut program = vec![0; instructions * INSTRUCTION_BYTES];
            ptrace(PTRACE_SECCOMP_GET_FILTER, thread, 0, program.as_mut_ptr())?;
            Ok(program)
        });
        // One that is traced when it ends waits for its tracer, and its process with it.
        ptrace(libc::PTRACE_DETACH, thread, 0, none)?;
        program
    }

    #[test]
    fn it_is_what_libcontainer_would_have_loaded() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIP it_is_what_libcontainer_would_have_loaded: needs root");
            return;
        }
        for (number, rules) in cases().iter().enumerate() {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "shim::filter::tests::filtered_by_libcontainer"])
                .args(["--ignored", "--nocapture"])
                .env(CASE, number.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let thread = lines.map_while(Result::ok).find_map(|line| {
                line.strip_prefix("thread ").and_then(|thread| thread.parse().ok())
            });
            let theirs = loaded(thread.expect("the filter is loaded"));
            child.kill().unwrap();
            child.wait().unwrap();
            match theirs {
                Ok(theirs) => {
                    let ours = Filter::compile(rules).unwrap();
                    assert_eq!(ours.program.len(), theirs.len(), "case {number}");
                    assert!(ours.program == theirs, "case {number}");
                    let text = serde_json::to_string(&ours).unwrap();
                    assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), ours);
                }
                // The kernel is built without what reads filters.
                Err(error) => eprintln!("SKIP case {number}: {error}"),
            }
        }
    }

    #[test]
    fn what_the_kernel_could_not_hold_is_refused() {
        let with = |change: fn(&mut Value)| {
            let mut rules = unusual();
            change(&mut rules);
            let said = Filter::check(&rules).unwrap_err();
            assert_eq!(Filter::compile(&rules).unwrap_err(), said);
            said.strip_prefix("Decoding seccomp profile failed: ").expect(&said).to_owned()
        };
        let said = with(|it| it["defaultAction"] = "SCMP_ACT_NONSENSE".into());
        assert_eq!(said, "action SCMP_ACT_NONSENSE is not supported");
        let said = with(|it| it["syscalls"][0]["args"][0]["op"] = "SCMP_CMP_XX".into());
        assert_eq!(said, "comparison SCMP_CMP_XX is not supported");
        let said = with(|it| it["flags"][0] = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".into());
        assert_eq!(said, "flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is not supported");
        let said = with(|it| it["architectures"][0] = "SCMP_ARCH_PDP11".into());
        assert_eq!(said, "architecture SCMP_ARCH_PDP11 is not supported");
        let said = with(|it| it["syscalls"] = 7.into());
        assert!(said.starts_with("invalid type"), "{said}");
        assert_eq!(Filter::check(&unusual()), Ok(()));
    }
}
