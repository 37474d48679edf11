#!/bin/sh
# Keeps the last KEEP nightly snapshots inside each disk of a folder, and a full copy of the oldest before it is dropped.
#
#   nightly-rotation.sh FOLDER DAY...
set -eu

KEEP=3
folder=$1
shift

fail() {
    echo "nightly-rotation: $*" >&2
    exit 1
}

# Names of the snapshots of a disk, the oldest first.
nightlies() {
    qemu-img snapshot -l "$1" | awk 'NR > 2 && $2 ~ /^nightly-/ { print $2 }'
}

for disk in "$folder"/*.qcow2; do
    qemu-img check -q "$disk" || fail "$disk is damaged"
done

for day in "$@"; do
    echo "== $day"
    for disk in "$folder"/*.qcow2; do
        name=$(basename "$disk" .qcow2)
        # The guests have been busy since.
        qemu-io -f qcow2 -c "write -P $day ${day}00k 64k" -c "write -z $((day % 4))M 256k" -c flush "$disk" |
            sed 's/ sec (.*/ sec/; s/[0-9.]* sec/TIME sec/'
        qemu-img snapshot -c "nightly-$day" "$disk"
        while [ "$(nightlies "$disk" | wc -l)" -gt "$KEEP" ]; do
            oldest=$(nightlies "$disk" | head -n 1)
            qemu-img convert -l "snapshot.name=$oldest" -O qcow2 -c "$disk" "$folder/archive/$name-$oldest.qcow2.tmp"
            mv "$folder/archive/$name-$oldest.qcow2.tmp" "$folder/archive/$name-$oldest.qcow2"
            qemu-img snapshot -d "$oldest" "$disk"
            echo "$name: archived $oldest"
        done
        echo "$name: $(nightlies "$disk" | tr '\n' ' ')"
    done
done

echo "== restore"
for disk in "$folder"/*.qcow2; do
    oldest=$(nightlies "$disk" | head -n 1)
    qemu-img snapshot -a "$oldest" "$disk"
    qemu-img convert -l "$oldest" -O raw "$disk" "$folder/then.raw"
    qemu-img compare -f qcow2 -F raw "$disk" "$folder/then.raw"
    rm "$folder/then.raw"
    qemu-img check "$disk" | sed 's/Image end offset: .*/Image end offset: X/'
done

echo "== mistakes"
qemu-img snapshot -d nightly-1 "$folder/a.qcow2" || echo "exit code $?"
qemu-img snapshot -a never "$folder/a.qcow2" || echo "exit code $?"
qemu-img convert -l never -O raw "$folder/a.qcow2" "$folder/x" || echo "exit code $?"
qemu-img snapshot -c x "$folder/missing.qcow2" || echo "exit code $?"
