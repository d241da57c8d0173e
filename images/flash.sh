#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# flash.sh IMAGE DISK FORCE: writes the disk image to a disk, after showing which one it is and asking.
# Refuses a disk that is mounted, used as swap or in a volume, or larger than 1 TiB, unless FORCE is 1.
set -eu -o pipefail
image=$1 disk=$2 force=$3

die() {
	echo "flash: $*" >&2
	exit 1
}

[ -n "$disk" ] || die "say which disk: make flash DISK=/dev/sdX. Disks here:
$(lsblk -d -n -o PATH,SIZE,MODEL,TRAN -e 7,252 2>/dev/null || true)"
disk=$(readlink -f "$disk")
[ -b "$disk" ] || die "$disk: not a block device"
[ "$(lsblk -d -n -o TYPE "$disk" | tr -d ' ')" = disk ] || die "$disk: not a whole disk"
size=$(lsblk -b -d -n -o SIZE "$disk" | tr -d ' ')
[ "$size" -ge "$(stat -c %s "$image")" ] || die "$disk: smaller than $image"

if [ "$force" != 1 ]; then
	used=$(lsblk -n -o MOUNTPOINTS "$disk" | sed '/^ *$/d')
	[ -z "$used" ] || die "$disk is in use: $(tr '\n' ' ' <<<"$used"); unmount it, or add FORCE=1"
	held=$(lsblk -n -o PATH,TYPE "$disk" | awk '$2 != "disk" && $2 != "part"' | head -1)
	[ -z "$held" ] || die "$disk is in use by $held; stop that, or add FORCE=1"
	[ "$size" -le $((1 << 40)) ] || die "$disk has $((size >> 30)) GiB; a boot disk is small. If it is the right one, add FORCE=1"
fi

lsblk -d -o PATH,SIZE,MODEL,SERIAL,TRAN "$disk"
lsblk -n -o PATH,SIZE,FSTYPE,LABEL "$disk" | tail -n +2
read -r -p "Everything on $disk will be lost. Type its name to go on: " answer
[ "$answer" = "$disk" ] || die "nothing was written"

root=()
[ -w "$disk" ] || root=(sudo)
"${root[@]}" dd if="$image" of="$disk" bs=4M conv=fsync status=progress
# The backup of the partition table belongs at the end of the disk, wherever that is.
"${root[@]}" sfdisk --relocate gpt-bak-std "$disk" >/dev/null
"${root[@]}" cmp -n $(($(stat -c %s "$image") - 2097152)) -i 1048576 "$image" "$disk" && echo "flash: $disk is written and read back"
