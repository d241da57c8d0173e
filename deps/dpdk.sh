# SPDX-License-Identifier: BSD-3-Clause
#
# EAL, rte_vhost, and the poll-mode drivers of the NICs that Karst takes over from the kernel.
# The driver SDK headers are for PCI drivers of our own; libraries that nothing here uses are left out.
cat >"$SRC/musl.ini" <<END
[binaries]
c = '$MUSL/bin/musl-gcc'
ar = 'gcc-ar'
strip = 'strip'
pkgconfig = 'pkg-config'
[properties]
skip_sanity_check = true
END
# A static program has no plug-ins: it does not look for them where it was built, nor carry that path in it.
grep -q "set_quoted('RTE_EAL_PMD_PATH', eal_pmd_path)" config/meson.build
sed -i "s/set_quoted('RTE_EAL_PMD_PATH', eal_pmd_path)/set_quoted('RTE_EAL_PMD_PATH', '')/" config/meson.build
export PKG_CONFIG_LIBDIR=$PREFIX/lib/pkgconfig
drivers=bus/pci,bus/vdev,mempool/ring,net/e1000,net/igc,net/ixgbe,net/i40e,net/iavf,net/ice,net/virtio,net/vmxnet3
drivers+=,net/ring,net/null,common/iavf
unused=bitratestats,cfgfile,flow_classify,gpudev,graph,gro,gso,jobstats,kni,latencystats,metrics,node,pdump,pipeline
unused+=,port,power,table
meson setup "$SRC/build" "$SRC" --native-file "$SRC/musl.ini" --prefix="$PREFIX" --libdir=lib --default-library=static \
	--buildtype=release -Dplatform=generic -Dcpu_instruction_set=x86-64-v2 -Dtests=false -Denable_kmods=false \
	"-Ddisable_apps=*" -Denable_driver_sdk=true -Dmax_numa_nodes=1 -Denable_drivers=$drivers \
	-Ddisable_libs=$unused \
	"-Dc_args=-ffunction-sections -fdata-sections -fno-omit-frame-pointer -ffile-prefix-map=$SRC/= -ffile-prefix-map=../="
ninja -C "$SRC/build" -j"$JOBS"
ninja -C "$SRC/build" install
rm -rf "$PREFIX/share" "$PREFIX/bin" "$PREFIX"/lib/*.so* "$PREFIX"/lib/dpdk
