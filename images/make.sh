#!/usr/bin/env bash
# Makes the images of this folder with Debian's own tools (e2fsprogs, qemu-utils). They are kept in the repository so that the
# demo and the tests have images that other programs made; run this only to make them anew.
#
#   base.qcow2   a small ext4 file system with text files, compressed clusters (zlib)
#   mid.qcow2    overlay of base: the middle of the disk rewritten, a hole punched
#   top.qcow2    overlay of mid: a few more writes; what a guest would use
#   zstd.qcow2   the file system of base, zstd clusters of 128 KiB
#   old.qcow2    the same as version 2 with 4 KiB clusters
set -euo pipefail
cd "$(dirname "$0")"
export E2FSPROGS_FAKE_TIME=1700000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/files"
for n in $(seq 1 40); do
    awk -v n="$n" 'BEGIN { for (i = 0; i < 9000; i++) printf "file %d line %06d: every cluster of this disk is worth keeping\n", n, i }' \
        >"$work/files/file-$n.txt"
    touch -d @1700000000 "$work/files/file-$n.txt"
done
truncate -s 64M "$work/disk.raw"
mkfs.ext4 -q -F -U 6d1f8f4e-9a52-4a8c-9a39-2f6f3a3f8a01 -E hash_seed=6d1f8f4e-9a52-4a8c-9a39-2f6f3a3f8a01 \
    -O ^has_journal -d "$work/files" "$work/disk.raw"
rm -f ./*.qcow2
qemu-img convert -c -f raw -O qcow2 "$work/disk.raw" base.qcow2
qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd,cluster_size=128k "$work/disk.raw" zstd.qcow2
qemu-img convert -c -f raw -O qcow2 -o compat=0.10,cluster_size=4k "$work/disk.raw" old.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2
qemu-io -f qcow2 -c 'write -q -c -P 0x11 24M 4M' -c 'write -q -z -u 30M 1M' mid.qcow2
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2
qemu-io -f qcow2 -c 'write -q -c -P 0x22 26M 4M' -c 'write -q -P 0x33 40M 68k' top.qcow2
ls -l ./*.qcow2
