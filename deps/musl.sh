# SPDX-License-Identifier: BSD-3-Clause
#
# Built for any x86-64, so that PID 1 can still say that a processor is too old.
# musl with its gcc wrapper, and beside it the kernel's headers, which musl does not bring. They are the system's, as in
# the host flavour, so that both flavours know the same kernel interfaces. sys/queue.h (BSD licence) is for DPDK.
./configure --prefix="$PREFIX" --syslibdir="$PREFIX/lib" --disable-shared --enable-wrapper=gcc \
	CFLAGS="-O2 -g0 -fno-omit-frame-pointer -ffile-prefix-map=$SRC=musl"
make -j"$JOBS"
make install
cp -r /usr/include/linux /usr/include/asm-generic "$PREFIX/include/"
cp -r /usr/include/mtd /usr/include/rdma "$PREFIX/include/"
cp -rL /usr/include/x86_64-linux-gnu/asm "$PREFIX/include/asm"
cp /usr/include/x86_64-linux-gnu/sys/queue.h "$PREFIX/include/sys/"
