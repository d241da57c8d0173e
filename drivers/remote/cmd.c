/* SPDX-License-Identifier: BSD-3-Clause */
/* Console commands of remote controllers, and the configuration that makes them again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"
#include "drivers/remote/module.h"
#include "drivers/remote/remote.h"

enum {
	RECONNECT_US = 2 * 1000 * 1000,
	LOSS_US = 600 * 1000 * 1000,
	DISK_SUFFIX = 12,               /* of a disk's name: n4294967295 */
};

static const struct remote_transport *transports[] = { &remote_tcp, NULL };
const char *const remote_transport_names[] = { "tcp", "rdma", NULL };
static const char *const policies[] = { "round-robin", "queue-depth", NULL };

void remote_rdma_offer(const struct remote_transport *rdma)
{
	transports[1] = rdma;
}

int remote_transport_given(struct cmd_ctx *ctx, const struct remote_transport **transport)
{
	uint64_t index = cmd_u64(ctx, "transport", 0);

	*transport = transports[index];
	return *transport ? 0 : cmd_fail(ctx, -EPROTONOSUPPORT, "transport %s: is not built into "
					 "this firmware", remote_transport_names[index]);
}

/* ---- attach, detach ---- */

static int attach(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name"), *nqn = cmd_str(ctx, "nqn");
	const char *hostnqn = cmd_str(ctx, "hostnqn");
	struct remote_options opt = {
		.addr = *cmd_addr(ctx, "address"),
		.hostnqn_given = hostnqn,
		.hdgst = cmd_u64(ctx, "hdgst", 0),
		.ddgst = cmd_u64(ctx, "ddgst", 0),
		.queues = cmd_u64(ctx, "queues", 0),
		.depth = cmd_u64(ctx, "depth", 0),
		.reconnect_us = cmd_u64(ctx, "reconnect", RECONNECT_US),
		.loss_us = cmd_u64(ctx, "loss-timeout", LOSS_US),
		.fast_fail_us = cmd_u64(ctx, "fast-fail", 0),
		.policy = cmd_u64(ctx, "policy", REMOTE_ROUND_ROBIN),
	};
	char why[REMOTE_WHY_BYTES];
	int rc = remote_transport_given(ctx, &opt.transport);

	if (rc < 0)
		return rc;
	if (strlen(name) >= REMOTE_NAME_BYTES || strpbrk(name, "/:"))
		return cmd_fail(ctx, -EINVAL, "remote %s: no such name for a controller; use at "
				"most %d letters, digits, - _ .", name, REMOTE_NAME_BYTES - 1);
	if ((opt.hdgst || opt.ddgst) && opt.transport != &remote_tcp)
		return cmd_fail(ctx, -EINVAL, "remote %s: digests are TCP's; leave hdgst and ddgst "
				"out with transport=%s", name, opt.transport->name);
	if (!hostnqn)
		hostnqn = remote_hostnqn();
	opt.addr.port = cmd_u64(ctx, "port", NVMF_PORT);
	snprintf(opt.name, sizeof(opt.name), "%s", name);
	snprintf(opt.nqn, sizeof(opt.nqn), "%s", nqn);
	snprintf(opt.hostnqn, sizeof(opt.hostnqn), "%s", hostnqn);
	/* at boot the target may come later than we do */
	rc = remote_ctrl_attach(&opt, cmd_at_boot(ctx), why);
	if (rc == -EEXIST && !why[0])
		return cmd_fail(ctx, rc, "remote %s: exists already; choose another name", name);
	if (rc < 0)
		return cmd_fail(ctx, rc, "remote %s: %s; see remote discover", name,
				why[0] ? why : strerror(-rc));
	return 0;
}

static struct remote_ctrl *ctrl_named(struct cmd_ctx *ctx, int *rc)
{
	struct remote_ctrl *c = remote_ctrl_find(cmd_str(ctx, "name"));

	if (!c)
		*rc = cmd_fail(ctx, -ENOENT, "remote %s: there is none of that name; see remote "
			       "list", cmd_str(ctx, "name"));
	return c;
}

static int detach(struct cmd_ctx *ctx)
{
	const struct remote_path *path;
	struct remote_ctrl *c;
	int rc = 0;

	c = ctrl_named(ctx, &rc);
	if (!c)
		return rc;
	list_for_each(path, &c->paths, link) {
		const struct bdev *bdev = &path->disk->bdev;
		const struct bdev_user *user;

		user = list_first_entry(&bdev->users, struct bdev_user, link);
		if (user && remote_disk_paths(path->disk) == 1)
			return cmd_fail(ctx, -EBUSY, "disk %s: is in use by %s; remove that "
					"first", bdev->name, user->who);
	}
	remote_ctrl_detach(c);
	return 0;
}

