//! A process that is killed with the store open, at points that nobody chose.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use skep_images::{Force, ImportOptions, Store};
use time::OffsetDateTime;

use crate::archives::{archive, gzip};
use crate::{privileged, reopen};

/// Tells a copy of this program where to work until it is killed.
const VICTIM_ROOT: &str = "SKEP_TEST_VICTIM_ROOT";

const ROUNDS: u32 = 12;

/// What the victim does over and over; only ever run by the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "works until it is killed"]
async fn victim() {
    let Some(root) = std::env::var_os(VICTIM_ROOT) else { return };
    let root = PathBuf::from(root);
    let store = Store::open(&root).await.unwrap();
    for number in 0.. {
        let name = format!("image{}", number % 3);
        let files: Vec<(String, String)> =
            (0..50).map(|file| (format!("{number}/{file}"), "content".repeat(50))).collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        let options = ImportOptions::new(Some(name.parse().unwrap()), OffsetDateTime::UNIX_EPOCH);
        println!("begins {name}");
        let id = store.import(gzip(&archive(&files)).as_slice(), options).await.unwrap();
        let fate = if number % 2 == 0 { "passing" } else { "lasting" };
        println!("{fate} {name} {id}");
        let container = format!("c{number}");
        store.create_rootfs(&container, &name).await.unwrap();
        // As the container would, but without a mount that outlives this process.
        std::fs::write(root.join("rootfs").join(&container).join("diff/own"), &container).unwrap();
        let made = format!("made{}", number % 2);
        println!("begins {made}");
        let image = store.commit(&container, crate::commit::options(Some(&made))).await.unwrap();
        println!("lasting {made} {}", image.id);
        if number % 2 == 0 {
            store.remove_rootfs(&container).await.unwrap();
            store.remove(&id.to_string(), Force::Yes, Vec::new()).await.unwrap();
            println!("removed {name} {id}");
        }
    }
}

#[tokio::test]
async fn a_store_opens_whole_after_a_kill_at_any_point() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["kill::victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(VICTIM_ROOT, root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut words = BufReader::new(victim.stdout.take().unwrap());
        // Each round lets it come a little further, and then as far as chance has it.
        let mut lasting = HashMap::new();
        let mut seen = 0;
        let mut line = String::new();
        while seen <= round {
            line.clear();
            assert!(words.read_line(&mut line).unwrap() > 0, "the victim ended by itself");
            let words: Vec<&str> = line.split_whitespace().collect();
            if note(&words, &mut lasting) {
                seen += 1;
            }
        }
        std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 1_700));
        victim.kill().unwrap();
        victim.wait().unwrap();
        // What it said before it died.
        for line in words.lines() {
            note(&line.unwrap().split_whitespace().collect::<Vec<_>>(), &mut lasting);
        }

        let store = reopen(root.path()).await;
        let images = store.list().await.unwrap();
        for image in &images {
            let id = image.id.to_string();
            // Everything it names is there, and is what its digest says.
            store.save(std::slice::from_ref(&id), tokio::io::sink()).await.unwrap();
            store.create_rootfs("check", &id).await.unwrap();
            let merged = store.mount_rootfs("check").await.unwrap();
            let files = crate::image_tree(&merged).len();
            store.remove_rootfs("check").await.unwrap();
            // Fifty files in a directory, and what a container wrote.
            assert_eq!(files, 50 + image.layers.len());
        }
        for (name, id) in lasting {
            assert_eq!(store.inspect(&name).await.unwrap().id.to_string(), id);
        }
        for (container, _) in store.rootfs_users().await.unwrap() {
            store.mount_rootfs(&container).await.unwrap();
            store.remove_rootfs(&container).await.unwrap();
        }
        assert_eq!(std::fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
        let named: BTreeSet<_> = images.iter().flat_map(|image| &image.layers).collect();
        let layers = std::fs::read_dir(root.path().join("layers")).unwrap().count();
        assert_eq!(layers, named.len(), "no layer is left that no image has");
        let links = std::fs::read_dir(root.path().join("l")).unwrap().count();
        assert!(links <= named.len(), "no link without a layer is left: {links}");
    }
}

/// Keeps what a line of the victim's promises: a name that is not being given to another image
/// stays what it was. Says whether the line is one of the victim's.
fn note(words: &[&str], lasting: &mut HashMap<String, String>) -> bool {
    match words {
        ["begins", name] => drop(lasting.remove(*name)),
        ["lasting", name, id] => drop(lasting.insert((*name).to_owned(), (*id).to_owned())),
        ["passing" | "removed", ..] => {}
        _ => return false,
    }
    true
}
