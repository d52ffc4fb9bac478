#!/bin/sh
# PID 1 of the full kernel that dev/fullkernel.py boots. The machine's file system is the root, read-only; what has to be
# written lies on tmpfs, and results go to $results, a folder of the machine's. Kernel arguments arrive as variables.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

end() {
    sync
    echo 1 >/proc/sys/kernel/printk
    echo o >/proc/sysrq-trigger # power off; UML's init must not return before it has
    sleep 60
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /dev/net
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
for folder in /dev/shm /run /tmp /var/tmp /var/lib; do # /run: else the guest's netns names would be the machine's
    mount -t tmpfs -o mode=1777 tmpfs "$folder" 2>/dev/null
done
mkdir -p /run/netns
# Modules load by themselves, although the machine's root has no place for this kernel's.
mkdir -p /run/modules/lib/modules
ln -s "$modules" "/run/modules/lib/modules/$(uname -r)"
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' >/run/modules/modprobe
chmod +x /run/modules/modprobe
echo /run/modules/modprobe >/proc/sys/kernel/modprobe
for folder in "$results" "$project"; do     # they may lie below one of those
    mkdir -p "$folder" 2>/dev/null
done
mount -t hostfs -o "$results" none "$results" || end
[ -e "$project/pyproject.toml" ] || mount -t hostfs -o "$project,ro" none "$project" || end

ip link set lo up
stty -opost 2>/dev/null
/run/modules/modprobe -aq tun ipip sit ip_gre ip6_gre ip6_tunnel 2>/dev/null # their fallback devices are there as on a busy machine
cd "$project" || end
export PYTHONDONTWRITEBYTECODE=1 NETDSL_FULL_KERNEL=1 TERM=dumb
sh "$results/command"
echo $? >"$results/status"
end
