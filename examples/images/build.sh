#!/usr/bin/env bash
# Root file systems of the examples' images, out of Debian packages; Debian's own tools download
# and unpack them, nothing is installed and no container is needed.
#
#   examples/images/build.sh [--import] [NAME…]      all of them, or busybox nginx redis postgres guestbook
#
# Leaves NAME.tar in $OUT (default target/example-images), packages in $OUT/packages for the next
# time. --import also hands each to the daemon as skep-example/NAME:1; SKEP names the program.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
app=$here/../guestbook/app
OUT=${OUT:-$here/../../target/example-images}
SKEP=${SKEP:-skep}
ALL=(busybox nginx redis postgres guestbook)

import=no
names=()
for word in "$@"; do
    case $word in
    --import) import=yes ;;
    -*) echo "usage: $0 [--import] [NAME…]" >&2; exit 125 ;;
    *)
        [[ " ${ALL[*]} " == *" $word "* ]] || { echo "no such image: $word (there are: ${ALL[*]})" >&2; exit 1; }
        names+=("$word")
        ;;
    esac
done
[ ${#names[@]} -gt 0 ] || names=("${ALL[@]}")

mkdir -p "$OUT/packages"
OUT=$(cd "$OUT" && pwd)
work=$(mktemp -d "$OUT/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Every image has these: a shell, a user database, the C library.
base=(busybox-static base-files libc6 libgcc-s1)

# What these packages need, without what is for installing only: package managers, init scripts,
# debconf, the interpreter that only maintainer scripts use.
closure() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "$@" |
        grep -E '^[a-z0-9]' | grep -vE ':(i386|any)$' |
        grep -vE '^(dpkg|debconf|debconf-2.0|cdebconf|init-system-helpers|perl|perl-base|perl-modules-.*|libperl.*|adduser|lsb-base|sysvinit-utils|ucf|gawk|mawk|original-awk|postgresql-client-common|postgresql-common|ssl-cert|openssl|passwd|login|systemd.*|libpam-.*|locales.*|sensible-utils|gcc-12-base|tar|bash|dash|coreutils|sed|grep|python3-minimal|libllvm.*|libz3-4)$' |
        sort -u
}

# Downloads what the cache lacks, then prints the files. Virtual packages have no candidate.
fetch() {
    local package version file wanted=() files=()
    while read -r package version; do
        file=${package}_${version//:/%3a}
        files+=("$file")
        [ -n "$(compgen -G "$OUT/packages/${file}_*.deb")" ] || wanted+=("$package")
    done < <(apt-cache policy "$@" | awk '
        /^[^ ]/ { sub(":$", ""); name = $0 }
        $1 == "Candidate:" && $2 != "(none)" { print name, $2 }')
    if [ ${#wanted[@]} -gt 0 ]; then
        (cd "$OUT/packages" && apt-get -o APT::Sandbox::User=root download -qq "${wanted[@]}" >&2)
    fi
    for file in "${files[@]}"; do printf '%s\n' "$OUT/packages/$file"_*.deb; done
}

unpack() { # ROOT PACKAGE…
    local root=$1 file
    shift
    mkdir -p "$root"
    # Merged /usr, as Debian is installed: packages still carry /bin and /lib.
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
    ln -sfn usr/bin "$root/bin"; ln -sfn usr/sbin "$root/sbin"
    ln -sfn usr/lib "$root/lib"; ln -sfn usr/lib64 "$root/lib64"
    # tar keeps the links of merged /usr, which dpkg -x would replace by directories.
    fetch "$@" | while read -r file; do
        dpkg-deb --fsys-tarfile "$file" | tar -x -C "$root" --keep-directory-symlink
    done
    rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,bug,i18n} "$root"/usr/share/postgresql/*/man
    mkdir -p "$root"/{etc,tmp,run,proc,sys,dev,root,var/tmp}
    chmod 1777 "$root/tmp" "$root/var/tmp"
    cat >"$root/etc/passwd" <<'EOP'
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
redis:x:101:101:redis:/var/lib/redis:/bin/sh
postgres:x:102:102:postgres:/var/lib/postgresql:/bin/sh
EOP
    cat >"$root/etc/group" <<'EOP'
root:x:0:
www-data:x:33:
nogroup:x:65534:
redis:x:101:
postgres:x:102:
EOP
    # Names of commands that no package brought.
    local applet
    for applet in $("$root/bin/busybox" --list); do
        [ -e "$root/bin/$applet" ] || [ -e "$root/sbin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
}

# Each sets `changes`: what the image says beside its files.
build_busybox() {
    unpack "$1" busybox-static
    changes=('CMD ["sh"]')
}
build_nginx() {
    unpack "$1" $(closure nginx-light "${base[@]}")
    mkdir -p "$1"/var/{log,lib}/nginx
    changes=('CMD ["nginx", "-g", "daemon off;"]' 'EXPOSE 80' 'STOPSIGNAL SIGQUIT')
}
build_redis() {
    unpack "$1" $(closure redis-server "${base[@]}")
    mkdir -p "$1/data" && chown 101:101 "$1/data"
    changes=('CMD ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data"]' 'EXPOSE 6379' 'USER redis' 'WORKDIR /data')
}
build_postgres() {
    unpack "$1" $(closure postgresql-15 util-linux "${base[@]}")
    install -m 755 "$app/postgres.sh" "$1/usr/bin/postgres.sh"
    mkdir -p "$1/var/lib/postgresql/data" && chown -R 102:102 "$1/var/lib/postgresql"
    changes=('CMD ["postgres.sh"]' 'EXPOSE 5432' 'VOLUME /var/lib/postgresql/data' 'STOPSIGNAL SIGINT')
}
build_guestbook() {
    unpack "$1" $(closure python3.11 postgresql-client-15 "${base[@]}")
    ln -sf python3.11 "$1/usr/bin/python3"
    # Through Debian's wrapper psql would want Perl.
    ln -sf ../lib/postgresql/15/bin/psql "$1/usr/bin/psql"
    install -D -m 644 "$app/guestbook.py" "$1/app/guestbook.py"
    changes=('CMD ["python3", "/app/guestbook.py"]' 'EXPOSE 8000' 'ENV PYTHONUNBUFFERED=1')
}

for name in "${names[@]}"; do
    root=$work/$name
    changes=()
    "build_$name" "$root"
    # The same files give the same bytes, and so the same image.
    tar -C "$root" --sort=name --mtime=@0 --numeric-owner -cf "$OUT/$name.tar.new" .
    mv "$OUT/$name.tar.new" "$OUT/$name.tar"
    rm -rf "$root"
    echo "$OUT/$name.tar ($(du -h "$OUT/$name.tar" | cut -f1))"
    if [ $import = yes ]; then
        options=(--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
        for change in "${changes[@]}"; do options+=(--change "$change"); done
        "$SKEP" image import "${options[@]}" "$OUT/$name.tar" "skep-example/$name:1"
    fi
done
