#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# built.sh NAME CACHE DEPS [OTHER…]: builds the third-party part NAME by deps/NAME.sh, or finds it in CACHE.
#
# DEPS/NAME.src holds the path of its source, DEPS/OTHER are the parts it is built with. The folder in CACHE is named
# by a hash of what decides its contents: source, recipe, patches, compiler, kernel headers, other parts.
# deps/NAME.sh is run with $SRC (unpacked, patched), $PREFIX (where to install) and $OTHER_OTHER (folders of other parts).
set -eu -o pipefail
name=$1 cache=$2 deps=$3
shift 3
tarball=$(<"$deps/$name.src")
patches=$(find deps -path "deps/$name/*.patch" | sort)
key=$({
	sha256sum <"$tarball"
	cat "deps/$name.sh" $patches
	gcc -dumpfullversion
	dpkg-query -W -f '${Package} ${Version}\n' gcc-12 binutils linux-libc-dev 2>/dev/null || ld --version
	for other; do basename "$(readlink -f "$deps/$other")"; done
} | sha256sum | cut -c1-16)
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
built=$cache/$name-$key

link() {
	ln -sfn "$built" "$deps/$name"
}

if [ -e "$built/.complete" ]; then
	link
	exit 0
fi
# Two build folders may want the same part at once: the second waits and finds it done.
exec 9>"$cache/$name-$key.lock"
flock 9
if [ ! -e "$built/.complete" ]; then
	printf '  %-8s %s\n' BUILD "$name (once; log: $built.log)"
	started=$SECONDS
	rm -rf "$built"
	work=$(mktemp -d "$cache/.$name.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	export SRC=$work/src PREFIX=$built JOBS
	JOBS=$(nproc)
	for other; do
		declare -x "$(tr 'a-z-' 'A-Z_' <<<"$other")=$(readlink -f "$deps/$other")"
	done
	recipe=$PWD/deps/$name.sh
	set +e
	(
		set -e
		mkdir -p "$SRC" "$PREFIX"
		tar -xf "$tarball" -C "$SRC" --strip-components=1 --no-same-owner
		for patch in $patches; do patch -d "$SRC" -p1 <"$patch"; done
		cd "$SRC"
		# Nothing of make's own variables reaches the build of another project.
		env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u KCONFIG_CONFIG -u srctree -u V -u O bash -eu -o pipefail "$recipe"
	) >"$built.log" 2>&1 </dev/null
	rc=$?
	set -e
	if [ $rc != 0 ]; then
		tail -n 40 "$built.log" >&2
		echo "deps: building $name failed; the whole log is $built.log" >&2
		exit 1
	fi
	rm -rf "$work"
	trap - EXIT
	touch "$built/.complete"
	printf '  %-8s %s\n' BUILT "$name in $((SECONDS - started)) s"
fi

link
