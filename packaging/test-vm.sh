#!/usr/bin/env bash
# Runs the engine's kernel tests in a virtual machine with Debian's stock kernel and version 2 of
# cgroups alone, whatever the machine has that it is started on. Nothing of it stays but target/vm.
# The machine is emulated, which takes some minutes: a /dev/kvm inside of another machine may hang.
set -euo pipefail
cd "$(dirname "$0")/.."

# What depends on cgroups: limits and their change, the end for want of memory, the freezer,
# devices, what is counted, and what a container sees of it all; and AppArmor, which that kernel has.
tests=(${TESTS:-limits freezer devices isolation namespaces userns apparmor})
[ "$(uname -m)" = x86_64 ] || { echo "test-vm: only x86_64 has a machine to boot" >&2; exit 1; }

packaging/install-packages.sh qemu-system-x86 busybox-static cpio kmod jq binutils
work=$PWD/target/vm
mkdir -p "$work"

# The kernel that the meta package stands for today.
if [ ! -e "$work/kernel/done" ]; then
    image=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends:/ { print $2; exit }')
    if [ -z "$image" ]; then
        apt-get update -qq
        image=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
    fi
    rm -rf "$work/kernel" "$work/download"
    mkdir -p "$work/download"
    (cd "$work/download" && apt-get download -qq "$image" && dpkg-deb -x ./*.deb ../kernel)
    rm -rf "$work/download"
    touch "$work/kernel/done"
fi
release=$(ls "$work/kernel/lib/modules")
# The compiler of AppArmor's profiles, not installed: nothing of this machine is to be confined.
if [ ! -e "$work/apparmor/done" ]; then
    rm -rf "$work/apparmor" "$work/download"
    mkdir -p "$work/download"
    (cd "$work/download" && apt-get download -qq apparmor && dpkg-deb -x ./*.deb ../apparmor)
    rm -rf "$work/download"
    touch "$work/apparmor/done"
fi

targets=()
for test in "${tests[@]}"; do targets+=(--test "$test"); done
# As all else is built, or every crate would be built once more for this one's features.
cargo test --workspace --no-run "${targets[@]}"
programs=$(cargo test --workspace --no-run "${targets[@]}" --message-format json 2>/dev/null |
    jq -r 'select(.executable != null and (.package_id | test("skep-engine@"))) | "\(.target.kind[0]) \(.target.name) \(.executable)"')

root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,root,new,tests}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
done
ln -s bin "$root/sbin"
echo "root:x:0:0:root:/root:/bin/sh" >"$root/etc/passwd"
echo "root:x:0:" >"$root/etc/group"

# The shim must stand where the tests were built to find it. Their debug information stays here.
while read -r kind name path; do
    case $kind in
        test) to=$root/tests/$name ;;
        bin) to=$root$path ;;
        *) continue ;;
    esac
    mkdir -p "$(dirname "$to")"
    strip --strip-debug -o "$to" "$path"
    chmod 755 "$to"
    ldd "$path" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Lu "$library" "$root$library"
    done
done <<<"$programs"
mkdir -p "$root/lib"
parser=$(find "$work/apparmor" -path '*sbin/apparmor_parser' -type f | head -n 1)
cp "$parser" "$root/bin/apparmor_parser"
ldd "$parser" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -Lu "$library" "$root$library"
done

modules=$root/lib/modules/$release
mkdir -p "$modules/kernel/fs"
cp -r "$work/kernel/lib/modules/$release/kernel/fs/overlayfs" "$modules/kernel/fs/"
cp "$work/kernel/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$modules/"
depmod -b "$root" "$release"

# A container's root is pivoted into, which the kernel's first root filesystem does not allow.
cat >"$root/init" <<'INIT'
#!/bin/sh
mount -t tmpfs -o size=80% root /new
for part in /*; do
    case $part in /new | /init | /dev | /proc | /sys) ;; *) mv "$part" /new/ ;; esac
done
exec /new/bin/busybox switch_root /new /run-tests 2>&1
INIT
cat >"$root/run-tests" <<INIT
#!/bin/sh
export PATH=/bin:/sbin HOME=/root RUST_BACKTRACE=0 SKEP_TEST_APPARMOR=1
mkdir -p /proc /sys /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Kept for the shared-mount tests, as systemd has it.
mount --make-rshared /
ip link set lo up
modprobe overlay
failed=
for test in ${tests[*]}; do
    echo "== \$test"
    /tests/\$test --test-threads 2 || failed="\$failed \$test"
done
[ -z "\$failed" ] && echo "test-vm: all passed" || echo "test-vm: FAILED:\$failed"
poweroff -f
INIT
# busybox's switch_root wants its target to look like an init.
chmod 755 "$root/init" "$root/run-tests"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd.gz"

timeout "${VM_TIMEOUT_S:-1800}" qemu-system-x86_64 \
    -accel tcg,thread=multi -cpu max -smp 2 -m "${VM_MEMORY_MB:-3072}" \
    -nographic -no-reboot -kernel "$work/kernel/boot/vmlinuz-$release" -initrd "$work/initrd.gz" \
    -append "console=ttyS0 panic=-1 quiet" </dev/null | tee "$work/output"
grep -q '^test-vm: all passed' "$work/output"
