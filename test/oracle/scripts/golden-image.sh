#!/bin/sh
# One golden image, and an overlay for each virtual machine: made, used, merged, moved to a new golden image, and thrown away.
#
#   golden-image.sh FOLDER MACHINES
set -eu

cd "$1"
machines=$2

size_of() {
    qemu-img info --output=json "$1" | sed -n 's/^ *"virtual-size": \([0-9]*\).*/\1/p'
}

quiet_io() {
    qemu-io "$@" | sed 's/; .*//'
}

echo "== the golden image"
qemu-img create -f raw golden.raw 8M
quiet_io -f raw -c 'write -P 1 0 1M' -c 'write -P 2 4M 512k' golden.raw
qemu-img convert -p -f raw -O qcow2 -o lazy_refcounts=on golden.raw golden-1.qcow2 | tr '\r' '\n' | tail -n 1
rm golden.raw
chmod a-w golden-1.qcow2

echo "== $machines machines"
i=1
while [ "$i" -le "$machines" ]; do
    qemu-img create -f qcow2 -b golden-1.qcow2 -F qcow2 "vm$i.qcow2"
    quiet_io -f qcow2 -c "write -P $((i + 10)) ${i}00k 100k" -c 'read -P 2 4M 4k' "vm$i.qcow2"
    i=$((i + 1))
done
for vm in vm*.qcow2; do
    echo "$vm $(size_of "$vm") $(qemu-img info "$vm" | grep '^backing file:')"
done

echo "== one grows"
qemu-img resize vm1.qcow2 +4M
quiet_io -f qcow2 -c 'write -P 99 9M 64k' -c 'read -P 0 10M 64k' vm1.qcow2
qemu-img map --output=json vm1.qcow2 | sed 's/, "offset": [0-9]*//'

echo "== a new golden image, from the second machine"
qemu-img convert -O qcow2 vm2.qcow2 golden-2.qcow2
for vm in vm*.qcow2; do
    qemu-img convert -O raw "$vm" before.raw
    qemu-img rebase -b golden-2.qcow2 -F qcow2 "$vm"
    qemu-img compare -F raw "$vm" before.raw
    qemu-img info --backing-chain "$vm" | grep -E '^(image|backing file|virtual size)'
    rm before.raw
done

echo "== the third is merged, the fourth stands alone"
qemu-img create -q -f qcow2 -b vm3.qcow2 -F qcow2 vm3-top.qcow2
quiet_io -f qcow2 -c 'write -P 77 6M 128k' vm3-top.qcow2
qemu-img commit vm3-top.qcow2
qemu-img commit -d -b vm3.qcow2 vm3-top.qcow2
quiet_io -f qcow2 -c 'read -P 77 6M 128k' vm3.qcow2
rm vm3-top.qcow2
qemu-img rebase -b '' vm4.qcow2
qemu-img info vm4.qcow2 | grep -c '^backing' || echo 'no backing file'

echo "== moved"
mkdir images
mv golden-2.qcow2 images/
qemu-img info --backing-chain vm1.qcow2 || echo "exit code $?"
for vm in vm1 vm2 vm3; do
    qemu-img rebase -u -b images/golden-2.qcow2 -F qcow2 "$vm.qcow2"
    qemu-img check -q "$vm.qcow2"
done
quiet_io -r -f qcow2 -c 'read -P 2 4M 4k' vm1.qcow2

echo "== mistakes"
qemu-img create -f qcow2 -b images/golden-2.qcow2 bad.qcow2 || echo "exit code $?"
qemu-img create -f qcow2 -b gone.qcow2 -F qcow2 bad.qcow2 || echo "exit code $?"
qemu-img rebase -b gone.qcow2 -F qcow2 vm1.qcow2 || echo "exit code $?"
qemu-img commit golden-1.qcow2 || echo "exit code $?"
qemu-img resize vm1.qcow2 1M || echo "exit code $?"
qemu-io -f qcow2 -c 'read -P 5 0 4k' vm1.qcow2 | sed 's/; .*//'
