//! Log drivers: none, and services of the host that are there or not.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

use common::{Fixture, PATIENCE, Said, patiently, root_or_skip};
use skep_engine::config::{ContainerConfig, LogDriver};
use skep_engine::{AttachOptions, LogQuery};

const SCRIPT: &str = "echo one; echo two >&2";

fn syslog(mut config: ContainerConfig, address: &str, others: &[(&str, &str)]) -> ContainerConfig {
    let mut options: BTreeMap<String, String> =
        others.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    options.insert("syslog-address".into(), address.into());
    config.log_driver = LogDriver::Syslog(options);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_nothing_is_wanted() {
    if !root_or_skip("nothing_is_written_where_nothing_is_wanted") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.shell("one", SCRIPT);
    config.log_driver = LogDriver::None;
    let container = fixture.runtime().create(config).await.unwrap();
    let wanted = AttachOptions { stdin: false, stdout: true, stderr: true };
    let mut attached = container.attach(wanted).await.unwrap();
    container.start().await.unwrap();
    let said = patiently(Said::all(&mut attached)).await;
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("one\n", "two\n"));
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.log_entries_dropped), (0, 0));
    let error = container.logs(LogQuery::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "configured logging driver does not support reading");
    assert!(!fixture.path("state/containers/one/json.log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_reach_a_syslog_by_every_way() {
    if !root_or_skip("entries_reach_a_syslog_by_every_way") {
        return;
    }
    let fixture = Fixture::new().await;
    let run = async |id: &str, address: String| {
        let config = fixture.shell(id, SCRIPT);
        let others = [("tag", "t"), ("syslog-format", "rfc5424")];
        let container = fixture.start(syslog(config, &address, &others)).await;
        let exit = patiently(container.wait()).await.unwrap();
        assert_eq!((exit.code, exit.log_entries_dropped), (0, 0), "{address}");
    };
    let check = |mut lines: Vec<String>, way: &str| {
        lines.sort_by_key(|line| line.starts_with("<27>"));
        assert!(lines[0].starts_with("<30>1 20"), "{way}: {lines:?}");
        assert!(lines[0].trim_end().ends_with(" t - one"), "{way}: {lines:?}");
        assert!(lines[1].starts_with("<27>1 20"), "{way}: {lines:?}");
        assert!(lines[1].trim_end().ends_with(" t - two"), "{way}: {lines:?}");
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut buffer = [0; 1024];

    let datagrams = UnixDatagram::bind(fixture.path("gram")).unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    for kind in ["unixgram", "unix"] {
        run(kind, format!("{kind}://{}", fixture.path("gram").display())).await;
        let mut lines = Vec::new();
        for _ in 0..2 {
            let length = datagrams.recv(&mut buffer).unwrap();
            lines.push(text(&buffer[..length]));
        }
        check(lines, kind);
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    run("udp", format!("udp://{}", udp.local_addr().unwrap())).await;
    let mut lines = Vec::new();
    for _ in 0..2 {
        let length = udp.recv(&mut buffer).unwrap();
        lines.push(text(&buffer[..length]));
    }
    check(lines, "udp");

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    run("tcp", format!("tcp://{}", tcp.local_addr().unwrap())).await;
    let lines = BufReader::new(tcp.accept().unwrap().0).lines();
    check(lines.map(Result::unwrap).collect(), "tcp");
    let stream = UnixListener::bind(fixture.path("stream")).unwrap();
    run("stream", format!("unix://{}", fixture.path("stream").display())).await;
    let lines = BufReader::new(stream.accept().unwrap().0).lines();
    check(lines.map(Result::unwrap).collect(), "stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_takes_nothing_holds_no_container_up() {
    if !root_or_skip("a_service_that_takes_nothing_holds_no_container_up") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "seq 1 50000; exit 4";
    // Not there at all.
    let nowhere = format!("unixgram://{}", fixture.path("nowhere").display());
    let container = fixture.start(syslog(fixture.shell("gone", script), &nowhere, &[])).await;
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.log_entries_dropped), (4, 50_000));
    // There, but it reads nothing.
    let _deaf = UnixDatagram::bind(fixture.path("deaf")).unwrap();
    let deaf = format!("unixgram://{}", fixture.path("deaf").display());
    let container = fixture.start(syslog(fixture.shell("deaf", script), &deaf, &[])).await;
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!(exit.code, 4);
    assert!((40_000..50_000).contains(&exit.log_entries_dropped), "{exit:?}");
    // What no driver knows is refused.
    let config = syslog(fixture.shell("bad", script), "nope", &[]);
    let error = fixture.runtime().create(config).await.unwrap_err();
    assert!(error.to_string().contains("proto://address"), "{error}");
}
