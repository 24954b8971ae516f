//! Images: what it takes to bring one in, to give one out, and to start one of many layers.
//!
//! The large one has 8 layers and 500 MiB of files, half of which does not compress. All sides pull
//! the same content from Debian's registry on their own host. The calls are the command lines'.

use std::time::Instant;

use anyhow::{Context, Result};

use super::figures::{Figure, median};
use super::side::Side;
use crate::session::Session;
use crate::{Host, eventually_blocking, limits};

/// A 100-layer image is started so often; each time from a container of its own.
const STARTS: usize = 5;

/// Writes the image into the registry's own API, as a builder would push it: `$1` layers of `$2` MiB
/// each, the first with busybox, packed by gzip, under the name `$3`.
const MAKE: &str = r#"set -e
    rm -rf /tmp/make && mkdir -p /tmp/make/root/bin && cd /tmp/make
    cp /bin/busybox root/bin/
    at=http://127.0.0.1:5000/v2/$3
    put() {
        to=$(curl -sf -X POST -D - -o /dev/null $at/blobs/uploads/ | tr -d '\r' | sed -n 's/^Location: //p')
        curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$1 "$to&digest=sha256:$2"
    }
    diffs= layers=
    for n in $(seq $1); do
        [ $2 = 0 ] || {
            head -c $(($2 * 524288)) /dev/urandom > root/noise-$n
            head -c $(($2 * 524288)) /dev/zero | tr '\0' "$(printf '\\%o' $((n + 64)))" > root/plain-$n
        }
        echo $n > root/number-$n
        tar -C root -cf layer.tar .
        rm -rf root && mkdir root
        diff=$(sha256sum < layer.tar | cut -d' ' -f1)
        gzip -1 -c layer.tar > layer.gz
        blob=$(sha256sum < layer.gz | cut -d' ' -f1)
        put layer.gz $blob
        diffs="$diffs,\"sha256:$diff\""
        layers="$layers,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$blob\",\"size\":$(stat -c %s layer.gz)}"
    done
    case $(uname -m) in aarch64) arch=arm64;; *) arch=amd64;; esac
    printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/bin/busybox","true"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        $arch "${diffs#,}" > config.json
    config=$(sha256sum < config.json | cut -d' ' -f1)
    put config.json $config
    kind=application/vnd.oci.image.manifest.v1+json
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
        $kind $config $(stat -c %s config.json) "${layers#,}" > manifest.json
    curl -sf -X PUT -H "Content-Type: $kind" --data-binary @manifest.json $at/manifests/1
    rm -rf /tmp/make"#;

const REGISTRY: &str = r#"
    printf 'version: 0.1\nstorage: { filesystem: { rootdirectory: /var/lib/skep/registry } }\n' > /tmp/registry.yml
    printf 'http: { addr: "127.0.0.1:5000", secret: bench }\n' >> /tmp/registry.yml
    exec docker-registry serve /tmp/registry.yml"#;

fn serve(host: &Host) -> Result<Session> {
    let running = Session::on_pipes(host.command(&["sh", "-c", REGISTRY])?)?;
    eventually_blocking(limits::SHOWN_WITHIN, || {
        host.check(&["curl", "-sf", "http://127.0.0.1:5000/v2/"])
    });
    Ok(running)
}

/// Puts an image of so many layers of so many MiB into the registry; gives its name.
fn made(host: &Host, layers: &str, mebibytes: &str, name: &str) -> Result<String> {
    let words = ["sh", "-c", MAKE, "sh", layers, mebibytes, name];
    host.check(&words).with_context(|| format!("failed to make the image {name}"))?;
    Ok(format!("127.0.0.1:5000/{name}:1"))
}

/// Seconds of a command of the side's own command line.
fn timed(side: &Side, host: &Host, words: &[&str]) -> Result<f64> {
    // What others wrote is not this one's to sync.
    host.check(&["sync"])?;
    let begin = Instant::now();
    host.check(&[&[side.name()], words].concat())?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Pull, save, load and import of the large image.
pub fn large(side: &Side) -> Result<Vec<Figure>> {
    let host = side.fleet.host(1);
    let _registry = serve(&host)?;
    let image = made(&host, "8", "62", "large")?;
    let remove = ["rmi", image.as_str()];
    let pull = timed(side, &host, &["pull", "-q", &image])?;
    let save = timed(side, &host, &["save", "-o", "/tmp/large.tar", &image])?;
    timed(side, &host, &remove)?;
    let load = timed(side, &host, &["load", "-q", "-i", "/tmp/large.tar"])?;
    let create = [side.name(), "create", "--name", "large", &image];
    host.check(&create)?;
    host.check(&[side.name(), "export", "-o", "/tmp/flat.tar", "large"])?;
    let import = timed(side, &host, &["import", "/tmp/flat.tar", "flat:1"])?;
    host.check(&[side.name(), "rm", "large"])?;
    host.check(&["rm", "/tmp/large.tar", "/tmp/flat.tar"])?;
    Ok(vec![
        Figure::seconds("pull 500 MiB of 8 layers", pull),
        Figure::seconds("save 500 MiB of 8 layers", save),
        Figure::seconds("load 500 MiB of 8 layers", load),
        Figure::seconds("import 500 MiB", import),
    ])
}

/// The first container of an image of a hundred layers, up to its end, and those after it.
pub fn deep(side: &Side) -> Result<Vec<Figure>> {
    let host = side.fleet.host(1);
    let _registry = serve(&host)?;
    let image = made(&host, "100", "0", "deep")?;
    let pull = timed(side, &host, &["pull", "-q", &image])?;
    let run = ["run", "--rm", "--network", "none", &image];
    let first = timed(side, &host, &run)?;
    let others = (0..STARTS).map(|_| timed(side, &host, &run)).collect::<Result<Vec<_>>>()?;
    Ok(vec![
        Figure::seconds("pull 100 small layers", pull),
        Figure::seconds("first run of 100 layers", first),
        Figure::seconds("later runs of 100 layers", median(others)),
    ])
}
