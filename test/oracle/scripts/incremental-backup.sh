#!/bin/sh
# Backups with bitmaps, with qemu-img and qemu-io alone: a full copy at first, then a chain of copies over it. The machine is off while a backup is made.
# These tools keep bitmaps and do not say what is in them: each round turns them, so that a server can go on from any round.
#
#   incremental-backup.sh FOLDER ROUNDS
set -eu

cd "$1"
rounds=$2

bitmaps() {
    qemu-img info disk.qcow2 | sed -n '/bitmaps:/,/^ *corrupt/p'
}

quiet_io() {
    qemu-io "$@" | sed 's/; .*//'
}

echo "== the disk"
qemu-img create -f qcow2 -o cluster_size=32k disk.qcow2 6M
quiet_io -f qcow2 -c 'write -P 1 0 2M' disk.qcow2

echo "== the full backup"
qemu-img bitmap --add -g 64k disk.qcow2 since-0
qemu-img convert -W -m 4 -O qcow2 -o cluster_size=64k disk.qcow2 backup-0.qcow2
qemu-img measure -O qcow2 disk.qcow2
bitmaps

last=0
while [ "$last" -lt "$rounds" ]; do
    next=$((last + 1))
    echo "== round $next"
    quiet_io -f qcow2 -c "write -P 1$next ${next}M 192k" -c "write -z -u $((next * 256))k 64k" -c "discard 5M 64k" disk.qcow2
    # From here on, the new bitmap records what is for the next round; the old one stops.
    qemu-img bitmap --add -g 64k disk.qcow2 "since-$next"
    qemu-img bitmap --disable disk.qcow2 "since-$last"
    qemu-img convert -O qcow2 -B "backup-$last.qcow2" -F qcow2 -n disk.qcow2 "increment.tmp" 2>/dev/null || echo "there is no target yet"
    qemu-img convert -O qcow2 disk.qcow2 increment.tmp
    # What reads as zeroes must hide what the last backup has there.
    qemu-img rebase -b "backup-$last.qcow2" -F qcow2 increment.tmp
    mv increment.tmp "backup-$next.qcow2"
    if [ "$next" -gt 2 ]; then
        qemu-img bitmap --merge "since-$last" disk.qcow2 "since-$((last - 1))"
        qemu-img bitmap --remove disk.qcow2 "since-$last"
        qemu-img bitmap --add --disable disk.qcow2 "since-$last"
    fi
    qemu-img check -q "backup-$next.qcow2"
    qemu-img compare disk.qcow2 "backup-$next.qcow2"
    bitmaps
    last=$next
done

echo "== copies keep bitmaps"
qemu-img convert --bitmaps -O qcow2 disk.qcow2 moved.qcow2
qemu-img info --output=json moved.qcow2 | grep -E '"(name|granularity)"' | sort
qemu-img bitmap --clear moved.qcow2 since-0
qemu-img bitmap --enable moved.qcow2 since-0
qemu-img bitmap --merge since-0 -b disk.qcow2 -F qcow2 moved.qcow2 since-1
qemu-img check moved.qcow2 | sed 's/Image end offset: .*/Image end offset: X/'

echo "== restore"
qemu-img convert -O raw "backup-$last.qcow2" restored.raw
qemu-img compare -f raw -F qcow2 restored.raw disk.qcow2
quiet_io -r -f raw -c 'read -P 1 0 64k' -c "read -P 1$last ${last}M 192k" restored.raw
qemu-img convert -O qcow2 backup-1.qcow2 first.qcow2
qemu-img compare first.qcow2 disk.qcow2 || echo "exit code $?"

echo "== mistakes"
qemu-img bitmap --add disk.qcow2 since-0 || echo "exit code $?"
qemu-img bitmap --remove disk.qcow2 never || echo "exit code $?"
qemu-img bitmap --add -g 3k disk.qcow2 odd || echo "exit code $?"
qemu-img bitmap --merge never disk.qcow2 since-0 || echo "exit code $?"
qemu-img convert --bitmaps -O raw disk.qcow2 x.raw || echo "exit code $?"
rm -f x.raw
