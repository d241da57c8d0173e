# SPDX-License-Identifier: BSD-3-Clause
#
# Hugepages, VFIO, PCI, and the poll-mode drivers of NICs. Debian 12 follows the 22.11 LTS series.
$(call dep,dpdk,source,dpdk,dpdk_22.11.11.orig.tar.xz,27a3bb1f57e02eb68c7c0a6f8bbf9fb74ec198c5aab74ed602da5b71c492a476,dpdk_22\.11\.[0-9]+\.orig\.tar\.xz,musl)
