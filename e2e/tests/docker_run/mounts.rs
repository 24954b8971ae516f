//! `--mount`, `-v` and `--tmpfs` in every form.

use skep_e2e::{IMAGE, both};

#[test]
fn tmpfs_by_either_flag() {
    both(|cli| {
        let options = |target: &str| {
            format!("grep ' {target} ' /proc/mounts | cut -d' ' -f4; stat -c %a {target}")
        };
        let long = ["--mount", "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=0700"];
        let seen = cli.script(&long, &options("/t"));
        for word in ["rw", "nosuid", "nodev", "noexec", "size=1024k"] {
            assert!(seen.split([',', '\n']).any(|it| it == word), "{word} is not in {seen}");
        }
        assert!(seen.ends_with("\n700"), "{seen}");
        let read_only = ["--mount", "type=tmpfs,dst=/t,readonly"];
        assert!(cli.script(&read_only, "touch /t/x 2>&1; :").contains("Read-only"));
        let short = ["--tmpfs", "/t:size=64k,exec,mode=1700,uid=1000"];
        let seen = cli.script(&short, &options("/t"));
        assert!(
            seen.contains("size=64k") && seen.contains("uid=1000") && !seen.contains("noexec"),
            "{seen}"
        );
        assert!(seen.ends_with("\n1700"), "{seen}");
        assert!(
            cli.script(&short, "dd if=/dev/zero of=/t/x bs=1k count=100 2>&1; :")
                .contains("No space")
        );
        let name = cli.name("memory");
        cli.ok(&[&["create", "--name", &name], &long[..], &short[..0], &[IMAGE]].concat());
        assert_eq!(
            cli.inspect(&name, "{{range .Mounts}}{{.Type}} {{.Destination}}{{end}}"),
            "tmpfs /t"
        );
        cli.refuses(&["--tmpfs", "/t:nosuch=1"], "nvalid tmpfs option");
        cli.refuses(
            &["--mount", "type=tmpfs,source=/x,target=/t"],
            "field Source must not be specified",
        );
        cli.refuses(
            &["--mount", "type=tmpfs,target=/t,tmpfs-size=many"],
            "invalid value for tmpfs-size",
        );
        cli.refuses(
            &["--mount", "type=tmpfs,target=/t,volume-nocopy"],
            "cannot mix 'volume-*' options",
        )
    });
}

#[test]
fn volumes_by_either_flag() {
    both(|cli| {
        let volume = cli.name("data");
        // The image's files go into a new volume, unless they are not to.
        let copied = format!("{volume}-full:/www");
        assert_eq!(cli.said(&["-v", &copied], &["ls", "/www"]), "index.html");
        let bare = cli.name("bare");
        assert_eq!(cli.said(&["-v", &format!("{bare}:/www:nocopy")], &["ls", "/www"]), "");
        let bare = cli.name("barer");
        let long = format!("type=volume,src={bare},dst=/www,volume-nocopy=true");
        assert_eq!(cli.said(&["--mount", &long], &["ls", "/www"]), "");
        let mount = format!("source={volume},target=/d,volume-label=tier=db,volume-driver=local");
        cli.script(&["--mount", &mount], "mkdir -p /d/deep/er && echo found > /d/deep/er/file");
        assert_eq!(cli.ok(&["volume", "inspect", "-f", "{{.Labels.tier}}", &volume]), "db");
        let sub = format!("type=volume,source={volume},target=/s,volume-subpath=deep/er");
        assert_eq!(cli.said(&["--mount", &sub], &["cat", "/s/file"]), "found");
        for bad in ["deep/none", "../x", "/deep"] {
            let sub = format!("type=volume,source={volume},target=/s,volume-subpath={bad}");
            cli.refuses(&["--mount", &sub], "subpath");
        }
        // A link in it leads nowhere else.
        cli.script(&["-v", &format!("{volume}:/d")], "ln -s /etc /d/out");
        let out = format!("type=volume,source={volume},target=/s,volume-subpath=out");
        let ran = cli.run(&["run", "--rm", "--mount", &out, IMAGE, "ls", "/s/passwd"]);
        assert_ne!(ran.status, 0, "{ran:?}");
        for mode in ["ro", "z,ro", "ro,nocopy"] {
            let spec = format!("{volume}:/d:{mode}");
            assert!(
                cli.script(&["-v", &spec], "touch /d/x 2>&1; :").contains("Read-only"),
                "{mode}"
            );
        }
        for mode in ["rw", "z", "Z", "cached"] {
            let spec = format!("{volume}:/d:{mode}");
            assert_eq!(cli.script(&["-v", &spec], "touch /d/x && echo wrote"), "wrote", "{mode}");
        }
        let other = format!("type=volume,source={volume}-o,target=/d,volume-driver=nosuch");
        cli.refuses(&["--mount", &other], "nosuch");
        cli.refuses(&["-v", &format!("{volume}:/d:nonsense")], "invalid mode: nonsense");
        cli.ok(&["volume", "rm", &volume, &format!("{volume}-full")]);
        let anonymous = cli.name("anonymous");
        cli.ok(&[
            "create",
            "--name",
            &anonymous,
            "--mount",
            "type=volume,target=/d",
            "-v",
            "/e",
            IMAGE,
        ]);
        let count = cli.inspect(&anonymous, "{{len .Mounts}} {{(index .Mounts 0).Type}}");
        cli.ok(&["rm", "-v", &anonymous]);
        count
    });
}

