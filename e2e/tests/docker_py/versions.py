# One life of a container, its volume and its network, as clients of each time lead it.
VERSIONS = ["1.24", "1.30", "1.40", "1.41", "1.43", "1.44", "1.45", "1.48", "1.50", "1.51"]


def number(version):
    return int(version.split(".")[1])


def lead(version):
    """The whole of it in one version of the API."""
    old = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], version=version, timeout=60)
    at, mark = number(version), name(f"v{number(version)}")
    network = old.networks.create(mark)
    volume = old.volumes.create(mark)
    container = old.containers.run(
        IMAGE,
        ["sh", "-c", "trap exit TERM; echo up; sleep 1000 & wait"],
        name=mark,
        detach=True,
        network=mark,
        volumes={mark: {"bind": "/kept", "mode": "rw"}},
    )
    until(lambda: container.logs() == b"up\n")
    assert container.exec_run(["cat", "/kept/none"]).exit_code == 1
    assert container.exec_run("hostname").output.decode().strip() == container.short_id
    seen = old.api.inspect_container(mark)
    aliases = seen["NetworkSettings"]["Networks"][mark]["Aliases"] or []
    assert (container.short_id in aliases) == (at < 45), (version, aliases)
    assert seen["NetworkSettings"]["IPAddress"] == "", "it is not on the default network"
    assert seen["GraphDriver"]["Data"]["MergedDir"], seen["GraphDriver"]
    image = old.api.inspect_image(IMAGE)
    assert ("ContainerConfig" in image) == (at < 45), version
    assert ("VirtualSize" in image) == (at < 44), version
    assert ("Hostname" in image["Config"]) == (at < 50), version
    assert image["Config"]["Cmd"] == ["sh"], image["Config"]
    listed = {each["Id"]: each for each in old.api.images()}
    assert ("VirtualSize" in listed[image["Id"]]) == (at < 44), version
    named = {each["Name"]: each for each in old.api.networks()}
    assert (container.id in named[mark]["Containers"]) == (at < 28), version
    if at >= 25:
        assert ("BuilderSize" in old.df()) == (at < 42), version
    assert ("ExecutionDriver" in old.info()) == (at < 25), version
    container.stop(timeout=5)
    assert container.wait()["StatusCode"] in (0, 143)
    container.remove()
    network.remove()
    volume.remove()


@case
def lives_are_led_in_every_version():
    for version in VERSIONS:
        lead(version)


@case
def names_of_volumes_kept_none_from_a_prune():
    labels = {"case": CASE}
    for version, taken in [("1.41", True), ("1.42", False)]:
        old = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], version=version, timeout=60)
        made = old.volumes.create(name("prune"), labels=labels)
        pruned = old.volumes.prune({"label": [f"case={CASE}"]})["VolumesDeleted"] or []
        assert (made.name in pruned) == taken, (version, pruned)


@case
def images_are_found_by_one_reference():
    answer = client.api.get(f"{client.api.base_url}/v1.40/images/json", params={"filter": "none*"})
    assert answer.json() == [], answer.text
    answer = client.api.get(f"{client.api.base_url}/v1.40/images/json", params={"filter": "busybox"})
    assert [IMAGE] == answer.json()[0]["RepoTags"], answer.text


@case
def containers_have_an_address_of_their_own():
    container = start()
    seen = client.api.inspect_container(container.id)["NetworkSettings"]
    bridge = seen["Networks"]["bridge"]
    for key in ["IPAddress", "Gateway", "MacAddress", "IPPrefixLen", "EndpointID"]:
        assert seen[key] and seen[key] == bridge[key], (key, seen)


@case
def versions_that_are_not_spoken_are_refused():
    for version, why in [("1.23", "is too old"), ("1.99", "is too new")]:
        answer = client.api.get(f"{client.api.base_url}/v{version}/info")
        assert answer.status_code == 400 and why in answer.json()["message"], answer.text


@case
def no_plugin_is_installed():
    assert client.plugins.list() == []
