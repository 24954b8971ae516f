"""A guestbook in Python's standard library: entries in PostgreSQL, visits counted in Redis.

  GET  /            the page
  GET  /entries     the last entries, as JSON
  POST /entries     a new one: form fields `name` and `message`
  GET  /healthz     whether this process serves
"""

import html
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DB_HOST = os.environ.get("DB_HOST", "db")
DB_PORT = os.environ.get("DB_PORT", "5432")
DB_USER = os.environ.get("DB_USER", "guestbook")
DB_NAME = os.environ.get("DB_NAME", "guestbook")
REDIS_HOST = os.environ.get("REDIS_HOST", "redis")
REDIS_PORT = int(os.environ.get("REDIS_PORT", "6379"))
PORT = int(os.environ.get("PORT", "8000"))
PATIENCE_SECONDS = 5
FORM_BYTES_MAX = 16 * 1024
NAME_MAX, MESSAGE_MAX = 60, 500
ENTRIES_SHOWN = 50


class Unavailable(Exception):
    """A service behind this one does not answer."""


def password():
    path = os.environ.get("DB_PASSWORD_FILE")
    if not path:
        return os.environ.get("DB_PASSWORD", "")
    with open(path, encoding="utf-8") as file:
        return file.read().rstrip("\n")


def database(statement, **variables):
    """Runs one statement through psql, which quotes what it is given as variables (:'name')."""
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    for name, value in variables.items():
        command += ["-v", f"{name}={value}"]
    environment = dict(
        os.environ,
        PGHOST=DB_HOST, PGPORT=DB_PORT, PGUSER=DB_USER, PGDATABASE=DB_NAME,
        PGPASSWORD=password(), PGCONNECT_TIMEOUT=str(PATIENCE_SECONDS),
    )
    try:
        done = subprocess.run(
            command, input=statement, env=environment, capture_output=True, text=True,
            timeout=2 * PATIENCE_SECONDS, check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("the database does not answer") from None
    if done.returncode != 0:
        raise Unavailable(f"the database: {done.stderr.strip()}")
    return done.stdout.strip()


TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    id serial PRIMARY KEY, name text NOT NULL, message text NOT NULL,
    at timestamptz NOT NULL DEFAULT now());
"""
# Replicas that make the table at the same time would trip over each other.
PREPARE = "SET client_min_messages = warning; BEGIN; " \
    f"DO $$ BEGIN PERFORM pg_advisory_xact_lock(1); END $$; {TABLE} COMMIT;\n"


def entries():
    rows = database(
        PREPARE + "SELECT coalesce(json_agg(e), '[]') FROM (SELECT name, message, "
        f"to_char(at, 'YYYY-MM-DD HH24:MI') AS at FROM entries ORDER BY id DESC "
        f"LIMIT {ENTRIES_SHOWN}) e;"
    )
    return json.loads(rows)


def add(name, message):
    database(
        PREPARE + "INSERT INTO entries (name, message) VALUES (:'name', :'message');",
        name=name, message=message,
    )


def count_visit():
    try:
        with socket.create_connection((REDIS_HOST, REDIS_PORT), PATIENCE_SECONDS) as connection:
            connection.sendall(b"INCR visits\r\n")
            answer = connection.makefile("rb").readline()
    except OSError as error:
        raise Unavailable(f"redis: {error}") from None
    if not answer.startswith(b":"):
        raise Unavailable(f"redis: {answer!r}")
    return int(answer[1:])


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Guestbook</title>
<style>body {{ font: 1rem sans-serif; max-width: 40rem; margin: 2rem auto }}</style>
<h1>Guestbook</h1>
<p>Visit {visits}, served by {host}.</p>
<form method="post" action="/entries">
<p><input name="name" placeholder="Name" maxlength="{name_max}" required></p>
<p><textarea name="message" placeholder="Message" maxlength="{message_max}" required></textarea></p>
<p><button>Sign</button></p>
</form>
{entries}
</html>
"""


def page():
    shown = "\n".join(
        f"<p><b>{html.escape(e['name'])}</b> ({html.escape(e['at'])})<br>"
        f"{html.escape(e['message'])}</p>"
        for e in entries()
    )
    return PAGE.format(
        visits=count_visit(), host=html.escape(socket.gethostname()), entries=shown,
        name_max=NAME_MAX, message_max=MESSAGE_MAX,
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def answer(self, status, text, kind="text/plain", **headers):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def served(self, work):
        try:
            work()
        except Unavailable as error:
            self.log_error("%s", error)
            self.answer(503, "unavailable\n")

    def do_GET(self):
        pages = {
            "/": lambda: self.answer(200, page(), "text/html"),
            "/entries": lambda: self.answer(200, json.dumps(entries()), "application/json"),
            "/healthz": lambda: self.answer(200, "ok\n"),
        }
        missing = lambda: self.answer(404, "not found\n")
        self.served(pages.get(urllib.parse.urlsplit(self.path).path, missing))

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > FORM_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, "a form with its length, please\n")
        form = urllib.parse.parse_qs(self.rfile.read(int(length)).decode(errors="replace"))
        if self.path != "/entries":
            return self.answer(404, "not found\n")
        # PostgreSQL's text holds no zero byte, and a command line neither.
        field = lambda name: form.get(name, [""])[0].replace("\0", "").strip()
        name, message = field("name"), field("message")
        if not name or not message or len(name) > NAME_MAX or len(message) > MESSAGE_MAX:
            return self.answer(400, "a name and a message, please\n")

        def work():
            add(name, message)
            self.answer(303, "", Location="/")

        self.served(work)


def main():
    server = ThreadingHTTPServer(("", PORT), Handler)
    server.daemon_threads = False
    # Requests under way are finished. shutdown() waits for the loop that this handler interrupts.
    stop = lambda *_: threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
