# SPDX-License-Identifier: BSD-3-Clause
#
# Netlink, for rdma-core's address resolution.
$(call dep,libnl,source,libnl3,libnl3_3.7.0.orig.tar.gz,9fe43ccbeeea72c653bdcf8c93332583135cda46a79507bfd0a483bb57f65939,libnl3_3\.[0-9]+\.[0-9]+\.orig\.tar\.gz,musl)
