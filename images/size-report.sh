#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# size-report.sh OUT: what takes how much, against the limits. Fails when one is exceeded.
set -eu -o pipefail
out=$1 images=$1/images failed=0

line() { # name file limit_mib
	local bytes verdict=
	bytes=$(stat -c %s "$2")
	if [ -n "${3:-}" ]; then
		verdict="limit $3 MiB: ok"
		if [ "$bytes" -gt $(($3 << 20)) ]; then
			verdict="limit $3 MiB: TOO LARGE"
			failed=1
		fi
	fi
	printf '%-28s %10d  %6s MiB  %s\n' "$1" "$bytes" "$(awk "BEGIN { printf \"%.2f\", $bytes / 1048576 }")" "$verdict"
}

line "kernel (bzImage)" "$images/bzImage" 6
line "initramfs" "$images/initramfs" 16
line "  karst, stripped" "$images/karst.stripped"
line "  init, stripped" "$images/init.stripped"
line "GRUB, BIOS" "$images/grub-pc.img"
line "GRUB, UEFI" "$images/grub-efi.img"
line "disk image" "$images/disk.img"
printf '%-28s %10d\n' "disk image, on disk" $(($(stat -c %b "$images/disk.img") * 512))
echo
echo "Largest parts of karst:"
nm --size-sort -r -S -t d "$out/karst" | awk 'NR <= 15 { printf "  %9d  %s\n", $2, $4 }'
size "$out/karst"
exit $failed
