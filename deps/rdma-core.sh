# SPDX-License-Identifier: BSD-3-Clause
#
# libibverbs and librdmacm with the user-space drivers of common adapters and of soft-RoCE and soft-iWARP, all static.
cat >"$SRC/toolchain.cmake" <<END
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER $MUSL/bin/musl-gcc)
set(CMAKE_FIND_ROOT_PATH $LIBNL)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
END
export PKG_CONFIG_LIBDIR=$LIBNL/lib/pkgconfig PKG_CONFIG_PATH=
cmake -G Ninja -S "$SRC" -B "$SRC/build" -DCMAKE_TOOLCHAIN_FILE="$SRC/toolchain.cmake" -DCMAKE_INSTALL_PREFIX="$PREFIX" \
	-DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_BUILD_TYPE=Release -DENABLE_STATIC=1 -DNO_MAN_PAGES=1 -DNO_PYVERBS=1 \
	-DENABLE_VALGRIND=0 -DIN_PLACE=0 \
	-DCMAKE_C_FLAGS="-O2 -g0 -march=x86-64-v2 -ffunction-sections -fdata-sections -ffile-prefix-map=$SRC=rdma-core"
ninja -C "$SRC/build" -j"$JOBS"
ninja -C "$SRC/build" install
cd "$PREFIX"
rm -rf bin sbin libexec etc share lib/*.so* lib/libibverbs/*.so lib/systemd lib/udev lib/modprobe.d
find . -name '*.so*' -delete
