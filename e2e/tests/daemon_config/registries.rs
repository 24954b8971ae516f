//! How registries are reached: without TLS, with an authority of their own, through a mirror.

use skep_e2e::{IMAGE, ImageRegistry, Login};

use super::{Told, told};

fn registry(told: &Told) -> Option<ImageRegistry> {
    let served = ImageRegistry::serve(&told.single.host(), 5000, Login::Nobody);
    served.unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn an_insecure_registry_is_one_that_is_named() {
    let Some(mut told) = told("") else { return };
    let Some(_registry) = registry(&told) else { return };
    // On its own address a host's registry is as a stranger's.
    let at = format!("{}:5000", told.single.host().address());
    let tag = format!("{at}/app:v1");
    told.cli.ok(&["tag", IMAGE, &tag]);
    told.cli.fails(&["push", &tag], "");
    let network = format!("{}/32", told.single.host().address());
    for (flags, shown) in [
        (format!("--insecure-registry {at}"), "[::1/128 127.0.0.0/8]".to_owned()),
        (format!("--insecure-registry {network}"), format!("[::1/128 127.0.0.0/8 {network}]")),
    ] {
        told.again(&flags);
        told.cli.ok(&["push", &tag]);
        let format = "{{.RegistryConfig.InsecureRegistryCIDRs}}";
        assert_eq!(told.cli.ok(&["info", "--format", format]), shown);
    }
    let info = told.cli.ok(&["info"]);
    assert!(
        info.contains(&format!(" Insecure Registries:\n  ::1/128\n  127.0.0.0/8\n  {network}"))
    );
}

#[test]
fn a_mirror_is_asked_first() {
    let flags = "--registry-mirror http://127.0.0.1:9 --registry-mirror http://127.0.0.1:5000 \
                 --max-concurrent-downloads 1 --max-concurrent-uploads 1 --max-download-attempts 2";
    let Some(told) = told(flags) else { return };
    let Some(registry) = registry(&told) else { return };
    told.each(|cli| {
        let name = cli.name("mirrored");
        let there = format!("{}/library/{name}:v1", registry.at);
        cli.ok(&["tag", IMAGE, &there]);
        cli.ok(&["push", &there]);
        cli.ok(&["rmi", &there]);
        let tag = format!("{name}:v1");
        cli.ok(&["pull", &tag]);
        let names = cli.ok(&["inspect", "--format", "{{json .RepoTags}}", &tag]);
        assert!(names.contains(&tag), "{names}");
        cli.ok(&["rmi", &tag]);
        let mirrors = ["info", "--format", "{{json .RegistryConfig.Mirrors}}"];
        assert_eq!(cli.ok(&mirrors), r#"["http://127.0.0.1:9/","http://127.0.0.1:5000/"]"#);
        // What no mirror has is asked for where it belongs, and nobody answers there.
        cli.fails(&["pull", &format!("{name}:none")], "docker.io");
    });
}

#[test]
fn images_that_nothing_uses_go_by_themselves() {
    let policy = r#"{"image-cleanup": {"unused-for": "1ms", "every": "1s"}}"#;
    // They are brought before there is a policy, and taken by the next daemon.
    let Some(mut told) = told("") else { return };
    let Some(registry) = registry(&told) else { return };
    let [unused, used] = ["unused", "used"].map(|name| format!("{}/{name}:v1", registry.at));
    for (tag, change) in [(&unused, "ENV FOR=nobody"), (&used, "ENV FOR=somebody")] {
        let archive = skep_e2e::image_archive();
        let archive = archive.to_str().unwrap();
        told.cli.ok(&["image", "import", "--change", change, archive, tag]);
        told.cli.ok(&["push", tag]);
        told.cli.ok(&["rmi", tag]);
        told.cli.ok(&["pull", tag]);
    }
    told.cli.ok(&["create", "--name", &told.cli.name("holder"), &used, "true"]);
    let file = told.cli.file("daemon.json", policy);
    told.again(&format!("--config-file {file}"));
    let has = |name: &str| !told.cli.ok(&["images", "-q", name]).is_empty();
    skep_e2e::eventually_blocking(std::time::Duration::from_secs(20), || match has(&unused) {
        true => Err("it is there still"),
        false => Ok(()),
    });
    // One that a container stands on stays, and one that no registry gave.
    assert!(has(&used) && has(IMAGE));
    told.cli.ok(&["rm", &told.cli.name("holder")]);
    skep_e2e::eventually_blocking(std::time::Duration::from_secs(20), || match has(&used) {
        true => Err("it is there still"),
        false => Ok(()),
    });
    assert!(has(IMAGE));
}

/// An authority and a certificate of it for an address; then a registry that shows it.
const TLS: &str = r#"set -e
    mkdir -p /tmp/tls /tmp/certs/$1:5443 && cd /tmp/tls
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=authority -keyout ca-key.pem -out ca.pem 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=registry \
        -keyout key.pem -out one.csr 2>/dev/null
    printf "subjectAltName=IP:$1\nextendedKeyUsage=serverAuth\n" > one.ext
    openssl x509 -req -in one.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
        -extfile one.ext -out cert.pem 2>/dev/null
    cp ca.pem /tmp/certs/$1:5443/ca.crt
    cat > config.yml <<END
version: 0.1
storage: { filesystem: { rootdirectory: /tmp/tls/data } }
http: { addr: "$1:5443", secret: test, tls: { certificate: /tmp/tls/cert.pem, key: /tmp/tls/key.pem } }
END
    exec docker-registry serve config.yml"#;

#[test]
fn authorities_are_where_they_are_told() {
    let Some(mut told) = told("") else { return };
    let host = told.single.host();
    if !host.run(&["which", "docker-registry"]).unwrap().status.success() {
        eprintln!("SKIP: no docker-registry is installed");
        return;
    }
    let address = host.address().to_string();
    let command = host.command(&["sh", "-c", TLS, "sh", &address]).unwrap();
    let registry = skep_e2e::Session::on_pipes(command).unwrap();
    registry.expect("listening on", 0).unwrap_or_else(|error| panic!("{error:#}"));
    let tag = format!("{address}:5443/app:v1");
    told.cli.ok(&["tag", IMAGE, &tag]);
    told.cli.fails(&["push", &tag], "");
    told.again("--certs-dir /tmp/certs");
    told.cli.ok(&["push", &tag]);
}
