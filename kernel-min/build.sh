#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# build.sh CACHE DEB BZIMAGE FRAGMENT…: builds Linux from Debian's linux-source package with the options of the
# fragments and nothing else (allnoconfig), or finds it in CACHE. Later fragments win. Every line of a fragment has
# to be in the resulting configuration, else the build fails and says which is not: an option that was renamed or
# lacks what it depends on must not get lost silently.
set -eu -o pipefail
cache=$1 deb=$2 image=$3
shift 3
key=$({
	sha256sum <"$deb"
	cat kernel-min/build.sh "$@"
	gcc -dumpfullversion
	ld --version
} | sha256sum | cut -c1-16)
mkdir -p "$cache" "$(dirname "$image")"
cache=$(cd "$cache" && pwd -P)
built=$cache/linux-$key

install_image() {
	cp "$built/config" "$image.config"
	cp "$built/bzImage" "$image.new"
	mv "$image.new" "$image"
	touch "$built"
}

exec 9>"$built.lock"
flock 9
if [ -e "$built/.complete" ]; then
	install_image
	exit 0
fi
printf '  %-8s %s\n' BUILD "linux (once; log: $built.log)"
started=$SECONDS
rm -rf "$built"
mkdir -p "$built"
work=$(mktemp -d "$cache/.linux.XXXXXX")
trap 'rm -rf "$work"' EXIT
src=$work/linux

# The fragments as one, the last word on each option winning.
awk '/^(# )?CONFIG_/ { name = $0; sub(/^# /, "", name); sub(/[ =].*/, "", name); if (!(name in text)) order[++n] = name; text[name] = $0 }
	END { for (i = 1; i <= n; i++) print text[order[i]] }' "$@" >"$work/wanted"

unpack() {
	mkdir "$src"
	# What a 64-bit x86 machine without displays, sound, cameras and radios never compiles stays packed, but for the
	# Kconfig files and makefiles.
	dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/src/linux-source-6.12.tar.xz | xz -dc -T2 | tar -x -C "$src" \
		--strip-components=1 --no-same-owner --wildcards --wildcards-match-slash \
		--exclude='*/arch/[!x]*/*.[chS]' --exclude='*/arch/*/boot/dts/*' --exclude='*/Documentation/*.rst' \
		--exclude='*/Documentation/*.[ys]*' --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' \
		--exclude='*/sound/*.[ch]' --exclude='*/drivers/staging/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
		--exclude='*/drivers/iio/*.[ch]' --exclude='*/tools/testing/*' --exclude='*/tools/perf/*' \
		--exclude='*/fs/xfs/*.[ch]' --exclude='*/fs/btrfs/*.[ch]' --exclude='*/fs/bcachefs/*.[ch]' \
		--exclude='*/drivers/video/fbdev/*.c'
}

build() {
	set -e
	unpack
	cd "$src"
	# Nothing of the build folder, the user or the clock gets into the image.
	export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_USER=karst KBUILD_BUILD_HOST=karst
	export KBUILD_BUILD_VERSION=1
	unset MAKEFLAGS MAKELEVEL MFLAGS KCONFIG_CONFIG srctree V O SOURCE_DATE_EPOCH
	make -s KCONFIG_ALLCONFIG="$work/wanted" allnoconfig
	check "$work/wanted" .config
	make -j"$(nproc)" bzImage
	cp arch/x86/boot/bzImage .config "$built/"
	mv "$built/.config" "$built/config"
}

check() {
	local line name lost=0
	while read -r line; do
		name=${line#\# }
		name=${name%%[ =]*}
		case $line in
		"#"*) ! grep -q "^$name=" "$2" && continue ;;
		*) grep -qxF -- "$line" "$2" && continue ;;
		esac
		echo "kernel-min: asked for '$line', got '$(grep -E "^(# )?$name[ =]" "$2" || echo "no such option, or what it depends on is missing")'"
		lost=1
	done <"$1"
	return $lost
}

set +e
(build) >"$built.log" 2>&1 </dev/null
rc=$?
set -e
if [ $rc != 0 ]; then
	grep '^kernel-min:' "$built.log" >&2 || tail -n 40 "$built.log" >&2
	echo "kernel-min: building Linux failed; the whole log is $built.log" >&2
	exit 1
fi
touch "$built/.complete"
printf '  %-8s %s\n' BUILT "linux in $((SECONDS - started)) s"
install_image
