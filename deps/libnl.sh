# SPDX-License-Identifier: BSD-3-Clause
#
# Only the library, static; PIC because rdma-core also links shared libraries with it.
./configure --host=x86_64-linux-musl CC="$MUSL/bin/musl-gcc" --prefix="$PREFIX" --disable-shared --enable-static \
	--with-pic --disable-cli --disable-debug \
	CFLAGS="-O2 -g0 -march=x86-64-v2 -ffunction-sections -fdata-sections -ffile-prefix-map=$SRC=libnl"
make -j"$JOBS"
make install
rm -rf "$PREFIX/share" "$PREFIX/etc"
