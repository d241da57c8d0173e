/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the table of the commands for stores and volumes, and their arguments. */
#include "blob/cmd.h"

#include "blob/module.h"

#define ARG_STORE { \
	"NAME", CMD_NAME, .required = true, .help = "name of the store", \
	.complete = store_complete, \
}
#define ARG_VOLUME { \
	"VOLUME", CMD_NAME, .required = true, .help = "volume, as STORE/NAME", \
	.complete = volume_complete, \
}
#define ARG_NEW(what) { "NEW", CMD_NAME, .required = true, .help = what }
#define ARG_DISK(what) { \
	"disk", CMD_NAME, .keyed = true, .required = true, .help = what, \
	.complete = cmd_complete_disk, \
}

static const struct cmd_arg store_create_args[] = {
	{ "NAME", CMD_NAME, .required = true,
	  .help = "its name: at most 63 letters, digits, - _ ." },
	ARG_DISK("disk to turn into volumes"),
	{ "cluster", CMD_SIZE, .keyed = true, .min = 65536, .max = 1ULL << 30,
	  .help = "unit in which space is given out: 64K … 1G, a power of two; 4M" },
	{ "force", CMD_FLAG, .help = "over whatever the disk holds" },
	{ 0 },
};

static const struct cmd_arg store_load_args[] = { ARG_DISK("disk that holds a store"), { 0 } };

static const struct cmd_arg store_args[] = { ARG_STORE, { 0 } };

static const struct cmd_arg store_check_args[] = {
	ARG_STORE,
	{ "repair", CMD_FLAG, .help = "mend what can be mended" },
	{ 0 },
};

static const struct cmd_arg store_rename_args[] = { ARG_STORE, ARG_NEW("its new name"), { 0 } };

static const struct cmd_arg store_set_args[] = {
	ARG_STORE,
	{ "warn", CMD_U64, .keyed = true, .max = 100,
	  .help = "percent of the clusters in use at which to warn; 0: never" },
	{ "critical", CMD_U64, .keyed = true, .max = 100,
	  .help = "percent at which to warn again; 0: never" },
	{ 0 },
};

static const struct cmd_arg volume_create_args[] = {
	{ "VOLUME", CMD_NAME, .required = true, .help = "its name, as STORE/NAME",
	  .complete = store_complete },
	{ "size", CMD_SIZE, .keyed = true, .min = 1, .max = 1ULL << 50,
	  .help = "capacity; rounded up to clusters" },
	{ "uuid", CMD_UUID, .keyed = true, .help = "UUID that hosts see; a new one" },
	{ "base", CMD_NAME, .keyed = true, .complete = cmd_complete_disk,
	  .help = "disk that is read where nothing has been written; gives the size" },
	{ "thin", CMD_FLAG, .help = "space is taken when it is written" },
	{ 0 },
};

static const struct cmd_arg volume_list_args[] = {
	{ "STORE", CMD_NAME, .help = "those of this store only", .complete = store_complete },
	{ 0 },
};

static const struct cmd_arg volume_args[] = { ARG_VOLUME, { 0 } };

static const struct cmd_arg volume_resize_args[] = {
	ARG_VOLUME,
	{ "size", CMD_SIZE, .keyed = true, .required = true, .min = 1, .max = 1ULL << 50,
	  .help = "its new capacity; rounded up to clusters" },
	{ "force", CMD_FLAG, .help = "also when it shrinks" },
	{ 0 },
};

static const struct cmd_arg volume_rename_args[] = {
	ARG_VOLUME, ARG_NEW("its new name, without the store's"), { 0 }
};

static const struct cmd_arg volume_snapshot_args[] = {
	ARG_VOLUME, ARG_NEW("name of the snapshot"), { 0 }
};

static const struct cmd_arg volume_clone_args[] = {
	{ "SNAPSHOT", CMD_NAME, .required = true, .help = "snapshot, as STORE/NAME",
	  .complete = volume_complete_snapshot },
	ARG_NEW("name of the clone"),
	{ 0 },
};

static const struct cmd_arg volume_set_args[] = {
	ARG_VOLUME,
	{ "readonly", CMD_BOOL, .keyed = true, .help = "whether it refuses writes" },
	{ "parent", CMD_NAME, .keyed = true, .complete = volume_complete_snapshot,
	  .help = "snapshot with the same contents, to share clusters with" },
	{ 0 },
};

const struct cmd blob_cmds[] = {
	{ "store", "create", "Turn a disk into a store of volumes", store_create_args,
	  store_cmd_create },
	{ "store", "load", "Bring up the store of a disk", store_load_args, store_cmd_load },
	{ "store", "unload", "End a store in order; its disk is free", store_args,
	  store_cmd_unload },
	{ "store", "list", "All stores: space, volumes, state", NULL, store_cmd_list, CMD_RESCUE },
	{ "store", "show", "One store in detail", store_args, store_cmd_show, CMD_RESCUE },
	{ "store", "set", "Set when a store warns that it fills up", store_set_args,
	  store_cmd_set },
	{ "store", "rename", "Give a store another name", store_rename_args, store_cmd_rename },
	{ "store", "check", "Compare all of a store's metadata; mend it", store_check_args,
	  store_cmd_check },
	{ "store", "grow", "Take in what its disk has grown by", store_args, store_cmd_grow },
	{ "store", "delete", "End a store with all its volumes", store_args, store_cmd_delete,
	  CMD_DESTRUCTIVE },
	{ "volume", "create", "Make a volume", volume_create_args, volume_cmd_create },
	{ "volume", "list", "All volumes: size, space taken, kind, state", volume_list_args,
	  volume_cmd_list, CMD_RESCUE },
	{ "volume", "show", "One volume in detail", volume_args, volume_cmd_show, CMD_RESCUE },
	{ "volume", "resize", "Grow or shrink a volume, also in use", volume_resize_args,
	  volume_cmd_resize },
	{ "volume", "rename", "Give a volume another name", volume_rename_args,
	  volume_cmd_rename },
	{ "volume", "delete", "Delete a volume or snapshot", volume_args, volume_cmd_delete,
	  CMD_DESTRUCTIVE },
	{ "volume", "snapshot", "Keep a volume as it is", volume_snapshot_args,
	  volume_cmd_snapshot },
	{ "volume", "clone", "Make a volume that begins as a snapshot", volume_clone_args,
	  volume_cmd_clone },
	{ "volume", "inflate", "Give a volume all its clusters, and no parent", volume_args,
	  volume_cmd_inflate },
	{ "volume", "decouple", "Copy what a volume has of its parent", volume_args,
	  volume_cmd_decouple },
	{ "volume", "set", "Change what a volume is", volume_set_args, volume_cmd_set },
	{ 0 },
};
