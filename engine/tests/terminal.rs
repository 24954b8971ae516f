//! Containers with a terminal.

mod common;

use common::{Fixture, Said, output, patiently, root_or_skip};
use skep_engine::{AttachOptions, Attached};
use tokio::io::AsyncWriteExt;

const ALL: AttachOptions = AttachOptions { stdin: true, stdout: true, stderr: true };

async fn say(attached: &mut Attached, text: &str) {
    patiently(attached.input.as_mut().unwrap().write_all(text.as_bytes())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_echoes_has_a_size_and_interrupts() {
    if !root_or_skip("a_terminal_echoes_has_a_size_and_interrupts") {
        return;
    }
    let fixture = Fixture::new().await;
    for init in [false, true] {
        let id = format!("init-{init}");
        let script = "tty; stty size; stat -c %u /dev/pts/0; echo $TERM >/dev/console; \
                      read line; stty size; trap 'echo caught' INT; cat; echo goes on; exit 7";
        let mut config = fixture.shell(&id, script);
        config.tty = true;
        config.open_stdin = true;
        config.init = init;
        config.user = "web".into();
        let container = fixture.runtime().create(config).await.unwrap();
        let mut attached = container.attach(ALL).await.unwrap();
        container.resize(33, 111).await.unwrap();
        container.start().await.unwrap();
        let said = patiently(Said::until(&mut attached, "xterm\r\n")).await;
        assert_eq!(said.stdout, "/dev/pts/0\r\n33 111\r\n33\r\nxterm\r\n");
        container.resize(44, 122).await.unwrap();
        say(&mut attached, "line\n").await;
        patiently(Said::until(&mut attached, "44 122\r\n")).await;
        say(&mut attached, "twice\n").await;
        patiently(Said::until(&mut attached, "twice\r\ntwice\r\n")).await;
        say(&mut attached, "\u{3}").await;
        let said = patiently(Said::all(&mut attached)).await;
        assert!(said.stdout.ends_with("caught\r\ngoes on\r\n"), "{said:?}");
        assert_eq!(said.stderr, "");
        assert_eq!(patiently(container.wait()).await.unwrap().code, 7);
        assert!(output(&container).await.contains("44 122\r\n"));
        container.delete().await.unwrap();
    }
    fixture.assert_clean().await;
}