/* ---- list, show ---- */

static int list(struct cmd_ctx *ctx)
{
	struct remote_ctrl *c = NULL;

	while ((c = remote_ctrl_next(c))) {
		char addr[ADDR_TEXT_BYTES];

		addr_format_port(&c->opt.addr, addr);
		cmd_row(ctx);
		cmd_col(ctx, "name", "%s", c->opt.name);
		cmd_col(ctx, "state", "%s", remote_ctrl_state_name(c));
		cmd_col(ctx, "transport", "%s", c->opt.transport->name);
		cmd_col(ctx, "address", "%s", addr);
		cmd_col(ctx, "nqn", "%s", c->opt.nqn);
		cmd_col_u64(ctx, "queues", c->queue_live);
		cmd_col_u64(ctx, "paths", c->path_count);
		cmd_col_u64(ctx, "reconnects", c->reconnects);
		cmd_col(ctx, "reason", "%s", c->why);
	}
	return 0;
}

static const char *ana_name(uint8_t ana)
{
	switch (ana) {
	case REMOTE_ANA_OPTIMIZED:
		return "optimized";
	case REMOTE_ANA_NON_OPTIMIZED:
		return "non-optimized";
	case REMOTE_ANA_INACCESSIBLE:
		return "inaccessible";
	case REMOTE_ANA_LOSS:
		return "lost";
	default:
		return "changing";
	}
}

/* The figures of all reactors; they go on counting meanwhile. */
static void path_row(struct cmd_ctx *ctx, const struct remote_path *path)
{
	const struct remote_ctrl *c = path->ctrl;
	struct remote_route sum = { 0 };

	for (unsigned r = 0; r < reactor_count(); r++) {
		const struct bdev_chan *chan = path->disk->bdev.chan[r];
		const struct remote_route *route;

		if (!chan)
			continue;
		route = &((const struct remote_chan *)chan->priv)->routes[path->index];
		sum.ios += route->ios;
		sum.errors += route->errors;
		sum.lost += route->lost;
		sum.inflight += route->inflight;
		sum.latency_us += route->latency_us;
	}
	cmd_row(ctx);
	cmd_col(ctx, "disk", "%s", path->disk->bdev.name);
	cmd_col(ctx, "path", "%s", c->opt.name);
	cmd_col(ctx, "state", "%s", remote_ctrl_state_name(c));
	cmd_col(ctx, "ana", "%s", ana_name(path->ana));
	cmd_col_u64(ctx, "nsid", path->nsid);
	cmd_col_u64(ctx, "ios", sum.ios);
	cmd_col_u64(ctx, "errors", sum.errors);
	cmd_col_u64(ctx, "lost", sum.lost);
	cmd_col_u64(ctx, "inflight", sum.inflight);
	cmd_col_time(ctx, "latency", sum.ios ? sum.latency_us * 1000 / sum.ios : 0);
	cmd_col_u64(ctx, "reconnects", c->reconnects);
}

static int show(struct cmd_ctx *ctx)
{
	const struct remote_disk *d = NULL;
	struct remote_ctrl *only = NULL;
	int rc = 0;

	if (cmd_has(ctx, "name")) {
		only = ctrl_named(ctx, &rc);
		if (!only)
			return rc;
	}
	while ((d = remote_disk_next(d)))
		for (unsigned i = 0; i < REMOTE_PATHS_MAX; i++)
			if (d->paths[i] && (!only || d->paths[i]->ctrl == only))
				path_row(ctx, d->paths[i]);
	return 0;
}

/* ---- configuration ---- */

static void time_word(char *text, size_t bytes, const char *key, uint64_t us, uint64_t dflt)
{
	text[0] = '\0';
	if (us != dflt)
		snprintf(text, bytes, " %s=%" PRIu64 "us", key, us);
}

static void number_word(char *text, size_t bytes, const char *key, uint64_t n, uint64_t dflt)
{
	text[0] = '\0';
	if (n != dflt)
		snprintf(text, bytes, " %s=%" PRIu64, key, n);
}

