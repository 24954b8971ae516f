# Comes before every script: a client, and names that no other script of this host uses.
import io
import os
import tarfile
import time

import docker
from docker import errors

IMAGE = "busybox:latest"
CASE = f"-py{os.getpid()}"
client = docker.from_env(timeout=60)


def name(base):
    return base + CASE


def until(probe, within=20):
    """What the probe gives as soon as that is true."""
    end = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        assert time.monotonic() < end, f"not so within {within} s: {value!r}"
        time.sleep(0.02)


def start(command="sleep 1000", base="one", **options):
    """A container in the background; what runs in it ends at the first signal."""
    return client.containers.run(
        IMAGE, command, name=name(base), detach=True, init=True, **options
    )


def tar(**files):
    """An archive of these files and their texts."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            writer.addfile(entry, io.BytesIO(text))
    return archive.getvalue()


def clean_up():
    for container in client.containers.list(all=True, ignore_removed=True):
        if container.name.endswith(CASE):
            container.remove(force=True, v=True)
    for network in client.networks.list():
        if network.name.endswith(CASE):
            network.remove()
    for volume in client.volumes.list():
        if volume.name.endswith(CASE):
            volume.remove(force=True)
    for image in client.images.list():
        for tag in image.tags:
            if tag.split(":")[0].endswith(CASE):
                client.images.remove(tag, force=True)


def case(run):
    """Runs a case and takes away what it made, whatever comes of it."""
    try:
        run()
    finally:
        clean_up()
