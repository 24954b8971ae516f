//! The system calls a container may make: Docker's default profile.
//!
//! All that is not listed fails with EPERM. What is listed per capability is allowed to containers
//! that have it. What the kernel takes is made from it by [`super::filter`].

use serde_json::{Value, json};

use super::profile::{self, Host};
use crate::config::{ContainerConfig, Seccomp};

/// Namespace flags of clone(2), which a container may not set: NEWNS, NEWCGROUP, NEWUTS, NEWIPC,
/// NEWUSER, NEWPID, NEWNET.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
/// AF_VSOCK reaches the hypervisor and knows no network namespace.
const AF_VSOCK: u64 = 40;
/// Harmless execution domains: Linux, Linux32, UNAME26, both, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Allowed to every container.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
    dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
    fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32
    geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp
    getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday
    getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2
    read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
    riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity
    sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
    set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr
    setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask
    sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate
    truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64
    utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed with a capability.
const WITH_CAPABILITY: [(&str, &str); 13] = [
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
         umount umount2 unshare",
    ),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
];

#[cfg(target_arch = "x86_64")]
const MACHINE: (&str, &[&str]) =
    ("arch_prctl modify_ldt", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
#[cfg(target_arch = "aarch64")]
const MACHINE: (&str, &[&str]) = (
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the seccomp profile knows x86_64 and aarch64 only");

#[cfg(target_arch = "x86_64")]
const GO_MACHINE: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const GO_MACHINE: &str = "arm64";

/// The rules for a container of these capabilities; None where it may call all. A privileged
/// container has some only if it asked for them.
pub fn rules(config: &ContainerConfig, capabilities: &[&str]) -> Result<Option<Value>, String> {
    match &config.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if config.privileged => Ok(None),
        Seccomp::Default => Ok(Some(profile(capabilities))),
        Seccomp::Profile(text) => {
            let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            let host = Host {
                capabilities,
                machine: GO_MACHINE,
                architecture: MACHINE.1[0],
                kernel: kernel.trim(),
            };
            profile::read(text, &host)
        }
    }
}

/// The profile for a container of these capabilities, as the OCI runtime specification writes it.
pub fn profile(capabilities: &[&str]) -> Value {
    let (machine_calls, architectures) = MACHINE;
    let mut rules = vec![allow(ALWAYS), allow(machine_calls)];
    rules.push(when("socket", &[argument(0, "SCMP_CMP_NE", AF_VSOCK)]));
    for personality in PERSONALITIES {
        rules.push(when("personality", &[argument(0, "SCMP_CMP_EQ", personality)]));
    }
    for (capability, calls) in WITH_CAPABILITY {
        if capabilities.contains(&capability) {
            rules.push(allow(calls));
        }
    }
    if capabilities.contains(&"CAP_PERFMON") && !capabilities.contains(&"CAP_SYS_ADMIN") {
        rules.push(allow("perf_event_open"));
    }
    if !capabilities.contains(&"CAP_SYS_ADMIN") {
        // The mask is the second value and what is expected the first, the other way round than in
        // Docker's JSON.
        rules.push(json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{
                "index": 0,
                "value": 0,
                "valueTwo": CLONE_NAMESPACES,
                "op": "SCMP_CMP_MASKED_EQ",
            }],
        }));
        // The flags of clone3 are behind a pointer. ENOSYS makes C libraries fall back to clone.
        rules.push(json!({
            "names": ["clone3"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": libc::ENOSYS,
        }));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": architectures,
        "syscalls": rules,
    })
}

fn allow(calls: &str) -> Value {
    let names: Vec<&str> = calls.split_whitespace().collect();
    json!({ "names": names, "action": "SCMP_ACT_ALLOW" })
}

fn when(call: &str, arguments: &[Value]) -> Value {
    json!({ "names": [call], "action": "SCMP_ACT_ALLOW", "args": arguments })
}

fn argument(index: u32, operator: &str, value: u64) -> Value {
    json!({ "index": index, "value": value, "op": operator })
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::*;

    fn allowed(profile: &Value, call: &str) -> bool {
        profile["syscalls"].as_array().unwrap().iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW"
                && rule["args"].is_null()
                && rule["names"].as_array().unwrap().iter().any(|name| name == call)
        })
    }

    #[test]
    fn capabilities_open_system_calls() {
        let bare = profile(&[]);
        assert!(allowed(&bare, "execve"));
        for call in ["mount", "unshare", "clone", "clone3", "keyctl", "io_uring_setup", "reboot"] {
            assert!(!allowed(&bare, call), "{call}");
        }
        let admin = profile(&["CAP_SYS_ADMIN"]);
        for call in ["mount", "unshare", "clone", "clone3"] {
            assert!(allowed(&admin, call), "{call}");
        }
        assert!(!allowed(&admin, "reboot"));
    }

    /// Run by the next test in a process of its own, for a filter stays.
    #[test]
    #[ignore = "a part of another test"]
    fn filtered() {
        if std::env::var_os("SKEP_ENGINE_TEST_FILTER").is_none() {
            return;
        }
        Filter::compile(&profile(&["CAP_SYS_CHROOT"])).unwrap().install().unwrap();
        let call = |number, a: libc::c_ulong, b: libc::c_ulong| {
            // SAFETY: none of the calls below takes a pointer that is not null; children end at
            // once.
            let result = unsafe { libc::syscall(number, a, b, 0, 0, 0) };
            if result == 0 && number == libc::SYS_clone {
                // SAFETY: ends this process, which shares nothing with its parent.
                unsafe { libc::_exit(0) }
            }
            if result >= 0 { 0 } else { nix::errno::Errno::last_raw() }
        };
        let child = libc::SIGCHLD as libc::c_ulong;
        let with = |flag: libc::c_int| flag as u32 as libc::c_ulong | child;
        let plain = call(libc::SYS_clone, child, 0);
        let namespaces = [
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWNS,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWCGROUP,
        ]
        .map(|flag| call(libc::SYS_clone, with(flag), 0));
        println!(
            "clone {plain} namespaces {namespaces:?} clone3 {} unshare {} keyctl {} vsock {} inet {} \
             personality {} randomization {}",
            call(libc::SYS_clone3, 0, 0),
            call(libc::SYS_unshare, libc::CLONE_NEWUSER as libc::c_ulong, 0),
            call(libc::SYS_keyctl, 0, 0),
            call(libc::SYS_socket, libc::AF_VSOCK as libc::c_ulong, libc::SOCK_STREAM as _),
            call(libc::SYS_socket, libc::AF_INET as libc::c_ulong, libc::SOCK_STREAM as _),
            call(libc::SYS_personality, 0xffff_ffff, 0),
            call(libc::SYS_personality, 0x0004_0000, 0),
        );
    }

    #[test]
    fn the_kernel_holds_to_the_profile() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIP the_kernel_holds_to_the_profile: needs root");
            return;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shim::seccomp::tests::filtered", "--ignored", "--nocapture"])
            .env("SKEP_ENGINE_TEST_FILTER", "1")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let told = said.lines().find(|line| line.starts_with("clone ")).expect(&said);
        // EPERM is 1, ENOSYS is 38.
        assert_eq!(
            told,
            "clone 0 namespaces [1, 1, 1, 1, 1, 1, 1] clone3 38 unshare 1 keyctl 1 vsock 1 inet 0 \
             personality 0 randomization 1"
        );
    }
}
