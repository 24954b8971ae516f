@case
def counts_and_lists_what_runs():
    one = start(mem_limit="64m")
    stats = one.stats(stream=False)
    assert stats["id"] == one.id and stats["name"] == "/" + name("one"), stats
    assert stats["memory_stats"]["limit"] == 64 << 20 and stats["memory_stats"]["usage"] > 0, stats
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0, stats
    assert stats["cpu_stats"]["system_cpu_usage"] > stats["precpu_stats"]["system_cpu_usage"] > 0, stats
    assert stats["pids_stats"]["current"] >= 1, stats
    assert "rx_bytes" in stats["networks"]["eth0"], stats
    stream = one.stats(stream=True, decode=True)
    assert [next(stream)["id"] for _ in range(2)] == [one.id, one.id]
    stream.close()
    top = one.top()
    assert "PID" in top["Titles"] and any("sleep 1000" in " ".join(p) for p in top["Processes"]), top
    top = one.top(ps_args="-o pid,comm")
    assert top["Titles"] == ["PID", "COMMAND"], top


@case
def moves_files():
    one = start()
    assert one.put_archive("/tmp", tar(comb=b"wax"))
    assert one.exec_run("cat /tmp/comb").output == b"wax"
    stream, stat = one.get_archive("/tmp/comb")
    assert stat["name"] == "comb" and stat["size"] == 3, stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        assert archive.extractfile("comb").read() == b"wax"
    stream, stat = one.get_archive("/www")
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        assert "www/index.html" in archive.getnames(), archive.getnames()
    try:
        one.get_archive("/nothing/here")
        raise AssertionError("what is not there was given")
    except errors.NotFound:
        pass
    kinds = {"/tmp": 0, "/tmp/comb": 1}
    found = {d["Path"]: d["Kind"] for d in one.diff()}
    assert kinds.items() <= found.items(), found
    one.exec_run("rm /www/index.html")
    assert {"Path": "/www/index.html", "Kind": 2} in one.diff(), one.diff()
    one.stop(timeout=2)
    assert one.put_archive("/tmp", tar(later=b"x"))
    assert {"Path": "/tmp/later", "Kind": 1} in one.diff(), one.diff()


@case
def makes_an_image():
    one = start()
    one.exec_run("sh -c 'echo sweet >/honey'")
    image = one.commit(
        repository=name("made"), tag="one", message="by hand", author="bee", changes='CMD ["cat", "/honey"]'
    )
    assert image.tags == [name("made") + ":one"], image.tags
    assert image.attrs["Author"] == "bee" and image.attrs["Comment"] == "by hand", image.attrs
    assert client.containers.run(image, remove=True) == b"sweet\n"
    history = image.history()
    assert len(history) == 2 and history[0]["Comment"] == "by hand", history
    assert history[0]["Id"] == image.id and history[0]["Size"] > 0, history
    saved = b"".join(image.save(named=True))
    client.images.remove(image.tags[0], force=True)
    loaded = client.images.load(saved)
    assert [i.tags for i in loaded] == [[name("made") + ":one"]], loaded


@case
def exports_its_files():
    one = client.containers.create(IMAGE, "true", name=name("one"))
    with tarfile.open(fileobj=io.BytesIO(b"".join(one.export()))) as archive:
        names = {entry.name.removeprefix("./").rstrip("/") for entry in archive}
    assert {"www/index.html", "bin/busybox"} <= names, sorted(names)[:20]


@case
def connects_and_disconnects():
    net = client.networks.create(name("net"), driver="bridge", internal=True)
    one = start("httpd -f -p 80 -h /www", network=net.name)
    two = start(base="two")
    net.connect(two, aliases=["drone"])
    two.reload()
    ends = two.attrs["NetworkSettings"]["Networks"]
    assert set(ends) == {"bridge", net.name} and "drone" in ends[net.name]["Aliases"], ends
    fetch = ["wget", "-q", "-O", "-", f"http://{name('one')}/index.html"]
    until(lambda: two.exec_run(fetch).output == b"hello from the hive\n")
    assert one.exec_run("nslookup drone").exit_code == 0 or one.exec_run("ping -c 1 drone").exit_code == 0
    net.reload()
    assert {c.id for c in net.containers} == {one.id, two.id}
    net.disconnect(two)
    two.reload()
    assert set(two.attrs["NetworkSettings"]["Networks"]) == {"bridge"}
    assert two.exec_run(fetch).exit_code != 0
    try:
        net.remove()
        raise AssertionError("a network in use was removed")
    except errors.APIError as error:
        assert error.response.status_code == 403, error


@case
def shares_the_network_of_another():
    one = start("httpd -f -p 80 -h /www")
    said = client.containers.run(
        IMAGE, ["sh", "-c", "until wget -q -O - http://127.0.0.1/index.html; do :; done"],
        network_mode=f"container:{one.id}", remove=True, stderr=False,
    )
    assert said == b"hello from the hive\n", said
    said = client.containers.run(IMAGE, "ls /sys/class/net", network_mode="none", remove=True)
    assert said == b"lo\n", said


@case
def asks_for_its_health():
    one = start(
        ["sh", "-c", "touch /well; exec sleep 1000"],
        healthcheck={"test": ["CMD", "test", "-e", "/well"], "interval": 200_000_000, "retries": 1},
    )

    def health():
        one.reload()
        return one.attrs["State"]["Health"]["Status"]

    until(lambda: health() == "healthy")
    one.exec_run("rm /well")
    until(lambda: health() == "unhealthy")
