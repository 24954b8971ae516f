//! `skep stack`: Compose files on disk to calls of the API, beside what Docker's own command line says of the same files.

mod support;

use expect_test::{Expect, expect};
use skep_docker_api::json::*;
use support::busy::task;
use support::fake::{Fake, WORKER};
use support::{Daemon, none, ours_for};

/// A folder with Compose files; `@` in a line stands for it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn line(&self, line: &str) -> String {
        line.replace('@', self.0.path().to_str().unwrap())
    }

    fn check(&self, daemon: &Daemon, line: &str, expected: Expect) {
        let line = self.line(line);
        let arguments: Vec<_> = line.split(' ').collect();
        let mut text = daemon.skep(&arguments).replace(self.0.path().to_str().unwrap(), "@");
        let calls = daemon.calls();
        if !calls.is_empty() {
            text.push_str(&format!("-> {calls}\n"));
        }
        expected.assert_eq(&text);
    }
}

const WEB: &str = "
services:
  web:
    image: nginx:1.25
    ports: ['8080:80']
    networks: [back]
    secrets: [key]
    configs:
      - source: conf
        target: /etc/conf
    deploy:
      replicas: 2
networks:
  back:
    driver: overlay
secrets:
  key:
    file: ./key
configs:
  conf:
    external: true
";

fn labelled(mut fake: Fake) -> Fake {
    let label = || Map::from([("com.docker.stack.namespace".to_owned(), "shop".to_owned())]);
    fake.services.get_mut().unwrap()[0].spec.labels = label();
    fake.networks.get_mut().unwrap()[0].labels = label();
    fake.secrets.get_mut().unwrap()[0].spec.labels = label();
    fake.configs.get_mut().unwrap()[0].spec.labels = label();
    fake
}

