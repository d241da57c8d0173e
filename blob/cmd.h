/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of stores and volumes, and which stores are loaded without one. */
#ifndef BLOB_CMD_H
#define BLOB_CMD_H

#include "blob/volume.h"
#include "core/cmd.h"

/* ---- module.c ---- */

/* Loads the store of DISK and makes its volumes, or neither. */
int blob_store_start(const char *disk, struct store **out, struct why *why);
/* Ends its volumes and unloads it, or neither. -EBUSY. */
int blob_store_stop(struct store *s, struct why *why);
/* Waits until nobody loads the store of DISK by itself. */
void blob_settled(const char *disk);
/* The store of DISK is loaded whenever the disk comes, and is part of the configuration. */
int blob_want(const char *disk);
void blob_unwant(const char *disk);

/* ---- cmd_store.c ---- */

/* What an operation said, which begins with the object's name; 0 when RC is. */
int store_cmd_refused(struct cmd_ctx *ctx, int rc, const struct why *why);
/* NULL: told, return *RC. */
struct store *store_cmd_find(struct cmd_ctx *ctx, const char *name, int *rc);
void store_complete(struct cmd_complete *c);
int store_cmd_create(struct cmd_ctx *ctx);
int store_cmd_load(struct cmd_ctx *ctx);
int store_cmd_unload(struct cmd_ctx *ctx);
int store_cmd_list(struct cmd_ctx *ctx);
int store_cmd_show(struct cmd_ctx *ctx);
int store_cmd_set(struct cmd_ctx *ctx);
int store_cmd_rename(struct cmd_ctx *ctx);
int store_cmd_check(struct cmd_ctx *ctx);
int store_cmd_grow(struct cmd_ctx *ctx);
int store_cmd_delete(struct cmd_ctx *ctx);

/* ---- cmd_volume.c ---- */

void volume_complete(struct cmd_complete *c);
void volume_complete_snapshot(struct cmd_complete *c);
int volume_cmd_create(struct cmd_ctx *ctx);
int volume_cmd_list(struct cmd_ctx *ctx);
int volume_cmd_show(struct cmd_ctx *ctx);
int volume_cmd_resize(struct cmd_ctx *ctx);
int volume_cmd_rename(struct cmd_ctx *ctx);
int volume_cmd_delete(struct cmd_ctx *ctx);
int volume_cmd_snapshot(struct cmd_ctx *ctx);
int volume_cmd_clone(struct cmd_ctx *ctx);
int volume_cmd_inflate(struct cmd_ctx *ctx);
int volume_cmd_decouple(struct cmd_ctx *ctx);
int volume_cmd_set(struct cmd_ctx *ctx);

#endif
