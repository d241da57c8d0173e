/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe over Fabrics target: everything between the transports (tcp*.c) and the block devices.
 *
 * Who owns what. Reactor 0 owns the configuration (subsystems, namespaces, hosts, ports) and the
 * associations (controllers, admin queues, the list of a controller's queues). A connection is born
 * on reactor 0, runs its Connect there, and an I/O queue then moves once to the reactor that serves
 * it; admin queues stay. So all of Connect, the admin commands and the console run on one thread,
 * and an I/O queue's requests touch nothing but their own reactor and one immutable snapshot, their
 * controller's view of the namespaces.
 *
 * A request goes through three verbs: the transport decodes a capsule and calls nvmf_req_start; it
 * moves the data that start asked for; nvmf_req_exec runs the command; nvmf_req_done gives the
 * answer to the transport's respond.
 *
 * req.h        commands, requests, queues      ctrl.h      controllers and events
 * subsystem.h  subsystems, namespaces, hosts   listener.h  transports and addresses
 * view.h       what a host may use             ana.h       asymmetric namespace access
 */
#ifndef NVMF_NVMF_H
#define NVMF_NVMF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/spec/nvme.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "core/spec/nvmf.h"
#include "core/stream.h"
#include "core/task.h"
#include "targets/nvmf/ana.h"
#include "targets/nvmf/ctrl.h"
#include "targets/nvmf/listener.h"
#include "targets/nvmf/req.h"
#include "targets/nvmf/subsystem.h"

enum { NVMF_WHY_BYTES = 96 };

struct cmd_ctx;
struct config_out;

/* The whole target. */
struct nvmf_target {
	struct list subsystems;
	struct nvmf_subsystem *discovery;
	struct list transports, ports, referrals;
	uint16_t portid_next;
	uint32_t session_next;
	unsigned ctrl_count, conn_count;
	uint64_t genctr;                /* of the discovery log */
	unsigned reactor_queues[REACTOR_MAX];   /* I/O queues placed on each */
	struct event conn_gone;
};

extern struct nvmf_target nvmf_target;

/* ---- functions, by file ---- */

/* connect.c */
extern const struct nvmf_cmd nvmf_unconnected_cmds[256];
uint16_t nvmf_connect_parse(struct nvmf_req *req);
void nvmf_connect_exec(struct nvmf_req *req);

/* fabrics.c */
uint16_t nvmf_fabrics_parse(struct nvmf_req *req);
void nvmf_fabrics_exec(struct nvmf_req *req);

/* admin.c */
extern const struct nvmf_cmd nvmf_admin_cmds[256];
extern const struct nvmf_cmd nvmf_discovery_cmds[256];

/* identify.c */
/* The version of the firmware, for FR; hosts see its first 8 characters. */
const char *nvmf_firmware_text(void);
uint16_t nvmf_identify_parse(struct nvmf_req *req);
void nvmf_identify_exec(struct nvmf_req *req);

/* feature.c */
uint16_t nvmf_feature_set_parse(struct nvmf_req *req);
void nvmf_feature_set_exec(struct nvmf_req *req);
uint16_t nvmf_feature_get_parse(struct nvmf_req *req);
void nvmf_feature_get_exec(struct nvmf_req *req);
void nvmf_feature_reset(struct nvmf_ctrl *ctrl);
/* Log page 12h. */
void nvmf_feature_log_emit(struct nvmf_req *req);

/* log_page.c */
uint16_t nvmf_log_parse(struct nvmf_req *req);
void nvmf_log_exec(struct nvmf_req *req);
/* First byte that Get Log Page asks for. */
uint64_t nvmf_log_offset(const struct nvmf_req *req);

/* smart.c */
uint16_t nvmf_smart_parse(struct nvmf_req *req);
void nvmf_smart_exec(struct nvmf_req *req);
/* Set Features that changed what the host is warned of: looks, warns, and ends REQ. */
void nvmf_smart_look(struct nvmf_req *req);
/* The drive of NS warns: so do we those who see it. On reactor 0. */
void nvmf_smart_warn(const struct nvmf_ns *ns);

/* nvm.c */
extern const struct nvmf_cmd nvmf_nvm_cmds[256];

/* discovery.c */
int nvmf_discovery_init(void);
/* What hosts may see has changed. */
void nvmf_discovery_changed(void);
/* CTRL, a discovery controller, has connected: it is told of changes from now on. */
void nvmf_discovery_start(struct nvmf_ctrl *ctrl);
uint64_t nvmf_discovery_log_len(const struct nvmf_req *req);
void nvmf_discovery_log_emit(struct nvmf_req *req);

/* referral.c */
struct nvmf_referral {
	struct list link;               /* nvmf_target.referrals */
	uint8_t trtype;                 /* TCP or RDMA, built in or not */
	struct net_addr addr;
};

/* -EEXIST, -EINVAL (not somebody's address), -ENOMEM. */
int nvmf_referral_add(uint8_t trtype, const struct net_addr *addr);
/* -ENOENT. */
int nvmf_referral_remove(uint8_t trtype, const struct net_addr *addr);
void nvmf_referral_clear(void);

static inline const char *nvmf_referral_transport(const struct nvmf_referral *referral)
{
	return referral->trtype == NVMF_TRTYPE_RDMA ? "rdma" : "tcp";
}

#endif