#[test]
fn deploy_makes_what_is_missing_and_updates_what_is_there() {
    let folder = Folder::new(&[("web.yml", WEB), ("key", "hush")]);
    let daemon = Daemon::start(Fake::busy());
    folder.check(&daemon, "stack deploy --detach=true -c @/web.yml st", expect![[r#"
        Creating network st_back
        Creating secret st_key
        Creating service st_web
        -> network {"Name":"st_back","Driver":"overlay","Scope":"","IPAM":null,"Internal":false,"Attachable":false,"Ingress":false,"ConfigOnly":false,"Options":{},"Labels":{"com.docker.stack.namespace":"st"}}
        secret {"Name":"st_key","Labels":{"com.docker.stack.namespace":"st"},"Data":"aHVzaA=="}
        create {"Name":"st_web","Labels":{"com.docker.stack.image":"nginx:1.25","com.docker.stack.namespace":"st"},"TaskTemplate":{"ContainerSpec":{"Image":"nginx:1.25","Labels":{"com.docker.stack.namespace":"st"},"DNSConfig":{},"Secrets":[{"File":{"Name":"key","UID":"0","GID":"0","Mode":292},"SecretID":"secret-st_key","SecretName":"st_key"}],"Configs":[{"File":{"Name":"/etc/conf","UID":"0","GID":"0","Mode":292},"ConfigID":"config-conf","ConfigName":"conf"}],"Isolation":"default"},"Resources":{"Limits":{},"Reservations":{}},"RestartPolicy":{"Condition":"any","Delay":5000000000,"MaxAttempts":0,"Window":0},"Placement":{},"Networks":[{"Target":"network-st_back","Aliases":["web"]}],"ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":{"Replicas":2}},"UpdateConfig":{"Parallelism":1,"FailureAction":"pause","Monitor":5000000000,"MaxFailureRatio":0.0,"Order":"stop-first"},"RollbackConfig":{"Parallelism":1,"FailureAction":"pause","Monitor":5000000000,"MaxFailureRatio":0.0,"Order":"stop-first"},"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"ingress"}]}}
    "#]]);
    folder.check(&daemon, "stack deploy -c @/web.yml --prune st", expect![[r#"
        Updating service st_web (id: newserviceidnewserviceid1)
        Since --detach=false was not specified, tasks will be created in the background.
        In a future release, --detach=false will become the default.
        -> secret update secret-st_key 0 {"Name":"st_key","Labels":{"com.docker.stack.namespace":"st"},"Data":"aHVzaA=="}
        update newserviceidnewserviceid1 0 back=false {"Name":"st_web","Labels":{"com.docker.stack.image":"nginx:1.25","com.docker.stack.namespace":"st"},"TaskTemplate":{"ContainerSpec":{"Image":"nginx:1.25","Labels":{"com.docker.stack.namespace":"st"},"DNSConfig":{},"Secrets":[{"File":{"Name":"key","UID":"0","GID":"0","Mode":292},"SecretID":"secret-st_key","SecretName":"st_key"}],"Configs":[{"File":{"Name":"/etc/conf","UID":"0","GID":"0","Mode":292},"ConfigID":"config-conf","ConfigName":"conf"}],"Isolation":"default"},"Resources":{"Limits":{},"Reservations":{}},"RestartPolicy":{"Condition":"any","Delay":5000000000,"MaxAttempts":0,"Window":0},"Placement":{},"Networks":[{"Target":"network-st_back","Aliases":["web"]}],"ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":{"Replicas":2}},"UpdateConfig":{"Parallelism":1,"FailureAction":"pause","Monitor":5000000000,"MaxFailureRatio":0.0,"Order":"stop-first"},"RollbackConfig":{"Parallelism":1,"FailureAction":"pause","Monitor":5000000000,"MaxFailureRatio":0.0,"Order":"stop-first"},"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"ingress"}]}}
    "#]]);
}

const VERSIONED: &str = "
services:
  web:
    image: nginx:${TAG}
    environment: {A: '${TAG}'}
    secrets: [key]
    configs: [conf]
  extra:
    image: extra
secrets:
  key:
    file: ./key
configs:
  conf:
    file: ./conf
";

/// A stack's folder in which a variable stands for the image's tag.
fn versioned(tag: &str, key: &str, conf: &str) -> Folder {
    let file = VERSIONED.replace("${TAG}", tag);
    Folder::new(&[("web.yml", &file), ("key", key), ("conf", conf)])
}

#[test]
fn changed_content_goes_out_as_a_new_version_and_old_ones_go() {
    let daemon = Daemon::start(Fake::swarm());
    let deploy = |folder: &Folder| {
        daemon.skep(&folder.line("stack deploy -d -c @/web.yml st").split(' ').collect::<Vec<_>>())
    };
    let held = || {
        let secrets = daemon.fake.secrets.lock().unwrap();
        let configs = daemon.fake.configs.lock().unwrap();
        let names = secrets.iter().map(|it| it.spec.name.clone());
        names.chain(configs.iter().map(|it| it.spec.name.clone())).collect::<Vec<_>>()
    };
    deploy(&versioned("1", "one", "a"));
    assert_eq!(held(), ["st_key", "st_conf"]);
    // The fake stores no updates of services: what they refer to then is set by hand.
    let refer = |secret: &str, previous: Option<&str>| {
        let mut services = daemon.fake.services.lock().unwrap();
        let web = services.iter_mut().find(|it| it.spec.name == "st_web").unwrap();
        let spec_with = |name: &str, spec: &ServiceSpec| {
            let mut spec = spec.clone();
            let container = spec.task_template.container_spec.as_mut().unwrap();
            container.secrets[0].secret_id = format!("secret-{name}");
            container.configs[0].config_id = "config-st_conf.2".into();
            spec
        };
        web.previous_spec = previous.map(|name| spec_with(name, &web.spec));
        web.spec = spec_with(secret, &web.spec);
    };
    let said = deploy(&versioned("1", "two", "b"));
    assert!(said.contains("Creating secret st_key.2\n"), "{said}");
    assert!(said.contains("Creating config st_conf.2\n"), "{said}");
    let calls = daemon.calls();
    let update = calls.lines().rfind(|call| call.starts_with("update ")).unwrap();
    assert!(update.contains(r#""SecretID":"secret-st_key.2","SecretName":"st_key.2""#), "{update}");
    assert!(update.contains(r#""File":{"Name":"key""#), "{update}");
    assert!(calls.contains(r#""skep.stack.version-of":"st_key""#), "{calls}");
    // The service still refers to the first ones as far as the fake knows.
    assert_eq!(held(), ["st_key", "st_key.2", "st_conf", "st_conf.2"]);
    refer("st_key.2", Some("st_key"));
    // What a rollback goes back to stays.
    let said = deploy(&versioned("1", "two", "b"));
    assert!(!said.contains("Creating"), "{said}");
    assert!(said.contains("Removing config st_conf\n"), "{said}");
    assert_eq!(held(), ["st_key", "st_key.2", "st_conf.2"]);
    refer("st_key.2", Some("st_key.2"));
    let said = deploy(&versioned("1", "two", "b"));
    assert!(said.contains("Removing secret st_key\n"), "{said}");
    assert_eq!(held(), ["st_key.2", "st_conf.2"]);
}

#[test]
fn a_dry_run_tells_what_a_deploy_would_do_and_does_nothing() {
    let daemon = Daemon::start(Fake::swarm());
    let first = versioned("1", "one", "a");
    first.check(
        &daemon,
        "stack deploy --dry-run -c @/web.yml st",
        expect![[r#"
        + network st_default
        + secret st_key
        + config st_conf
        + service st_extra
        + service st_web
        5 to create, 0 to change, 0 to remove, 0 unchanged
    "#]],
    );
    daemon.skep(&first.line("stack deploy -d -c @/web.yml st").split(' ').collect::<Vec<_>>());
    daemon.calls();
    first.check(
        &daemon,
        "stack diff -c @/web.yml st",
        expect![[r#"
        0 to create, 0 to change, 0 to remove, 5 unchanged
    "#]],
    );
    let second = versioned("2", "two", "a");
    std::fs::write(
        second.0.path().join("web.yml"),
        VERSIONED.replace("${TAG}", "2").replace("extra:", "other:"),
    )
    .unwrap();
    second.check(
        &daemon,
        "stack diff --prune -c @/web.yml st",
        expect![[r#"
        + secret st_key.2 (the content of st_key changed)
        + service st_other
        ~ service st_web
            Labels.com.docker.stack.image: "nginx:1" -> "nginx:2"
            TaskTemplate.ContainerSpec.Env.A: "1" -> "2"
            TaskTemplate.ContainerSpec.Image: "nginx:1" -> "nginx:2"
            TaskTemplate.ContainerSpec.Secrets[0].SecretName: "st_key" -> "st_key.2"
        - service st_extra
        2 to create, 1 to change, 1 to remove, 2 unchanged
        [1]
    "#]],
    );
    second.check(
        &daemon,
        "stack deploy --dry-run -c @/web.yml st",
        expect![[r#"
        + secret st_key.2 (the content of st_key changed)
        + service st_other
        ~ service st_web
            Labels.com.docker.stack.image: "nginx:1" -> "nginx:2"
            TaskTemplate.ContainerSpec.Env.A: "1" -> "2"
            TaskTemplate.ContainerSpec.Image: "nginx:1" -> "nginx:2"
            TaskTemplate.ContainerSpec.Secrets[0].SecretName: "st_key" -> "st_key.2"
        ! service st_extra is not in the files and stays: --prune removes it
        2 to create, 1 to change, 0 to remove, 2 unchanged
    "#]],
    );
    second.check(
        &daemon,
        "stack diff -c @/none.yml st",
        expect![[r#"
        open @/none.yml: no such file or directory
        [2]
    "#]],
    );
}

#[test]
fn waiting_ends_with_the_word_on_every_service() {
    let folder = versioned("1", "one", "a");
    let stand = |status: &str, state: &str| {
        let daemon = Daemon::start(Fake::swarm());
        daemon.skep(&folder.line("stack deploy -d -c @/web.yml st").split(' ').collect::<Vec<_>>());
        for service in daemon.fake.services.lock().unwrap().iter_mut() {
            service.spec.update_config = Some(UpdateConfig { monitor_ns: 1, ..Default::default() });
            let status = if service.spec.name == "st_web" { status } else { "" };
            service.update_status = (!status.is_empty()).then(|| UpdateStatus {
                state: status.into(),
                message: "task t failed".into(),
                ..Default::default()
            });
            let mut task = task("t", 1, WORKER, state, "running", "");
            task.service_id = service.id.clone();
            daemon.fake.tasks.lock().unwrap().push(task);
        }
        daemon.calls();
        daemon
    };
    let wait = |daemon: &Daemon, more: &str| {
        let line = folder.line(&format!("stack deploy --wait{more} -c @/web.yml st"));
        let said = daemon.skep(&line.split(' ').collect::<Vec<_>>());
        let about = said.lines().filter(|line| !line.starts_with("Updating"));
        about.map(|line| format!("{line}\n")).collect::<String>()
    };
    expect![[r#"
        st_extra: 1 out of 1 tasks
        st_web: 1 out of 1 tasks
        st_extra: converged
        st_web: converged
    "#]]
    .assert_eq(&wait(&stand("", "running"), ""));
    expect![[r#"
        st_extra: 1 out of 1 tasks
        st_web: rolling back update: 1 out of 1 tasks
        st_extra: converged
        st_web: converged
        st_web: task t failed
        service st_web: task t failed
        [1]
    "#]]
    .assert_eq(&wait(&stand("rollback_completed", "running"), ""));
    expect![[r#"
        st_extra: 1 out of 1 tasks
        st_web: service update paused: task t failed
        st_extra: converged
        service st_web: service update paused: task t failed
        [1]
    "#]]
    .assert_eq(&wait(&stand("paused", "running"), ""));
    expect![[r#"
        st_extra: 0 out of 1 tasks
        st_web: 0 out of 1 tasks
        service st_extra did not converge in time: 0 out of 1 tasks
        service st_web did not converge in time: 0 out of 1 tasks
        [1]
    "#]]
    .assert_eq(&wait(&stand("", "pending"), " --wait-timeout 1s"));
}

#[test]
fn nothing_changes_for_files_that_are_wrong() {
    let folder = Folder::new(&[
        ("typo.yml", "services:\n  web:\n    imag: x\n"),
        (
            "lost.yml",
            "services:\n  web:\n    image: x\n    networks: [n]\nnetworks:\n  n:\n    external: true\n",
        ),
    ]);
    let daemon = Daemon::start(Fake::busy());
    folder.check(
        &daemon,
        "stack deploy -d -c @/typo.yml st",
        expect![[r#"
        services.web Additional property imag is not allowed
         --> @/typo.yml:3:11
          |
        3 |     imag: x
          |           ^
        [1]
    "#]],
    );
    folder.check(&daemon, "stack deploy -d -c @/lost.yml st", expect![[r#"
        network "n" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed
        [1]
    "#]]);
    folder.check(
        &daemon,
        "stack deploy -d -c @/none.yml st",
        expect![[r#"
        open @/none.yml: no such file or directory
        [1]
    "#]],
    );
}

#[test]
fn config_merges_files() {
    let folder = Folder::new(&[
        ("a.yml", "services:\n  web:\n    image: nginx:${TAG:-1}\n"),
        ("b.yml", "services:\n  web:\n    environment: {A: '1'}\n"),
    ]);
    let daemon = Daemon::start(Fake::swarm());
    folder.check(
        &daemon,
        "stack config -c @/a.yml -c @/b.yml",
        expect![[r#"
        version: "3.13"
        services:
          web:
            environment:
              A: "1"
            image: nginx:1
    "#]],
    );
    folder.check(
        &daemon,
        "stack config -c @/a.yml --skip-interpolation",
        expect![[r#"
        version: "3.13"
        services:
          web:
            image: nginx:${TAG:-1}
    "#]],
    );
}

#[test]
fn removal_waits_for_tasks_to_end() {
    let folder = Folder::new(&[]);
    let daemon = Daemon::start(labelled(Fake::busy()));
    daemon.fake.held.store(true, std::sync::atomic::Ordering::Relaxed);
    let end = daemon.fake.clone();
    let ender = std::thread::spawn(move || {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while end.services.lock().unwrap().len() == 1 {
            assert!(std::time::Instant::now() < deadline, "the service is never removed");
            std::thread::yield_now();
        }
        end.tasks.lock().unwrap().iter_mut().for_each(|t| t.status.state = "shutdown".into());
    });
    folder.check(
        &daemon,
        "stack down --detach=false shop",
        expect![[r#"
        Removing service web
        Removing secret key
        Removing config conf
        Removing network front
        -> service rm web456789012345678901234w
        secret rm secret-key
        config rm config-conf
        network rm network-front
    "#]],
    );
    ender.join().unwrap();
    folder.check(
        &daemon,
        "stack rm shop",
        expect![[r#"
        Nothing found in stack: shop
    "#]],
    );
}

#[test]
fn a_login_goes_with_a_stack() {
    let file = "services: {web: {image: 'reg.example:5000/a:1'}}";
    let folder = Folder::new(&[("web.yml", file)]);
    let daemon = Daemon::start(Fake::swarm());
    daemon.log_in();
    let line = folder.line("stack deploy -d -c @/web.yml --with-registry-auth st");
    for asked in ["create ", "update "] {
        daemon.skep(&line.split(' ').collect::<Vec<_>>());
        let calls = daemon.calls();
        let call = calls.lines().find(|call| call.starts_with(asked)).unwrap();
        assert!(call.ends_with(" as me:secret"), "{call}");
    }
}

#[test]
fn both_say_the_same_of_stacks() {
    let folder = Folder::new(&[("web.yml", WEB), ("key", "hush")]);
    let stand = || {
        let mut fake = labelled(Fake::busy());
        let waiting = task("t", 9, WORKER, "pending", "running", "no node");
        fake.tasks.get_mut().unwrap().push(waiting);
        Daemon::start(fake)
    };
    let unlike = [
        "stack ls",
        "stack ls --format json",
        "stack ls --format {{.Name}}={{.Services}}",
        "stack services shop",
        "stack services -q shop",
        "stack services nope",
        "stack ps shop",
        "stack ps --no-trunc shop",
        "stack ps -q shop",
        "stack ps --no-resolve shop",
        "stack ps -f name=web shop",
        "stack ps --filter desired-state=running shop",
        "stack services -f name=web shop",
        "stack services --filter name=nope shop",
        "stack services --filter label=a shop",
        "stack services --filter what=a shop",
        "stack rm nope",
        "stack rm",
        "stack deploy",
        "stack deploy -c @/none.yml x",
        "stack deploy -d -c @/web.yml st",
        "stack deploy -d --resolve-image never -c @/web.yml st",
        "stack deploy -d --resolve-image=changed -c @/web.yml st",
        "stack deploy -d --resolve-image sometimes -c @/web.yml st",
    ]
    .into_iter()
    .filter_map(|line| {
        // Each deploys to a swarm that has nothing of it yet.
        let (first, second) = (stand(), stand());
        let line = folder.line(line);
        let arguments: Vec<_> = line.split(' ').collect();
        let theirs = ours_for(&first.docker(&arguments)?);
        let ours = second.skep(&arguments);
        (ours != theirs).then(|| format!("skep {line}\n--- ours\n{ours}--- docker's\n{theirs}"))
    });
    none(unlike);
}
