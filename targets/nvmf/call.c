/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands whose work is reactor 0's, or takes a task: the request goes to reactor 0, a task there
 * does it, and the answer is given where the request lives. The request is in EXEC all the while,
 * so that its queue stays.
 */
#include "core/base/panic.h"
#include "core/task.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvmf.h"

static void call_back(struct msg *msg)
{
	struct nvmf_req *req = container_of(msg, struct nvmf_req, call.msg);

	nvmf_req_done(req, req->call.status);
}

static void call_end(struct nvmf_req *req, uint16_t status)
{
	req->call.status = status;
	reactor_send(reactor_at(req->call.reactor), &req->call.msg, call_back);
}

static void call_task(void *arg)
{
	struct nvmf_req *req = arg;

	call_end(req, req->call.fn(req));
}

static void call_arrive(struct msg *msg)
{
	struct nvmf_req *req = container_of(msg, struct nvmf_req, call.msg);

	if (!task_start("nvmf command", call_task, req))
		call_end(req, NVME_SC_INTERNAL);
}

void nvmf_req_called(struct nvmf_req *req)
{
	panic("nvmf: request %p runs twice", (void *)req);
}

void nvmf_req_call(struct nvmf_req *req, uint16_t (*fn)(struct nvmf_req *req))
{
	req->exec = nvmf_req_called;
	req->call.fn = fn;
	req->call.reactor = reactor_index();
	reactor_send(reactor_at(0), &req->call.msg, call_arrive);
}