#[test]
fn drivers_of_volumes() {
    both(|cli| {
        let volume = cli.name("local");
        let spec = format!("{volume}:/d");
        assert_eq!(
            cli.said(&["--volume-driver", "local", "-v", &spec], &["echo", "local"]),
            "local"
        );
        assert_eq!(cli.ok(&["volume", "inspect", "-f", "{{.Driver}}", &volume]), "local");
        cli.ok(&["volume", "rm", &volume]);
        // One that is not asked for anything is not missed.
        assert_eq!(cli.said(&["--volume-driver", "nosuch"], &["echo", "alone"]), "alone");
        cli.refuses(
            &["--volume-driver", "nosuch", "-v", "/d"],
            "error looking up volume plugin nosuch: plugin \"nosuch\" not found",
        );
        cli.refuses(
            &["--storage-opt", "size=1G"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        );
        cli.refuses(&["--storage-opt", "nonsense"], "invalid storage option")
    });
}

#[test]
fn binds_by_either_flag() {
    both(|cli| {
        let file = cli.file("bound/file", "host\n");
        let folder = file.strip_suffix("/file").unwrap().to_owned();
        for mount in [
            format!("type=bind,source={folder},target=/b,readonly"),
            format!("type=bind,src={folder},dst=/b,ro=true,bind-propagation=rprivate"),
            format!(
                "type=bind,source={folder},destination=/b,readonly,bind-recursive=readonly,bind-propagation=rprivate"
            ),
            format!("type=bind,source={folder},destination=/b,readonly,bind-recursive=writable"),
            format!("type=bind,source={folder},destination=/b,readonly,bind-recursive=disabled"),
        ] {
            let seen = cli.script(&["--mount", &mount], "cat /b/file; touch /b/x 2>&1; :");
            assert!(seen.starts_with("host\n") && seen.contains("Read-only"), "{mount}: {seen}");
        }
        for spec in [
            format!("{folder}:/b:ro"),
            format!("{folder}:/b:ro,z"),
            format!("{folder}:/b:ro,rslave"),
        ] {
            let ran = cli.run(&["run", "--rm", "-v", &spec, IMAGE, "touch", "/b/x"]);
            assert!(
                ran.stderr.contains("Read-only")
                    || ran.stderr.contains("not a shared or slave mount"),
                "{spec}: {ran:?}"
            );
        }
        let one = format!("{file}:/etc/one");
        assert_eq!(cli.said(&["-v", &one], &["cat", "/etc/one"]), "host");
        // -v makes what is missing; --mount does so only where told.
        let made = format!("{folder}/made");
        assert_eq!(
            cli.script(&["-v", &format!("{made}:/m")], "echo x > /m/y && echo wrote"),
            "wrote"
        );
        assert_eq!(cli.shell(&format!("cat {made}/y")), "x");
        let missing = format!("type=bind,source={folder}/missing,target=/m");
        cli.refuses(&["--mount", &missing], "bind source path does not exist");
        cli.refuses(
            &["--mount", "type=bind,source=relative,target=/m"],
            "mount path must be absolute",
        );
        cli.refuses(&["--mount", "type=nosuch,target=/m"], "nosuch");
        cli.refuses(
            &["--mount", &format!("type=bind,source={folder},target=/")],
            "destination can't be '/'",
        );
        cli.refuses(&["-v", &format!("{folder}:/b"), "-v", "/other:/b"], "uplicate mount point: /b")
    });
}

#[test]
fn later_mounts_are_seen_as_they_are_told_to_be() {
    both(|cli| {
        let file = cli.file("tree/place", "");
        let folder = file.strip_suffix("/place").unwrap().to_owned();
        cli.shell(&format!(
            "mount -t tmpfs x {folder} && mount --make-shared {folder} && mkdir {folder}/late"
        ));
        let named =
            |kind: &str, spec: &str| cli.idle(kind, &["-v", &format!("{folder}:/b:{spec}")]);
        let (slave, private) = (named("slave", "rslave"), named("private", "rprivate"));
        let long = format!("type=bind,source={folder},target=/b,bind-propagation=rshared");
        let shared = cli.idle("shared", &["--cap-add", "SYS_ADMIN", "--mount", &long]);
        assert_eq!(cli.inspect(&slave, "{{(index .Mounts 0).Propagation}}"), "rslave");
        assert_eq!(cli.inspect(&shared, "{{(index .Mounts 0).Propagation}}"), "rshared");
        cli.shell(&format!("mount -t tmpfs x {folder}/late && touch {folder}/late/seen"));
        let seen = |name: &str| cli.inside(name, "ls /b/late");
        let found = (seen(&slave), seen(&private), seen(&shared));
        // What the container mounts comes back to the host.
        cli.inside(&shared, "mount -t tmpfs y /b/late && touch /b/late/inner");
        let back = cli.shell(&format!("ls {folder}/late"));
        cli.ok(&["rm", "-f", &slave, &private, &shared]);
        cli.shell(&format!("umount {folder}/late; umount {folder}/late; umount -l {folder}"));
        assert_eq!(found, ("seen".into(), String::new(), "seen".into()));
        assert_eq!(back, "inner");
        let plain = cli.file("plain/x", "");
        let plain = plain.strip_suffix("/x").unwrap();
        cli.refuses(&["-v", &format!("{plain}:/b:rshared")], "is not a shared mount")
    });
}
