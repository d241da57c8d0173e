#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# esp.sh OUTPUT SIZE_MIB TARGET=FILE…: a FAT file system with each FILE at TARGET, by mtools, without root. Serial
# number, times (SOURCE_DATE_EPOCH) and order are fixed: the same files give the same bytes.
set -eu -o pipefail
output=$1 size_mib=$2
shift 2
export MTOOLS_SKIP_CHECK=1 MTOOLSRC=/dev/null TZ=UTC
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
rm -f "$output"
truncate -s "${size_mib}M" "$output"
mformat -i "$output" -F -c 1 -N 4b415253 -v KARST -T $((size_mib * 2048)) -h 64 -s 32 ::
made=" "
for pair; do
	target=${pair%%=*} folder=
	IFS=/ read -ra parts <<<"$(dirname "$target")"
	for part in "${parts[@]}"; do
		folder+=/$part
		[[ $made == *" $folder "* ]] || mmd -i "$output" "::$folder"
		made+="$folder "
	done
	cp "${pair#*=}" "$stage/file"
	touch -d "@$SOURCE_DATE_EPOCH" "$stage/file"
	mcopy -m -i "$output" "$stage/file" "::/$target"
done
