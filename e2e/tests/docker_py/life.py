@case
def goes_through_a_life():
    one = client.containers.create(IMAGE, "sleep 1000", name=name("one"), init=True)
    assert one.status == "created"

    def state():
        one.reload()
        return one.attrs["State"]

    one.start()
    assert state()["Running"] and one.status == "running"
    first = state()["StartedAt"]
    one.restart(timeout=5)
    assert state()["Running"] and state()["StartedAt"] > first
    one.pause()
    assert state()["Paused"] and one.status == "paused"
    one.unpause()
    assert one.status == "paused" and state()["Status"] == "running"
    one.rename(name("two"))
    assert client.containers.get(name("two")).id == one.id
    one.update(mem_limit="96m", memswap_limit="96m", restart_policy={"Name": "no"})
    state()
    assert one.attrs["HostConfig"]["Memory"] == 96 << 20, one.attrs["HostConfig"]
    one.stop(timeout=5)
    assert state()["Status"] == "exited" and state()["ExitCode"] == 143, state()
    one.start()
    one.kill("SIGKILL")
    assert one.wait(timeout=30)["StatusCode"] == 137
    try:
        one.kill()
        raise AssertionError("what does not run was killed")
    except errors.APIError as error:
        assert error.response.status_code == 409, error
    one.remove()
    try:
        client.containers.get(one.id)
        raise AssertionError("it is still there")
    except errors.NotFound:
        pass


@case
def waits_for_what_is_asked():
    one = client.containers.create(IMAGE, ["sh", "-c", "exit 3"], name=name("one"))
    one.start()
    assert one.wait(condition="not-running")["StatusCode"] == 3
    assert one.wait()["StatusCode"] == 3
    one.remove()


@case
def lists_by_filter():
    one = start(labels={"hive": CASE})
    two = client.containers.create(IMAGE, "true", name=name("two"), labels={"hive": CASE})
    mine = {"label": f"hive={CASE}"}
    assert [c.id for c in client.containers.list(filters=mine)] == [one.id]
    both = client.containers.list(all=True, filters=mine)
    assert [c.id for c in both] == [two.id, one.id], both
    created = client.containers.list(filters={**mine, "status": "created"})
    assert [c.id for c in created] == [two.id]
    named = client.containers.list(all=True, filters={"name": name("tw")})
    assert named == [] and client.containers.list(all=True, filters={"name": name("two")}) == [two]
    assert client.containers.list(all=True, limit=1, filters=mine) == [two]
    raw = client.api.containers(all=True, size=True, filters=mine)
    assert all("SizeRw" in c or "SizeRootFs" in c for c in raw), raw


@case
def prunes_what_ended():
    one = start("true", labels={"prune": CASE})
    one.wait()
    pruned = client.containers.prune(filters={"label": f"prune={CASE}"})
    assert pruned["ContainersDeleted"] == [one.id], pruned
    client.networks.create(name("net"), labels={"prune": CASE})
    pruned = client.networks.prune(filters={"label": f"prune={CASE}"})
    assert pruned["NetworksDeleted"] == [name("net")], pruned
    client.volumes.create(name("vol"), labels={"prune": CASE})
    pruned = client.volumes.prune(filters={"label": f"prune={CASE}", "all": True})
    assert pruned["VolumesDeleted"] == [name("vol")], pruned


@case
def tells_what_happened():
    since = int(time.time()) - 1
    one = start("true", labels={"events": CASE})
    one.wait()
    one.remove()
    seen = []
    wanted = {"create", "start", "die", "destroy"}
    stream = client.events(since=since, decode=True, filters={"label": f"events={CASE}"})
    for event in stream:
        assert event["Type"] == "container" and event["Actor"]["ID"] == one.id, event
        assert event["Actor"]["Attributes"]["name"] == name("one"), event
        seen.append(event["Action"])
        if wanted <= set(seen):
            break
    stream.close()
    order = [action for action in seen if action in wanted]
    assert order == ["create", "start", "die", "destroy"], seen


@case
def weighs_the_disk():
    one = start(["sh", "-c", "head -c 100000 /dev/zero >/file; exec sleep 1000"])
    until(lambda: one.exec_run("sh -c 'test $(wc -c </file) = 100000'").exit_code == 0)
    df = client.df()
    assert df["LayersSize"] > 0 and any(IMAGE in (i["RepoTags"] or []) for i in df["Images"]), df
    mine = [c for c in df["Containers"] if c["Id"] == one.id]
    assert len(mine) == 1 and mine[0]["SizeRw"] >= 100000, mine
