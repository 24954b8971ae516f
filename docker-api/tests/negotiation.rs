//! Which version of the API a client speaks after it has asked a daemon.

use skep_docker_api::Client;
use skep_docker_api::defaults::API_VERSION;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

/// Answers everything well as a daemon of this version; gives the paths of two requests.
async fn asked(theirs: Option<&str>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let header = theirs.map(|it| format!("Api-Version: {it}\r\n")).unwrap_or_default();
    let daemon = async {
        let mut paths = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut lines = Vec::new();
            while lines.last().is_none_or(|line: &String| !line.trim().is_empty()) {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                lines.push(line);
            }
            paths.push(lines[0].split(' ').nth(1).unwrap().to_owned());
            let answer = format!("HTTP/1.1 200 OK\r\n{header}Content-Length: 2\r\n\r\nOK");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        paths
    };
    let client = async {
        let client = Client::connect(path.to_str().unwrap()).unwrap();
        client.negotiated().await.unwrap().ping().await.unwrap();
    };
    tokio::join!(daemon, client).0
}

#[tokio::test]
async fn the_newest_that_both_know_is_spoken() {
    for (theirs, spoken) in [
        (Some("1.41"), "1.41"),
        (Some("1.9"), "1.9"),
        (Some(API_VERSION), API_VERSION),
        (Some("1.99"), API_VERSION),
        (Some("nonsense"), API_VERSION),
        (None, API_VERSION),
    ] {
        let expected = ["/_ping".to_owned(), format!("/v{spoken}/_ping")];
        assert_eq!(asked(theirs).await, expected, "{theirs:?}");
    }
}
