//! Checks of a container's health, as its flags and its image say.

use skep_e2e::{CommandLine, IMAGE, both};

fn reaches(cli: &CommandLine, name: &str, status: &str) {
    let words = ["inspect", "-f", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}", name];
    cli.wait_for(&words, |text| text.starts_with(status));
}

#[test]
fn a_check_fails_as_often_as_it_may() {
    both(|cli| {
        let flags = [
            "--health-cmd",
            "test -e /tmp/well",
            "--health-interval",
            "100ms",
            "--health-retries",
            "2",
            "--health-timeout",
            "30s",
        ];
        let name = cli.idle("sick", &flags);
        reaches(cli, &name, "unhealthy");
        cli.inside(&name, "touch /tmp/well");
        reaches(cli, &name, "healthy 0");
        let shown = cli.inspect(&name, "{{json .Config.Healthcheck}}");
        for part in [
            "\"test -e /tmp/well\"",
            "\"Interval\":100000000",
            "\"Retries\":2",
            "\"Timeout\":30000000000",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        cli.refuses(
            &["--health-cmd", "true", "--health-interval", "1us"],
            "cannot be less than 1ms",
        );
        cli.refuses(&["--health-cmd", "true", "--health-retries=-1"], "cannot be negative")
    });
}

#[test]
fn a_check_that_takes_too_long_has_failed() {
    both(|cli| {
        let flags = [
            "--health-cmd",
            "sleep 1000",
            "--health-interval",
            "50ms",
            "--health-timeout",
            "100ms",
            "--health-retries",
            "1",
        ];
        let name = cli.idle("slow", &flags);
        reaches(cli, &name, "unhealthy");
        let log = cli.inspect(&name, "{{(index .State.Health.Log 0).Output}}");
        assert!(log.contains("exceeded timeout"), "{log}");
    });
}

#[test]
fn failures_while_it_starts_do_not_count() {
    both(|cli| {
        let flags = [
            "--health-cmd",
            "test -e /tmp/up",
            "--health-interval",
            "1h",
            "--health-retries",
            "1",
            "--health-start-period",
            "1h",
            "--health-start-interval",
            "50ms",
        ];
        let name = cli.idle("starting", &flags);
        // More than one answer: the long interval is not what it waits for.
        let count =
            ["inspect", "-f", "{{ge (len .State.Health.Log) 3}} {{.State.Health.Status}}", &name];
        cli.wait_for(&count, |text| text == "true starting");
        cli.inside(&name, "touch /tmp/up");
        reaches(cli, &name, "healthy");
        let shown = cli.inspect(&name, "{{json .Config.Healthcheck}}");
        for part in ["\"StartPeriod\":3600000000000", "\"StartInterval\":50000000"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    });
}

#[test]
fn an_images_check_can_be_left_out() {
    both(|cli| {
        let (name, image) = (cli.name("base"), format!("{}:checked", cli.name("image")));
        cli.ok(&["create", "--name", &name, IMAGE]);
        cli.ok(&["commit", "-c", "HEALTHCHECK --interval=50ms CMD true", &name, &image]);
        let watched = cli.name("watched");
        cli.ok(&["run", "-d", "--name", &watched, &image, "sleep", "1000"]);
        reaches(cli, &watched, "healthy");
        let bare = cli.name("bare");
        cli.ok(&["run", "-d", "--name", &bare, "--no-healthcheck", &image, "sleep", "1000"]);
        assert_eq!(
            cli.inspect(&bare, "{{.Config.Healthcheck.Test}} {{json .State.Health}}"),
            "[NONE] null"
        );
        cli.ok(&["rm", "-f", &watched, &bare, &name]);
        let both = ["--no-healthcheck", "--health-cmd", "true"];
        cli.refuses(&both, "--no-healthcheck conflicts with --health-* options")
    });
}