void remote_config(struct config_out *out)
{
	const struct remote_ctrl *c = NULL;

	while ((c = remote_ctrl_next(c))) {
		const struct remote_options *o = &c->opt;
		char addr[ADDR_TEXT_BYTES], port[32], queues[32], depth[32];
		char reconnect[48], loss[48], fail[48];

		addr_format(&o->addr, addr);
		number_word(port, sizeof(port), "port", o->addr.port, NVMF_PORT);
		number_word(queues, sizeof(queues), "queues", o->queues, 0);
		number_word(depth, sizeof(depth), "depth", o->depth, 0);
		time_word(reconnect, sizeof(reconnect), "reconnect", o->reconnect_us,
			  RECONNECT_US);
		time_word(loss, sizeof(loss), "loss-timeout", o->loss_us, LOSS_US);
		time_word(fail, sizeof(fail), "fast-fail", o->fast_fail_us, 0);
		config_line(out, "disk attach remote %s transport=%s address=%s%s nqn=%s%s%s%s"
			    "%s%s%s%s%s%s%s", o->name, o->transport->name, addr, port, o->nqn,
			    o->hostnqn_given ? " hostnqn=" : "",
			    o->hostnqn_given ? o->hostnqn : "", o->hdgst ? " hdgst" : "",
			    o->ddgst ? " ddgst" : "", queues, depth, reconnect, loss, fail,
			    o->policy == REMOTE_QUEUE_DEPTH ? " policy=queue-depth" : "");
	}
}

/* ---- table ---- */

static void complete_ctrl(struct cmd_complete *complete)
{
	struct remote_ctrl *c = NULL;

	while ((c = remote_ctrl_next(c)))
		cmd_offer(complete, c->opt.name);
}

static const struct cmd_arg attach_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true,
	  .help = "name for it; its disks are NAMEn1, NAMEn2, …" },
	{ .name = "transport", .type = CMD_CHOICE, .keyed = true, .required = true,
	  .choices = remote_transport_names, .help = "how it is reached" },
	{ .name = "address", .type = CMD_ADDR, .keyed = true, .required = true,
	  .help = "IP address of the target" },
	{ .name = "port", .type = CMD_U64, .keyed = true, .min = 1, .max = 65535,
	  .help = "4420 when left out" },
	{ .name = "nqn", .type = CMD_NAME, .keyed = true, .required = true,
	  .help = "the subsystem; see remote discover" },
	{ .name = "hostnqn", .type = CMD_NAME, .keyed = true,
	  .help = "our name; made from the machine's when left out" },
	{ .name = "hdgst", .type = CMD_FLAG, .help = "digests over headers" },
	{ .name = "ddgst", .type = CMD_FLAG, .help = "digests over data" },
	{ .name = "queues", .type = CMD_U64, .keyed = true, .min = 1, .max = REACTOR_MAX,
	  .help = "I/O connections; one for each reactor when left out" },
	{ .name = "depth", .type = CMD_U64, .keyed = true, .min = 2, .max = REMOTE_DEPTH_MAX,
	  .help = "entries of each queue" },
	{ .name = "reconnect", .type = CMD_TIME, .keyed = true, .min = 1000, .max = 3600000000,
	  .help = "pause before connecting again, it grows to 10s; 2s when left out" },
	{ .name = "loss-timeout", .type = CMD_TIME, .keyed = true, .min = 1000,
	  .max = 86400000000, .help = "time without a connection until it is given up; 600s" },
	{ .name = "fast-fail", .type = CMD_TIME, .keyed = true, .min = 1000, .max = 86400000000,
	  .help = "time without a connection until io fail; when left out, loss-timeout" },
	{ .name = "policy", .type = CMD_CHOICE, .keyed = true, .choices = policies,
	  .help = "how io spread over several paths" },
	{ 0 },
};

static const struct cmd_arg ctrl_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true, .help = "a remote controller",
	  .complete = complete_ctrl },
	{ 0 },
};

static const struct cmd_arg show_args[] = {
	{ .name = "name", .type = CMD_NAME, .help = "only the paths of this controller",
	  .complete = complete_ctrl },
	{ 0 },
};

static const struct cmd_arg discover_args[] = {
	{ .name = "address", .type = CMD_ADDR, .required = true,
	  .help = "IP address of the target" },
	{ .name = "transport", .type = CMD_CHOICE, .keyed = true,
	  .choices = remote_transport_names, .help = "tcp when left out" },
	{ .name = "port", .type = CMD_U64, .keyed = true, .min = 1, .max = 65535,
	  .help = "4420 when left out" },
	{ .name = "hostnqn", .type = CMD_NAME, .keyed = true,
	  .help = "our name; made from the machine's when left out" },
	{ 0 },
};

const struct cmd remote_cmds[] = {
	{ "disk", "attach remote", "connect to a remote NVMe subsystem and use its namespaces",
	  attach_args, attach },
	{ "disk", "detach remote", "let a remote controller go", ctrl_args, detach },
	{ "remote", "list", "remote controllers", NULL, list },
	{ "remote", "show", "paths to remote namespaces, with figures", show_args, show },
	{ "remote", "discover", "what a target offers", discover_args, remote_cmd_discover },
	{ 0 },
};
