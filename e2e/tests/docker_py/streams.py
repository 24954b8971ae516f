import socket as sockets

BOTH = ["sh", "-c", "echo out; echo err >&2"]


def read_all(stream):
    """Everything of a hijacked connection, which the SDK gives as a file around its socket."""
    raw = getattr(stream, "_sock", stream)
    raw.settimeout(30)
    parts = []
    while part := raw.recv(4096):
        parts.append(part)
    return b"".join(parts)


@case
def runs_commands_inside():
    one = start()
    assert tuple(one.exec_run("echo hello")) == (0, b"hello\n")
    assert tuple(one.exec_run(BOTH, demux=True)) == (0, (b"out\n", b"err\n"))
    assert one.exec_run(["sh", "-c", "exit 9"]).exit_code == 9
    said = one.exec_run(
        ["sh", "-c", 'echo "$A $(id -u) $(pwd)"'], environment={"A": "b"}, user="1000", workdir="/www"
    )
    assert said.output == b"b 1000 /www\n", said
    stream = one.exec_run(["sh", "-c", "echo a; echo b"], stream=True)
    assert stream.exit_code is None and b"".join(stream.output) == b"a\nb\n"
    pairs = list(one.exec_run(BOTH, stream=True, demux=True).output)
    assert b"".join(o for o, _ in pairs if o) == b"out\n" and b"".join(e for _, e in pairs if e) == b"err\n", pairs
    said = one.exec_run(["sh", "-c", "test -t 1 && echo terminal"], tty=True)
    assert tuple(said) == (0, b"terminal\r\n"), said
    assert not one.exec_run("true", detach=True).output


@case
def speaks_with_a_command_inside():
    one = start()
    talk = one.exec_run("cat", stdin=True, socket=True).output
    raw = getattr(talk, "_sock", talk)
    raw.sendall(b"bees\n")
    raw.shutdown(sockets.SHUT_WR)
    answer = read_all(talk)
    assert answer == b"\x01\0\0\0\0\0\0\x05bees\n", answer
    talk.close()
    session = client.api.exec_create(one.id, "sh -c 'exit 4'")
    assert client.api.exec_inspect(session["Id"])["Running"] is False
    client.api.exec_start(session["Id"])
    inspected = client.api.exec_inspect(session["Id"])
    assert inspected["ExitCode"] == 4 and inspected["ContainerID"] == one.id, inspected


@case
def reads_logs():
    one = start(BOTH)
    one.wait()
    assert sorted(one.logs().splitlines()) == [b"err", b"out"]
    assert one.logs(stderr=False) == b"out\n" and one.logs(stdout=False) == b"err\n"
    stamp, text = one.logs(stderr=False, timestamps=True).split(b" ", 1)
    assert text == b"out\n" and stamp.endswith(b"Z"), stamp
    two = start(["sh", "-c", "for i in 1 2 3; do echo $i; done; exec sleep 1000"], base="two")
    until(lambda: two.logs() == b"1\n2\n3\n")
    assert two.logs(tail=1) == b"3\n"
    assert two.logs(since=int(time.time()) + 1000) == b""
    follow = two.logs(stream=True, follow=True)
    two.kill()
    assert b"".join(follow) == b"1\n2\n3\n"


@case
def attaches():
    one = client.containers.create(IMAGE, "cat", name=name("one"), stdin_open=True)
    talk = one.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    one.start()
    raw = getattr(talk, "_sock", talk)
    raw.sendall(b"nectar\n")
    raw.settimeout(30)
    wanted = b"\x01\0\0\0\0\0\0\x07nectar\n"
    got = b""
    while len(got) < len(wanted):
        part = raw.recv(100)
        assert part, got
        got += part
    assert got == wanted, got
    # What was shown is on its way to the log.
    until(lambda: one.attach(logs=True, stream=False) == b"nectar\n")
    stream = one.attach(stream=True, logs=False)
    raw.sendall(b"more\n")
    assert next(stream) == b"more\n"
    one.kill()
    talk.close()


@case
def shows_a_terminal():
    one = start(["sh", "-c", "stty size; test -t 0 && echo terminal; exec sleep 1000"], tty=True, stdin_open=True)
    until(lambda: b"terminal\r\n" in one.logs())
    one.resize(30, 99)
    until(lambda: one.exec_run("sh -c 'stty size </dev/console'").output == b"30 99\n")
