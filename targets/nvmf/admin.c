/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin command sets: one table for I/O controllers, one for discovery controllers. Identify
 * and the log of supported commands are made from them. All admin commands run on reactor 0.
 */
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvmf.h"

static void keep_alive_exec(struct nvmf_req *req)
{
	/* that it came is what counts: ctrl.c looks at queue->commands */
	nvmf_req_done(req, 0);
}

static void async_event_exec(struct nvmf_req *req)
{
	nvmf_event_request(req->queue->ctrl, req);
}

#define CMD_FABRICS { \
	.name = "fabrics", .parse = nvmf_fabrics_parse, .exec = nvmf_fabrics_exec, \
}
#define CMD_IDENTIFY { \
	.name = "identify", .dir = NVMF_DIR_C2H, .flags = NVMF_CMD_READY, \
	.parse = nvmf_identify_parse, .exec = nvmf_identify_exec, \
}
#define CMD_GET_LOG_PAGE { \
	.name = "get log page", .dir = NVMF_DIR_C2H, .flags = NVMF_CMD_READY, \
	.parse = nvmf_log_parse, .exec = nvmf_log_exec, \
}
#define CMD_SET_FEATURES { \
	.name = "set features", .flags = NVMF_CMD_READY, .effects = NVME_EFFECT_CCC, \
	.parse = nvmf_feature_set_parse, .exec = nvmf_feature_set_exec, \
}
#define CMD_GET_FEATURES { \
	.name = "get features", .flags = NVMF_CMD_READY, \
	.parse = nvmf_feature_get_parse, .exec = nvmf_feature_get_exec, \
}
#define CMD_ASYNC_EVENT { \
	.name = "asynchronous event request", .flags = NVMF_CMD_READY, \
	.exec = async_event_exec, \
}
#define CMD_KEEP_ALIVE { \
	.name = "keep alive", .exec = keep_alive_exec, \
}
#define CMD_ABORT { \
	.name = "abort", .flags = NVMF_CMD_READY, .exec = nvmf_abort_exec, \
}

const struct nvmf_cmd nvmf_admin_cmds[256] = {
	[NVME_ADM_GET_LOG_PAGE] = CMD_GET_LOG_PAGE,
	[NVME_ADM_IDENTIFY] = CMD_IDENTIFY,
	[NVME_ADM_ABORT] = CMD_ABORT,
	[NVME_ADM_SET_FEATURES] = CMD_SET_FEATURES,
	[NVME_ADM_GET_FEATURES] = CMD_GET_FEATURES,
	[NVME_ADM_ASYNC_EVENT] = CMD_ASYNC_EVENT,
	[NVME_ADM_KEEP_ALIVE] = CMD_KEEP_ALIVE,
	[NVME_ADM_FABRICS] = CMD_FABRICS,
};

const struct nvmf_cmd nvmf_discovery_cmds[256] = {
	[NVME_ADM_GET_LOG_PAGE] = CMD_GET_LOG_PAGE,
	[NVME_ADM_IDENTIFY] = CMD_IDENTIFY,
	[NVME_ADM_SET_FEATURES] = CMD_SET_FEATURES,
	[NVME_ADM_GET_FEATURES] = CMD_GET_FEATURES,
	[NVME_ADM_ASYNC_EVENT] = CMD_ASYNC_EVENT,
	[NVME_ADM_KEEP_ALIVE] = CMD_KEEP_ALIVE,
	[NVME_ADM_FABRICS] = CMD_FABRICS,
};
