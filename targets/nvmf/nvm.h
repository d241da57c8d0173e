/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the NVM command set share. */
#ifndef NVMF_NVM_H
#define NVMF_NVM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/io.h"
#include "targets/nvmf/req.h"

enum {
	/* longest compare-and-write: NACWU; its two halves share one iov of BUF_IOV_MAX elements */
	NVM_FUSED_BYTES_MAX = 64 * 1024,
	/* Copy: MSRC + 1 ranges, MSSRL, MCL */
	NVM_COPY_RANGES_MAX = 128,
	NVM_COPY_RANGE_BYTES_MAX = 16 * 1024 * 1024,
	NVM_COPY_BYTES_MAX = 64 * 1024 * 1024,
};

/* nvm.c */

/* The namespace of a command that has no range. */
uint16_t nvm_ns_parse(struct nvmf_req *req);
/*
 * As late as can be, on the way to the disk: true when the request must not go there, because its
 * namespace was taken away or a reservation forbids ACCESS (enum resv_access); *status says why.
 */
bool nvm_refused(const struct nvmf_req *req, unsigned access, uint16_t *status);
/* req->io, filled but for done, to the disk. */
void nvm_submit_io(struct nvmf_req *req, void (*done)(struct io *io));

/* nvm_dsm.c */
uint16_t nvm_dsm_parse(struct nvmf_req *req);
void nvm_dsm_exec(struct nvmf_req *req);

/* nvm_copy.c */
uint16_t nvm_copy_parse(struct nvmf_req *req);
void nvm_copy_exec(struct nvmf_req *req);
/* The limits of Copy in blocks of 1 << LBA_SHIFT bytes: MSSRL and MCL. */
uint32_t nvm_copy_range_max(unsigned lba_shift);
uint32_t nvm_copy_total_max(unsigned lba_shift);

/* nvm_flush.c */
uint16_t nvm_flush_parse(struct nvmf_req *req);
void nvm_flush_exec(struct nvmf_req *req);

/* fused.c */
/*
 * A command that is half of a fused pair, or comes while a first half waits for its second: what
 * becomes of STATUS, which parsing has given.
 */
uint16_t nvmf_fused_start(struct nvmf_req *req, uint16_t status);
/* A half that was answered with an error: the other one is not going to run. */
void nvmf_fused_failed(struct nvmf_req *req);
/* Whether REQ is half of a pair that has not begun. */
bool nvmf_fused_half(const struct nvmf_req *req);
/* Whether its pair is at the disk; the io is the first one's. */
bool nvmf_fused_running(const struct nvmf_req *req);
struct nvmf_req *nvmf_fused_first(struct nvmf_req *req);
/* Ends a half with STATUS, and the pair with it. */
void nvmf_fused_end(struct nvmf_req *req, uint16_t status);
/* The connection ends: halves that are held are given back. */
void nvmf_fused_drop(struct nvmf_queue *queue);

/* resv_cmd.c */
uint16_t nvmf_resv_register_parse(struct nvmf_req *req);
void nvmf_resv_register_exec(struct nvmf_req *req);
uint16_t nvmf_resv_acquire_parse(struct nvmf_req *req);
void nvmf_resv_acquire_exec(struct nvmf_req *req);
uint16_t nvmf_resv_release_parse(struct nvmf_req *req);
void nvmf_resv_release_exec(struct nvmf_req *req);
uint16_t nvmf_resv_report_parse(struct nvmf_req *req);
void nvmf_resv_report_exec(struct nvmf_req *req);

#endif
