#!/usr/bin/env bash
# Three hosts on this machine, one swarm, a stack of four services: the example, from end to end.
#
#   examples/demo.sh up [MANAGERS]     MANAGERS of the three hosts are managers (default 1)
#   examples/demo.sh down              takes all of it away again
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$(dirname "$here")/target/debug}
fleet=("$bin/fleet")
export FLEET=${FLEET:-demo}

on() { "$bin/skep" -H "unix://$1" "${@:2}"; }

up() {
    echo "== three hosts, swarm init on the first, swarm join on the others"
    "${fleet[@]}" up 3 --daemon "$bin/skep"
    mapfile -t sockets < <("${fleet[@]}" ls | awk '{print $3}')
    mapfile -t addresses < <("${fleet[@]}" ls | awk '{print $2}')
    first=${sockets[0]}
    on "$first" swarm init --advertise-addr "${addresses[0]}"
    for host in 1 2; do
        role=worker
        [ "$host" -lt "${1:-1}" ] && role=manager
        on "${sockets[$host]}" swarm join --token "$(on "$first" swarm join-token -q $role)" "${addresses[0]}:2377"
    done

    echo "== images out of Debian's packages, imported on each host"
    for socket in "${sockets[@]}"; do
        DOCKER_HOST=unix://$socket SKEP=$bin/skep "$here/images/build.sh" --import
    done

    echo "== the stack"
    openssl rand -base64 24 | on "$first" secret create guestbook_db_password -
    (cd "$here/guestbook" && on "$first" stack deploy -c compose.yaml guestbook)
    deadline=$((SECONDS + 120))
    until [ "$(on "$first" stack services --format '{{.Replicas}}' guestbook | awk -F/ '$1 != $2' | wc -l)" = 0 ]; do
        [ $SECONDS -lt $deadline ] || { on "$first" stack ps --no-trunc guestbook; echo "the stack did not converge" >&2; exit 1; }
        sleep 1
    done
    on "$first" node ls
    on "$first" service ls
    on "$first" stack ps guestbook
    "${fleet[@]}" ls

    echo "== the page, through the published port of each host"
    for host in 1 2 3; do
        until page=$("${fleet[@]}" exec "host$host" -- curl -s --fail --max-time 5 http://127.0.0.1:8080/); do
            [ $SECONDS -lt $deadline ] || { echo "no page on host$host" >&2; exit 1; }
            sleep 1
        done
        echo "host$host: $(grep -o 'Visit [0-9]*, served by [0-9a-f]*' <<<"$page")"
    done
    cat <<TEXT

Look around:   export DOCKER_HOST=unix://$first
               $bin/skep service logs guestbook_app      (docker works as well)
               $bin/fleet --name $FLEET exec host2 -- curl -s http://127.0.0.1:8080/
Take it down:  make demo-down
TEXT
}

case ${1:-} in
up) up "${2:-1}" ;;
down) "${fleet[@]}" down ;;
*) echo "usage: $0 up [MANAGERS] | down" >&2; exit 125 ;;
esac
