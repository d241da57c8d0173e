/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Task management (SAM-5 7). A function visits every reactor in a task of that reactor: there it
 * marks the tasks that it means, all at once, aborts what they have at the disk, and waits until
 * the last of them has been answered. Commands that arrive meanwhile are not its business.
 */
#include "targets/scsi/scsi.h"

#include <errno.h>

enum tmf_which { TMF_TAG, TMF_TRANSFERS, TMF_ALL };

struct tmf_visit {
	struct scsi_lu *lu;
	enum tmf_which which;
	uint64_t tag;
	enum scsi_outcome outcome;      /* OK: only count */
	atomic_uint found;
};

static bool tmf_means(const struct tmf_visit *visit, const struct scsi_task *task)
{
	switch (visit->which) {
	case TMF_TAG:
		return task->tag == visit->tag;
	case TMF_TRANSFERS:
		return task->cmd && (task->cmd->flags & SCSI_CMD_MEDIUM);
	case TMF_ALL:
		break;
	}
	return true;
}

static void tmf_mark(struct tmf_visit *visit, struct scsi_lu_chan *chan)
{
	struct scsi_task *task;

	list_for_each(task, &chan->tasks, link) {
		if (task->kill || !tmf_means(visit, task))
			continue;
		task->kill = (uint8_t)visit->outcome;
		task->abort_asked = false;
		chan->killed++;
		event_clear(&chan->settled);
		atomic_fetch_add(&visit->found, 1);
	}
}

/* The next that is marked and has not been aborted; others may have ended meanwhile. */
static struct scsi_task *tmf_next(const struct scsi_lu_chan *chan)
{
	struct scsi_task *task;

	list_for_each(task, &chan->tasks, link) {
		if (task->kill && !task->abort_asked)
			return task;
	}
	return NULL;
}

/* What TASK waits for comes to an end soon. */
static void tmf_abort(struct scsi_lu *lu, struct scsi_task *task)
{
	struct io abort = { .op = IO_ABORT, .victim = &task->io };

	task->abort_asked = true;
	if (task->io.stage != IO_AT_OWNER)
		task_io(bdev_chan(lu->bdev), &abort);
}

static void tmf_visit(void *arg)
{
	struct tmf_visit *visit = arg;
	struct scsi_lu_chan *chan = &visit->lu->chan[reactor_index()];
	struct scsi_task *task;

	if (visit->outcome == SCSI_OUTCOME_OK) {
		list_for_each(task, &chan->tasks, link) {
			if (tmf_means(visit, task))
				atomic_fetch_add(&visit->found, 1);
		}
		return;
	}
	tmf_mark(visit, chan);
	while ((task = tmf_next(chan)))
		tmf_abort(visit->lu, task);
	while (chan->killed)
		task_wait(&chan->settled);
}

static unsigned tmf_run(struct scsi_lu *lu, enum tmf_which which, uint64_t tag,
			enum scsi_outcome outcome)
{
	struct tmf_visit visit = { .lu = lu, .which = which, .tag = tag, .outcome = outcome };

	task_call_all(tmf_visit, &visit);
	return atomic_load(&visit.found);
}

unsigned scsi_tasks_end(struct scsi_lu *lu, enum scsi_outcome outcome)
{
	return tmf_run(lu, TMF_ALL, 0, outcome);
}

void scsi_transfers_abort(struct scsi_lu *lu)
{
	tmf_run(lu, TMF_TRANSFERS, 0, SCSI_OUTCOME_ABORTED);
}

int scsi_tmf(struct scsi_lu *lu, enum scsi_tmf function, uint64_t tag)
{
	unsigned found;

	switch (function) {
	case SCSI_TMF_ABORT_TASK:
		return (int)tmf_run(lu, TMF_TAG, tag, SCSI_OUTCOME_ABORTED);
	case SCSI_TMF_ABORT_TASK_SET:
	case SCSI_TMF_CLEAR_TASK_SET:
		/* one initiator: its task set is all there is */
		return (int)scsi_tasks_end(lu, SCSI_OUTCOME_ABORTED);
	case SCSI_TMF_LU_RESET:
	case SCSI_TMF_NEXUS_RESET:
		found = scsi_tasks_end(lu, SCSI_OUTCOME_RESET);
		scsi_lu_reset(lu, function == SCSI_TMF_LU_RESET ? SCSI_UA_LU_RESET :
			      SCSI_UA_NEXUS_LOSS);
		return (int)found;
	case SCSI_TMF_QUERY_TASK:
		return (int)tmf_run(lu, TMF_TAG, tag, SCSI_OUTCOME_OK);
	case SCSI_TMF_QUERY_TASK_SET:
		return (int)tmf_run(lu, TMF_ALL, 0, SCSI_OUTCOME_OK);
	case SCSI_TMF_CLEAR_ACA:
		break;
	}
	return -ENOTSUP;
}
