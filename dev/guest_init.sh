#!/bin/sh
# PID 1 of the kernels that dev/fullkernel.py and dev/cloudkernel.py boot. The machine's file system is the root, read-only;
# what has to be written lies on tmpfs, and results go to $results, a folder of the machine's. Kernel arguments arrive as
# variables; $back is the type of file system by which the machine's folders are reached again.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

end() {
    sync
    echo 1 >/proc/sys/kernel/printk
    echo o >/proc/sysrq-trigger # power off; UML's init must not return before it has
    sleep 60
}

# back OPTION FOLDER: what the machine has there, where a tmpfs would hide it.
back() {
    mkdir -p "$2" 2>/dev/null
    case $back in
    virtiofs) mount -o "bind,$1" "/run/machine$2" "$2" ;;
    *) mount -t hostfs -o "$2,$1" none "$2" ;;
    esac
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
if [ "$back" = virtiofs ]; then
    mkdir /run/machine
    mount -t virtiofs machine /run/machine || end
fi
back rw "$results" || end # it may lie below one of those, and so may the project
[ -e "$project/pyproject.toml" ] || back ro "$project" || end
[ "$back" != virtiofs ] || umount /run/machine

ip link set lo up
stty -opost 2>/dev/null
/run/modules/modprobe -aq tun ipip sit ip_gre ip6_gre ip6_tunnel 2>/dev/null # their fallback devices are there as on a busy machine
cd "$project" || end
export PYTHONDONTWRITEBYTECODE=1 NETDSL_LANE=$lane TERM=dumb
sh "$results/command"
echo $? >"$results/status"
end
