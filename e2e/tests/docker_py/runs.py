@case
def gives_what_a_container_printed():
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    both = client.containers.run(
        IMAGE, ["sh", "-c", "echo out; echo err >&2"], remove=True, stdout=False, stderr=True
    )
    assert both == b"err\n", both
    lines = client.containers.run(IMAGE, ["sh", "-c", "echo a; echo b"], name=name("lines"), stream=True)
    assert b"".join(lines) == b"a\nb\n"
    try:
        client.containers.run(IMAGE, ["sh", "-c", "echo why >&2; exit 7"], remove=True)
        raise AssertionError("a failed command raised nothing")
    except errors.ContainerError as error:
        assert (error.exit_status, error.stderr) == (7, b"why\n"), error
    try:
        client.containers.run(IMAGE, "/no/such/program", name=name("none"))
        raise AssertionError("a missing program raised nothing")
    except errors.APIError as error:
        assert error.response.status_code == 400, error
    try:
        client.containers.run("no-such-image:here", "true")
        raise AssertionError("a missing image raised nothing")
    except errors.APIError:
        pass


@case
def passes_settings_on():
    script = 'echo "$KIND $(id -u):$(id -g) $(pwd) $(hostname)"'
    said = client.containers.run(
        IMAGE, ["sh", "-c", script], environment={"KIND": "honey"}, user="bee",
        working_dir="/www", hostname="comb", remove=True,
    )
    assert said == b"honey 1000:1001 /www comb\n", said
    one = start(
        mem_limit="64m", cpu_shares=512, nano_cpus=500_000_000, pids_limit=50, labels={"a": "b"},
        environment=["X=y"], ports={"80/tcp": None, "81/udp": ("127.0.0.1", 18081)},
        volumes={name("data"): {"bind": "/data", "mode": "rw"}}, tmpfs={"/scratch": "size=1m"},
        cap_add=["NET_ADMIN"], cap_drop=["MKNOD"], restart_policy={"Name": "on-failure", "MaximumRetryCount": 3},
        dns=["203.0.113.7"], extra_hosts={"queen": "203.0.113.9"}, read_only=True, shm_size="8m",
        ulimits=[docker.types.Ulimit(name="nofile", soft=128, hard=256)], sysctls={"net.ipv4.ip_forward": "0"},
    )
    host = one.attrs["HostConfig"]
    assert host["Memory"] == 64 << 20 and host["NanoCpus"] == 500_000_000, host
    assert host["PidsLimit"] == 50 and host["CpuShares"] == 512, host
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}, host
    assert host["CapAdd"] in (["NET_ADMIN"], ["CAP_NET_ADMIN"]), host
    assert host["ReadonlyRootfs"] and host["ShmSize"] == 8 << 20, host
    assert one.labels == {"a": "b"} and "X=y" in one.attrs["Config"]["Env"], one.attrs
    one.reload()
    assert one.status == "running"
    assert int(one.ports["80/tcp"][0]["HostPort"]) > 0, one.ports
    assert one.ports["81/udp"] == [{"HostIp": "127.0.0.1", "HostPort": "18081"}], one.ports
    mount = {m["Destination"]: m for m in one.attrs["Mounts"]}["/data"]
    assert (mount["Type"], mount["Name"], mount["RW"]) == ("volume", name("data"), True), mount
    for command, wanted in [
        ("grep queen /etc/hosts", b"203.0.113.9"),
        ("cat /etc/resolv.conf", b"nameserver"),
        ("sh -c 'touch /data/x /scratch/y && echo written'", b"written"),
        ("sh -c 'touch /z || echo refused'", b"refused"),
        ("sh -c 'ulimit -n'", b"128"),
        ("cat /proc/sys/net/ipv4/ip_forward", b"0"),
    ]:
        code, said = one.exec_run(command)
        assert code == 0 and wanted in said, (command, code, said)


@case
def keeps_what_is_written_to_a_volume():
    place = {name("kept"): {"bind": "/data", "mode": "rw"}}
    client.containers.run(IMAGE, ["sh", "-c", "echo wax >/data/file"], volumes=place, remove=True)
    place[name("kept")]["mode"] = "ro"
    said = client.containers.run(
        IMAGE, ["sh", "-c", "cat /data/file; touch /data/more || echo refused"], volumes=place,
        remove=True, stderr=False,
    )
    assert said == b"wax\nrefused\n", said
    mount = docker.types.Mount("/data", name("kept"), read_only=True)
    said = client.containers.run(IMAGE, "cat /data/file", mounts=[mount], remove=True)
    assert said == b"wax\n", said


@case
def removes_by_itself():
    one = start("true", auto_remove=True)

    def gone():
        try:
            client.containers.get(one.id)
        except errors.NotFound:
            return True

    until(gone)
