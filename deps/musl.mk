# SPDX-License-Identifier: BSD-3-Clause
#
# The C library of the firmware: small, static, predictable.
$(call dep,musl,source,musl,musl_1.2.5.orig.tar.gz,a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4,musl_1\.2\.[0-9]+\.orig\.tar\.gz)
