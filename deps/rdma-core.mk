# SPDX-License-Identifier: BSD-3-Clause
#
# Verbs and the RDMA connection manager, with the providers linked statically.
$(call dep,rdma-core,source,rdma-core,rdma-core_56.1.orig.tar.gz,63ce7f2baa7242c2dbc76375dac957c420187dd27f8c5e148efc07971ee522a8,rdma-core_5[6-9]\.[0-9.]+\.orig\.tar\.gz,musl libnl)
