//! `--security-opt` in every form.

use skep_e2e::{CommandLine, IMAGE, both};

fn status(cli: &CommandLine, option: &str, key: &str) -> String {
    let text =
        cli.said(&["--security-opt", option], &["grep", &format!("^{key}:"), "/proc/self/status"]);
    text.split_whitespace().last().unwrap_or_default().to_owned()
}

#[test]
fn system_calls_are_filtered_as_a_profile_says() {
    both(|cli| {
        assert_eq!(status(cli, "seccomp=builtin", "Seccomp"), "2");
        assert_eq!(status(cli, "seccomp=unconfined", "Seccomp"), "0");
        let profile = r#"{ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }"#;
        let file = cli.file("profile.json", profile);
        let option = format!("seccomp={file}");
        let said = cli.script(
            &["--security-opt", &option],
            "mkdir /tmp/x 2>&1 || touch /tmp/y && echo touched",
        );
        assert_eq!(
            said,
            "mkdir: can't create directory '/tmp/x': Operation not permitted\ntouched"
        );
        let name = cli.idle("filtered", &["--security-opt", &option]);
        assert!(cli.inspect(&name, "{{json .HostConfig.SecurityOpt}}").contains("SCMP_ACT_ERRNO"));
        let ran = cli.run(&["exec", &name, "mkdir", "/tmp/x"]);
        assert!(ran.stderr.contains("Operation not permitted"), "{ran:?}");
        cli.ok(&["rm", "-f", &name]);
        let broken = cli.file("broken.json", "{");
        cli.refuses(&["--security-opt", &format!("seccomp={broken}")], "seccomp profile");
        cli.refuses(&["--security-opt", "seccomp=/nowhere.json"], "opening seccomp profile");
        let wrong = cli.file("wrong.json", r#"{ "defaultAction": "SCMP_ACT_NONSENSE" }"#);
        cli.refuses(&["--security-opt", &format!("seccomp={wrong}")], "SCMP_ACT_NONSENSE")
    });
}

#[test]
fn no_privilege_is_gained() {
    both(|cli| {
        for (option, wanted) in [
            ("no-new-privileges", "1"),
            ("no-new-privileges:true", "1"),
            ("no-new-privileges=true", "1"),
            ("no-new-privileges=false", "0"),
        ] {
            assert_eq!(status(cli, option, "NoNewPrivs"), wanted, "{option}");
        }
        let name = cli.idle("held", &["--security-opt", "no-new-privileges"]);
        assert_eq!(cli.inside(&name, "grep -c 'NoNewPrivs:.1' /proc/self/status"), "1");
        assert_eq!(cli.inspect(&name, "{{.HostConfig.SecurityOpt}}"), "[no-new-privileges]");
    });
}

#[test]
fn labels_and_profiles_of_modules_that_are_not_there() {
    both(|cli| {
        // Without SELinux a label means nothing.
        for option in ["label=disable", "label=type:container_t", "label=level:s0:c1,c2"] {
            assert_eq!(cli.said(&["--security-opt", option], &["echo", "labelled"]), "labelled");
        }
        assert_eq!(cli.said(&["--security-opt", "apparmor=unconfined"], &["echo", "bare"]), "bare");
        let has = "cat /sys/module/apparmor/parameters/enabled 2>/dev/null || :";
        if cli.shell(has) != "Y" {
            cli.refuses(&["--security-opt", "apparmor=nosuch"], "AppArmor");
        }
        cli.refuses(&["--security-opt", "nonsense=x"], "invalid --security-opt");
        cli.refuses(&["--security-opt", "nonsense"], "nvalid --security-opt")
    });
}

#[test]
fn paths_of_the_system_are_masked_unless_told() {
    both(|cli| {
        let hidden = "cat /proc/keys 2>&1 | head -c1 | wc -c; touch /proc/sys/kernel/domainname 2>&1 | grep -c Read-only";
        assert_eq!(cli.script(&[], hidden), "0\n1");
        let open = ["--security-opt", "systempaths=unconfined"];
        let mounts = "grep -cE ' /proc/[^ ]+ ' /proc/mounts";
        assert_ne!(cli.script(&[], mounts), "0");
        assert_eq!(cli.said(&open, &["sh", "-c", &format!("{mounts} || :")]), "0");
        let name = cli.name("open");
        cli.ok(&[&["create", "--name", &name], &open[..], &[IMAGE]].concat());
        assert_eq!(
            cli.inspect(
                &name,
                "{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}"
            ),
            "[] []"
        );
    });
}

#[test]
fn cgroups_are_writable_where_told() {
    both(|cli| {
        // On version 1 below a hierarchy, on version 2 at its root.
        let make = "cd /sys/fs/cgroup; [ -e cgroup.controllers ] || cd memory; mkdir own 2>/dev/null && echo made; rmdir own 2>/dev/null; :";
        assert_eq!(cli.script(&[], make), "");
        assert_eq!(cli.script(&["--security-opt", "writable-cgroups=true"], make), "made");
        assert_eq!(cli.script(&["--security-opt", "writable-cgroups=false"], make), "");
        cli.refuses(&["--security-opt", "writable-cgroups=perhaps"], "invalid --security-opt")
    });
}

#[test]
fn the_profile_of_apparmor_is_shown_where_the_host_has_it() {
    both(|cli| {
        let has = "[ \"$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)\" = Y ] && \
                   { [ -x /sbin/apparmor_parser ] || [ -x /usr/sbin/apparmor_parser ]; } && echo yes || :";
        let has = cli.shell(has) == "yes";
        let shown = |base: &str, flags: &[&str]| {
            let name = cli.name(base);
            cli.ok(&[&["create", "--name", &name], flags, &[IMAGE]].concat());
            cli.inspect(&name, "{{.AppArmorProfile}}")
        };
        let where_it_is = |name: &'static str| if has { name } else { "" };
        assert_eq!(shown("plain", &[]), where_it_is("docker-default"));
        assert_eq!(shown("free", &["--privileged"]), where_it_is("unconfined"));
        let named = shown("bare", &["--security-opt", "apparmor=unconfined"]);
        assert_eq!(named, where_it_is("unconfined"));
        let options = cli.ok(&["info", "--format", "{{.SecurityOptions}}"]);
        assert_eq!(options.contains("name=apparmor"), has, "{options}");
    });
}
