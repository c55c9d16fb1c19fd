#!/bin/sh
# PID 1 of the user-mode-linux guest (scripts/guest.mjs copies it beside its files and boots it): makes the machine
# that the tests expect, with cgroup v2 only, and runs them, or has a systemd run them. The host's filesystem is the
# root (hostfs); what tests write to goes to filesystems of the guest's own.
job=$(dirname "$0")
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount -t selinuxfs selinuxfs /sys/fs/selinux 2>/dev/null
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sf pts/ptmx /dev/ptmx
ln -sf /proc/self/fd /dev/fd
mount -t tmpfs -o mode=755 run /run
# The checkout and the job may lie in a directory that is about to be covered.
mkdir -p /run/checkout /run/job /run/netns
mount --bind "$(cat "$job/checkout")" /run/checkout
mount --bind "$job" /run/job
mount -t ext4 /dev/ubda /mnt
for name in tmp var-lib var-tmp; do mkdir -p /mnt/$name; done
mount --bind /mnt/tmp /tmp
mount --bind /mnt/var-lib /var/lib
mount --bind /mnt/var-tmp /var/tmp
umount /mnt
chmod 1777 /tmp /var/tmp

# modprobe wants /lib/modules, which the host does not have for this kernel.
mkdir -p /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
for module in overlay veth bridge nf_tables nft_chain_nat nft_masq; do
    modprobe -q -d /run/modules $module || echo "guest: no module $module"
done
ip link set lo up
hostname guest
[ -d /run/job/units ] && . /run/job/systemd.sh
# systemd keeps processes out of the root cgroup, and so do the tests' machines.
for controller in cpu io memory pids cpuset hugetlb; do
    echo "+$controller" 2>/dev/null >/sys/fs/cgroup/cgroup.subtree_control
done
exec /run/job/run.sh
