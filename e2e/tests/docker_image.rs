//! Images through the docker command line and skep's own: brought in, named, looked at, sent out,
//! taken away.

use skep_e2e::{IMAGE, both};

/// The id of the tests' image.
const ID: &str = "{{.Id}}";

#[test]
fn lists_images_by_format_filter_and_id() {
    both(|cli| {
        let tag = format!("{}:one", cli.name("listed"));
        cli.ok(&["image", "tag", IMAGE, &tag]);
        let shown =
            cli.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}", &cli.name("listed")]);
        assert_eq!(shown, tag);
        let whole = cli.ok(&["image", "ls", "--no-trunc", "-q", &tag]);
        assert_eq!(whole, cli.ok(&["image", "inspect", "-f", ID, IMAGE]));
        let short = cli.ok(&["images", "-q", &tag]);
        assert!(whole.strip_prefix("sha256:").unwrap().starts_with(&short), "{whole} {short}");
        let reference = format!("reference={}:*", cli.name("listed"));
        let filtered = cli.ok(&["images", "-f", &reference, "--format", "{{.Tag}}"]);
        assert_eq!(filtered, "one");
        assert_eq!(cli.ok(&["images", "--quiet", "--filter", "reference=nothing-has-this"]), "");
        let heading = cli.ok(&["images", &tag]);
        let words: Vec<&str> = heading.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(words, ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
        cli.ok(&["rmi", &tag]);
        (whole, heading.lines().count())
    });
}

#[test]
fn imports_with_changes_and_a_message() {
    both(|cli| {
        let tag = format!("{}:latest", cli.name("made"));
        let file = cli.file("root/etc/motd", "welcome\n");
        let root = file.strip_suffix("/etc/motd").unwrap().to_owned();
        let archive = format!("{}/root.tar", cli.dir());
        cli.shell(&format!("tar -C {root} -cf {archive} ."));
        let id = cli.ok(&[
            "import",
            "-c",
            "ENV A=b",
            "--change",
            "CMD [\"/bin/true\"]",
            "-m",
            "by hand",
            &archive,
            &tag,
        ]);
        assert!(id.starts_with("sha256:"), "{id}");
        let format = "{{json .Config.Env}} {{json .Config.Cmd}} {{.Os}} {{.Comment}}";
        cli.ok(&["image", "inspect", "--format", format, &tag])
    });
}

#[test]
fn saves_and_loads_what_it_saved() {
    both(|cli| {
        let tag = format!("{}:kept", cli.name("saved"));
        cli.ok(&["tag", IMAGE, &tag]);
        cli.file("here", "");
        let archive = format!("{}/saved.tar", cli.dir());
        cli.ok(&["save", "-o", &archive, &tag]);
        cli.ok(&["image", "rm", &tag]);
        cli.fails(&["image", "inspect", &tag], "No such image");
        let said = cli.ok(&["load", "--input", &archive]);
        assert_eq!(said, format!("Loaded image: {tag}"));
        let id = cli.ok(&["image", "inspect", "-f", ID, &tag]);
        assert_eq!(id, cli.ok(&["image", "inspect", "-f", ID, IMAGE]));
        // And through standard output and input.
        let line = format!(
            "{0} save {tag} | {0} load -q",
            if cli.is_docker() { "docker" } else { "skep" }
        );
        cli.shell(&line)
    });
}

#[test]
fn removes_names_first_and_the_image_last() {
    both(|cli| {
        let tags = ["a", "b"].map(|tag| format!("{}:{tag}", cli.name("named")));
        for tag in &tags {
            cli.ok(&["image", "tag", IMAGE, tag]);
        }
        let said = cli.ok(&["rmi", &tags[0], &tags[1]]);
        assert_eq!(said, format!("Untagged: {}\nUntagged: {}", tags[0], tags[1]));
        let status = cli.fails(&["rmi", &tags[0]], "No such image");
        cli.ok(&["image", "rm", "-f", &tags[0]]);
        status
    });
}

#[test]
fn inspects_an_image_as_a_document() {
    both(|cli| {
        let text = cli.ok(&["inspect", "--type", "image", IMAGE]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let image = &document[0];
        assert_eq!(image["RepoTags"][0], IMAGE);
        assert_eq!(image["RootFS"]["Type"], "layers");
        assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 1);
        assert_eq!(image["Config"]["Cmd"][0], "sh");
        (image["Id"].clone(), image["Size"].clone(), image["Architecture"].clone())
    });
}
