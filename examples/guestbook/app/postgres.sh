#!/bin/sh
# The database's first process: makes the data directory once, then becomes the server.
set -eu

data=/var/lib/postgresql/data
bin=$(echo /usr/lib/postgresql/*/bin)
user=${DB_USER:-postgres}
database=${DB_NAME:-$user}

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$data" /run/postgresql
    chown postgres:postgres "$data" /run/postgresql
    chmod 700 "$data"
    # setpriv and not su: no process in between, so that the server gets the signals. By its path:
    # BusyBox's shell would take its own, which knows no users.
    if [ ! -s "$data/PG_VERSION" ]; then
        password=$(mktemp)
        cat "${DB_PASSWORD_FILE:?names the file with the password}" >"$password"
        chown postgres "$password"
        /usr/bin/setpriv --reuid=postgres --regid=postgres --init-groups \
            "$bin/initdb" --pgdata="$data" --username="$user" --pwfile="$password" \
            --auth=scram-sha-256 --encoding=UTF8 --locale=C >/dev/null
        rm -f "$password"
        echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
    fi
    exec /usr/bin/setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -e "$data/.database-made" ]; then
    # In single-user mode nobody can connect before the database is there.
    echo "CREATE DATABASE \"$database\";" | "$bin/postgres" --single -D "$data" postgres >/dev/null
    touch "$data/.database-made"
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
