# A swarm of two hosts through the SDK: the client is the manager, OTHER the socket of a host that
# is in no swarm yet. Cases follow one another.
other = docker.DockerClient(base_url=os.environ["OTHER"], timeout=60)
here, there = os.environ["HERE"], os.environ["THERE"]

NOT_MANAGER = "This node is not a swarm manager."
OUTSIDE = NOT_MANAGER + ' Use "docker swarm init" or "docker swarm join"'
WORKER = NOT_MANAGER + " Worker nodes can't be used to view or modify cluster state."
NOBODY = "0" * 25


def refused(status, words, call, *args, **options):
    """The call fails with that status, and says these words."""
    try:
        given = call(*args, **options)
    except errors.APIError as error:
        assert error.status_code == status, f"expected {status}: {error}"
        assert words in error.explanation, f"expected {words!r}: {error}"
        return
    raise AssertionError(f"{call} {args} gave {given!r}")


def post(of, path, body=None, **query):
    api = of.api
    answer = api._post_json(api._url(path), data=body or {}, params=query)
    api._raise_for_status(answer)
    return answer


def everything(of):
    """A reading call of each group, and a changing one."""
    api = of.api
    return [
        api.inspect_swarm,
        api.get_unlock_key,
        api.nodes,
        api.services,
        api.tasks,
        api.secrets,
        api.configs,
        lambda: api.inspect_node(NOBODY),
        lambda: api.remove_node(NOBODY),
        lambda: api.inspect_service(NOBODY),
        lambda: api.remove_service(NOBODY),
        lambda: api.inspect_task(NOBODY),
        lambda: api.inspect_secret(NOBODY),
        lambda: api.inspect_config(NOBODY),
        lambda: api.create_secret("s", b"x"),
        lambda: api.create_config("c", b"x"),
        lambda: api.update_swarm(1, {}),
        lambda: api.unlock_swarm("SWMKEY-1-x"),
        lambda: list(api._stream_raw_result(api._get(api._url(f"/tasks/{NOBODY}/logs?stdout=1"), stream=True))),
    ]


# Outside of any swarm.
for call in everything(client):
    refused(503, OUTSIDE, call)
refused(503, "This node is not part of a swarm", client.swarm.leave)
refused(400, "must be a non-zero IP address or network interface", client.swarm.init, advertise_addr="nowhere")
refused(400, "data path port number 80 is not valid", client.swarm.init, data_path_port=80)
refused(400, "invalid default address pool", client.swarm.init, default_addr_pool=["x"])
assert client.info()["Swarm"]["LocalNodeState"] == "inactive"

# A swarm is made.
me = client.swarm.init(advertise_addr=here, default_addr_pool=["10.77.0.0/16"], subnet_size=26)
assert me == client.info()["Swarm"]["NodeID"]
refused(503, "This node is already part of a swarm", client.swarm.init, advertise_addr=here)
client.swarm.reload()
first = client.swarm.attrs
assert first["DefaultAddrPool"] == ["10.77.0.0/16"] and first["SubnetSize"] == 26, first
assert first["ID"] == client.info()["Swarm"]["Cluster"]["ID"]
refused(409, "swarm is not locked", client.swarm.unlock, "SWMKEY-1-x")
assert client.swarm.get_unlock_key() == {"UnlockKey": ""}

# It is changed, by whoever has seen it last.
assert client.swarm.update(rotate_worker_token=True, task_history_retention_limit=3)
client.swarm.reload()
second = client.swarm.attrs
assert second["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 3
assert second["JoinTokens"]["Worker"] != first["JoinTokens"]["Worker"]
assert second["JoinTokens"]["Manager"] == first["JoinTokens"]["Manager"]
spec, version = second["Spec"], second["Version"]["Index"]
refused(500, "update out of sequence", client.api.update_swarm, version - 1, spec)
short = {**spec, "CAConfig": {"NodeCertExpiry": 10**9}}
refused(400, "minimum certificate expiry time is: 1h0m0s", client.api.update_swarm, version, short)
locked = {**spec, "EncryptionConfig": {"AutoLockManagers": True}}
refused(400, "autolock is not supported", client.api.update_swarm, version, locked)
snapshots = {**spec, "Raft": {"SnapshotInterval": 7}}
refused(400, "SnapshotInterval", client.api.update_swarm, version, snapshots)
refused(400, "invalid swarm version", post, client, "/swarm/update?version=x", spec)

# The other host joins as a worker.
refused(400, "invalid join token", other.swarm.join, [here], "nonsense")
assert other.swarm.join([here], second["JoinTokens"]["Worker"], advertise_addr=there)
refused(503, "already part of a swarm", other.swarm.join, [here], second["JoinTokens"]["Worker"])
for call in everything(other):
    refused(503, WORKER, call)


# Nodes.
def ready():
    nodes = client.nodes.list()
    return len(nodes) == 2 and all(n.attrs["Status"]["State"] == "ready" for n in nodes)


until(ready)


def names(**filters):
    return sorted(n.attrs["Description"]["Hostname"] for n in client.nodes.list(filters=filters))


assert names() == ["host1", "host2"]
assert names(role="worker") == ["host2"] and names(role="manager") == ["host1"]
assert names(name="host2") == ["host2"] and names(id=me) == ["host1"]
assert names(id=[me, other.info()["Swarm"]["NodeID"]]) == ["host1", "host2"]
assert names(membership="accepted") == ["host1", "host2"] and names(membership="pending") == []
refused(400, "invalid filter 'state'", client.nodes.list, filters={"state": "ready"})
refused(400, "Invalid role filter: 'king'", client.nodes.list, filters={"role": "king"})
leader = client.nodes.get("host1")
assert leader.id == me and leader.attrs["ManagerStatus"]["Leader"] is True
assert leader.attrs["ManagerStatus"]["Reachability"] == "reachable"
assert leader.attrs["ManagerStatus"]["Addr"] == f"{here}:2377" and leader.attrs["Status"]["Addr"] == here
worker = client.nodes.get(other.info()["Swarm"]["NodeID"][:12])
assert worker.attrs["Spec"] == {"Labels": {}, "Role": "worker", "Availability": "active"}
assert "ManagerStatus" not in worker.attrs
refused(404, "node nobody not found", client.nodes.get, "nobody")
old = worker.version
assert worker.update({"Labels": {"zone": "a"}, "Role": "worker", "Availability": "drain"})
worker.reload()
assert worker.attrs["Spec"]["Availability"] == "drain" and worker.version > old
assert names(**{"node.label": "zone=a"}) == ["host2"] and names(**{"node.label": "zone=b"}) == []
refused(500, "update out of sequence", client.api.update_node, worker.id, old, {"Role": "worker", "Availability": "active"})
refused(400, "invalid Role", worker.update, {"Role": "king", "Availability": "active"})
refused(400, "invalid Availability", worker.update, {"Role": "worker", "Availability": "lazy"})
refused(400, "attempting to demote the last manager", leader.update, {"Role": "worker", "Availability": "active"})
refused(404, "node nobody not found", client.api.update_node, "nobody", 1, {"Role": "worker", "Availability": "active"})
refused(400, "is not down and can't be removed", worker.remove)
refused(400, "must be demoted to worker before removal", leader.remove, force=True)
refused(404, "node nobody not found", client.api.remove_node, "nobody")

# Secrets, and configs, which are the same but that their content is shown.
for kind, all_, create, inspect, remove in [
    ("secret", client.secrets, client.api.create_secret, client.api.inspect_secret, client.api.remove_secret),
    ("config", client.configs, client.api.create_config, client.api.inspect_config, client.api.remove_config),
]:
    first = create("one", b"content", labels={"a": "b"})["ID"]
    second = create("another", b"content")["ID"]
    refused(409, f"code = AlreadyExists desc = {kind} one already exists", create, "one", b"x")
    refused(400, "invalid name", create, "no name!", b"x")
    refused(400, f"{kind} data must be larger than 0", create, "empty", b"")
    listed = lambda **filters: sorted(one.name for one in all_.list(filters=filters))
    assert listed() == ["another", "one"]
    assert listed(name="on") == ["one"] and listed(id=second) == ["another"] and listed(label="a=b") == ["one"]
    refused(400, "invalid filter 'mode'", all_.list, filters={"mode": "x"})
    shown = inspect("one")
    assert shown["ID"] == first and shown["Spec"]["Labels"] == {"a": "b"}
    assert shown["Spec"].get("Data") == (None if kind == "secret" else "Y29udGVudA==")
    refused(404, f"{kind} nothing not found", inspect, "nothing")
    version, spec = shown["Version"]["Index"], {"Name": "one", "Labels": {"c": "d"}}
    change = lambda version, spec: post(client, f"/{kind}s/{first}/update", spec, version=version)
    change(version, spec)
    assert inspect(first)["Spec"]["Labels"] == {"c": "d"}
    refused(500, "update out of sequence", change, version, spec)
    version = inspect(first)["Version"]["Index"]
    refused(400, "only updates to Labels are allowed", change, version, {**spec, "Data": "b3RoZXI="})
    refused(400, "only updates to Labels are allowed", change, version, {**spec, "Name": "two"})
    refused(404, f"{kind} nothing not found", post, client, f"/{kind}s/nothing/update", spec, version=1)
    remove(second)
    refused(404, f"{kind} another not found", remove, "another")
# By whole names only secrets can be asked for, as in Docker.
assert [s.name for s in client.secrets.list(filters={"names": "one"})] == ["one"]
assert client.secrets.list(filters={"names": "on"}) == []

# Services and their tasks.
secret = client.secrets.list()[0]
config = client.configs.list()[0]
service = client.services.create(
    IMAGE,
    ["sh", "-c", "cat /run/secrets/word /conf; echo; exec sleep 1000"],
    name="web",
    labels={"tier": "front"},
    init=True,
    mode=docker.types.ServiceMode("replicated", 2),
    constraints=["node.hostname==host1"],
    secrets=[docker.types.SecretReference(secret.id, secret.name, filename="word")],
    configs=[docker.types.ConfigReference(config.id, config.name, filename="/conf")],
)
refused(409, "code = AlreadyExists desc = name conflicts with an existing object: service web already exists", client.services.create, IMAGE, name="web")
refused(400, "name must be valid as a DNS name component", client.services.create, IMAGE, name="no name")
refused(404, "network nowhere not found", client.services.create, IMAGE, name="x", networks=["nowhere"])
refused(400, "secret 'one' is in use by the following service: web", secret.remove)
refused(400, "config 'one' is in use by the following service: web", config.remove)
everywhere = client.services.create(IMAGE, "sleep 1000", name="all", mode="global", init=True)


def served(**filters):
    return sorted(s.name for s in client.services.list(filters=filters))


assert served() == ["all", "web"]
assert served(name="we") == ["web"] and served(id=service.id) == ["web"]
assert served(label="tier=front") == ["web"] and served(label="tier=back") == []
assert served(mode="global") == ["all"] and served(mode="replicated") == ["web"]
refused(400, "invalid filter 'node'", client.services.list, filters={"node": "x"})
refused(404, "service nothing not found", client.services.get, "nothing")
refused(404, "service nothing not found", client.api.remove_service, "nothing")


def running(of):
    return [t for t in of.tasks({"desired-state": "running"}) if t["Status"]["State"] == "running"]


tasks = until(lambda: len(running(service)) == 2 and running(service), within=60)
status = client.api._result(client.api._get(client.api._url("/services?status=true")), True)
counted = {s["Spec"]["Name"]: s["ServiceStatus"] for s in status}
assert counted["web"] == {"RunningTasks": 2, "DesiredTasks": 2, "CompletedTasks": 0}, counted
assert {t["NodeID"] for t in tasks} == {me} and {t["Slot"] for t in tasks} == {1, 2}
one = tasks[0]
assert client.api.inspect_task(one["ID"]) == client.api.inspect_task(one["ID"][:15])
shown = client.api.inspect_task(one["ID"])
assert shown["ServiceID"] == service.id and shown["DesiredState"] == "running"
assert shown["Status"]["ContainerStatus"]["ContainerID"] in [c.id for c in client.containers.list()]
refused(404, "task nothing not found", client.api.inspect_task, "nothing")


def found(**filters):
    return {t["ID"] for t in client.api.tasks(filters)}


both = {t["ID"] for t in tasks}
assert found(service="web") == both and found(service=service.id) == both
assert found(node="host1", service="web") == both and found(node="host2") == set()
assert found(id=one["ID"]) == {one["ID"]} and found(name="web.") == both
assert found(label="tier=front") == both and found(**{"desired-state": "shutdown"}) == set()
refused(404, "service nothing not found", client.api.tasks, {"service": "nothing"})
refused(404, "node nothing not found", client.api.tasks, {"node": "nothing"})
refused(400, "Invalid desired-state filter", client.api.tasks, {"desired-state": "asleep"})
refused(400, "invalid filter 'state'", client.api.tasks, {"state": "running"})


# What they wrote: of the service, and of one task.
def logs(path, **query):
    answer = client.api._get(client.api._url(path), params={"stdout": 1, **query}, stream=True)
    client.api._raise_for_status(answer)
    return b"".join(client.api._multiplexed_response_stream_helper(answer))


assert until(lambda: logs(f"/services/web/logs").count(b"contentcontent") == 2)
assert logs(f"/tasks/{one['ID']}/logs") == b"contentcontent\n"
detailed = logs(f"/tasks/{one['ID']}/logs", details=1).decode()
assert f"com.docker.swarm.task.id={one['ID']}" in detailed and f"com.docker.swarm.node.id={me}" in detailed
refused(404, "task nothing not found", logs, "/tasks/nothing/logs")
refused(404, "service nothing not found", logs, "/services/nothing/logs")
refused(400, "must specify at least one of 'stdout' or 'stderr'", logs, f"/tasks/{one['ID']}/logs", stdout=0)

# Changes of a service.
service.reload()
spec, version = service.attrs["Spec"], service.version
assert service.scale(1)
until(lambda: len(running(service)) == 1)
refused(500, "update out of sequence", post, client, f"/services/{service.id}/update", spec, version=version)
service.reload()
version = service.version
renamed = {**spec, "Name": "other"}
refused(400, "renaming services is not supported", post, client, "/services/web/update", renamed, version=version)
other_mode = {**spec, "Mode": {"Global": {}}}
refused(400, "service mode change is not allowed", post, client, "/services/web/update", other_mode, version=version)
refused(400, "invalid service version", post, client, "/services/web/update?version=x", spec)
refused(404, "service nothing not found", post, client, "/services/nothing/update", spec, version=1)
before = running(service)[0]["ID"]
assert service.force_update()
until(lambda: [t["ID"] for t in running(service)] not in ([], [before]), within=60)
post(client, "/services/web/update", {}, version=client.services.get("web").version, rollback="previous")
refused(400, "unrecognized rollback option x", post, client, "/services/web/update", {}, version=1, rollback="x")
service.remove()
everywhere.remove()
refused(404, "service web not found", client.services.get, "web")
until(lambda: client.api.tasks() == [], within=60)
secret.remove()
config.remove()

# The worker leaves, and its node is removed when it is seen to be down.
assert other.swarm.leave()
until(lambda: client.nodes.get(worker.id).attrs["Status"]["State"] == "down", within=60)
assert worker.remove()
refused(404, "not found", client.nodes.get, worker.id)
refused(503, "You are attempting to leave the swarm on a node that is participating as a manager", client.swarm.leave)
assert client.swarm.leave(force=True)
refused(503, OUTSIDE, client.nodes.list)
