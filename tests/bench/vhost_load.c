/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load generator over vhost-user: one thread, one device, a fixed depth on each of its queues,
 * polling. What it does depends on nothing but its arguments, so that two runs that differ in their
 * length differ in the device's work by exactly the requests between.
 *
 *   vhost_load SOCKET blk|scsi read|write|verify [NAME=NUMBER]... [WORD]...
 *
 *   bytes=4096     of a request           depth=32   requests in flight on each queue
 *   queues=1       of requests            ms=1000    how long, or count=N: how many requests
 *   span=BYTES     of the disk is used, all of it when not given
 *   sequential     from block to block instead of anywhere
 *   lockstep       the next requests go out when all before are answered
 *   packed         rings of that format   indirect   descriptors in tables of their own
 *   noevent        no event indices       inflight   in-flight memory
 *
 * verify writes and reads: each write has data of its own, each read is compared with the last
 * write of that block. It prints one line, key=value; whatever goes wrong ends it with a message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/spec/scsi.h"
#include "tests/bench/vhost_front.h"

enum {
	QUEUES_MAX = 64,
	SECTOR_BYTES = 512,
	SLOT_BYTES = 192,               /* of a request beside its data */
	REPLY_AT = 64,                  /* of SCSI, in there */
	STATUS_AT = sizeof(struct virtio_blk_header),
	UNANSWERED = 0xee,
	CLOCK_ROUNDS = 256,
	LONG_BYTES = 4096,
};

enum load_op { LOAD_READ, LOAD_WRITE, LOAD_VERIFY };

struct slot {
	uint8_t *request, *data;
	uint64_t block;
	bool write;
};

struct queue {
	struct ring ring;
	struct slot *slot;
	unsigned in_flight;
};

static struct load {
	struct front front;
	bool scsi, sequential, lockstep, packed, indirect, noevent, inflight;
	enum load_op op;
	unsigned long bytes, depth, queues, ms, count, span;
	uint64_t blocks;                /* of BYTES, that are used */
	unsigned disk_block;            /* bytes of the disk's own blocks */
	struct queue queue[QUEUES_MAX];
	uint64_t random, next;
	unsigned long sent, done, reads;
	uint32_t *written;              /* verify: how often each block was */
} l = {
	.bytes = 4096, .depth = 32, .queues = 1, .ms = 1000, .random = 0x9e3779b97f4a7c15u,
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t random_below(uint64_t n)
{
	l.random ^= l.random << 13;
	l.random ^= l.random >> 7;
	l.random ^= l.random << 17;
	return (uint64_t)(((unsigned __int128)l.random * n) >> 64);
}

/* ---- requests ---- */

static void blk_put(struct ring *ring, unsigned at, const struct slot *s)
{
	struct virtio_blk_header header = {
		.type = le32_make(s->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN),
		.sector = le64_make(s->block * (l.bytes / SECTOR_BYTES)),
	};
	struct piece piece[RING_PIECES] = {
		{ s->request, sizeof(header), false },
		{ s->data, (uint32_t)l.bytes, !s->write },
		{ s->request + STATUS_AT, 1, true },
	};

	memcpy(s->request, &header, sizeof(header));
	s->request[STATUS_AT] = UNANSWERED;
	ring_add(ring, at, piece, RING_PIECES);
}

/* CDB, and LEN bytes of data; 0: none. */
static void scsi_put(struct ring *ring, unsigned at, const struct slot *s, const uint8_t cdb[16],
		     size_t len)
{
	struct virtio_scsi_request request = { .lun = { 1, 0, 0x40 }, .tag = { (uint8_t)at, 1 } };
	struct virtio_scsi_reply *reply = (void *)(s->request + REPLY_AT);
	struct piece reply_piece = { reply, sizeof(*reply), true };
	struct piece data_piece = { s->data, (uint32_t)len, !s->write };
	struct piece piece[RING_PIECES] = {
		{ s->request, sizeof(request), false },
		s->write && len ? data_piece : reply_piece,
		s->write ? reply_piece : data_piece,
	};

	memcpy(request.cdb, cdb, 16);
	memcpy(s->request, &request, sizeof(request));
	reply->response = UNANSWERED;
	ring_add(ring, at, piece, len ? RING_PIECES : RING_PIECES - 1);
}

static void scsi_put_io(struct ring *ring, unsigned at, const struct slot *s)
{
	uint8_t cdb[16] = { s->write ? SCSI_WRITE_16 : SCSI_READ_16 };
	unsigned per = (unsigned)(l.bytes / l.disk_block);

	scsi_be_put(cdb + 2, 8, s->block * per);
	scsi_be_put(cdb + 10, 4, per);
	scsi_put(ring, at, s, cdb, l.bytes);
}

static void answer_check(const struct slot *s)
{
	const struct virtio_scsi_reply *reply = (const void *)(s->request + REPLY_AT);

	if (!l.scsi && s->request[STATUS_AT] != VIRTIO_BLK_S_OK)
		die("%s of block %lu: status %u", s->write ? "write" : "read", s->block,
		    s->request[STATUS_AT]);
	if (l.scsi && (reply->response != VIRTIO_SCSI_S_OK || reply->status != SCSI_GOOD))
		die("%s of block %lu: response %u, status %u, sense key %u",
		    s->write ? "write" : "read", s->block, reply->response, reply->status,
		    reply->sense[2]);
}

/* ---- data that says what it is ---- */

static uint64_t word(uint64_t block, uint32_t written, size_t at)
{
	return (block << 20 ^ (uint64_t)written << 44 ^ at) * 0x9e3779b97f4a7c15u;
}

static void data_make(const struct slot *s)
{
	uint32_t written = ++l.written[s->block];

	for (size_t i = 0; i < l.bytes / 8; i++)
		((uint64_t *)s->data)[i] = word(s->block, written, i);
}

static void data_check(const struct slot *s)
{
	uint32_t written = l.written[s->block];

	for (size_t i = 0; written && i < l.bytes / 8; i++) {
		if (((const uint64_t *)s->data)[i] != word(s->block, written, i))
			die("block %lu differs at byte %zu from what was written", s->block, i * 8);
	}
	l.reads += written != 0;
}

/* ---- the loop ---- */

static void request_next(struct queue *q, unsigned at)
{
	struct slot *s = &q->slot[at];
	uint64_t users = l.queues * l.depth;

	if (l.op == LOAD_VERIFY) {
		/* every slot has blocks of its own: none is written twice at a time */
		s->block = (uint64_t)(q - l.queue) * l.depth + at +
			   users * random_below(l.blocks / users);
		s->write = random_below(2);
		if (s->write)
			data_make(s);
		else
			memset(s->data, UNANSWERED, l.bytes);
	} else {
		s->block = l.sequential ? l.next++ % l.blocks : random_below(l.blocks);
		s->write = l.op == LOAD_WRITE;
	}
	if (l.scsi)
		scsi_put_io(&q->ring, at, s);
	else
		blk_put(&q->ring, at, s);
	q->in_flight++;
	l.sent++;
}

static bool more(void)
{
	return !l.count || l.sent < l.count;
}

static void queue_fill(struct queue *q)
{
	for (unsigned at = 0; at < l.depth && more(); at++)
		request_next(q, at);
	if (q->in_flight)
		ring_publish(&q->ring);
}

/* Takes what has been answered; each answer is followed by the next request while GO. */
static void queue_turn(struct queue *q, bool go)
{
	bool added = false;
	int at;

	while ((at = ring_take(&q->ring)) >= 0) {
		struct slot *s = &q->slot[at];

		answer_check(s);
		if (l.op == LOAD_VERIFY && !s->write)
			data_check(s);
		q->in_flight--;
		l.done++;
		if (go && !l.lockstep && more()) {
			request_next(q, (unsigned)at);
			added = true;
		}
	}
	if (added)
		ring_publish(&q->ring);
	else if (go && q->in_flight == 0)
		queue_fill(q);
}

static void load_run(double until_s)
{
	bool go = true, waits = true;

	for (unsigned q = 0; q < l.queues; q++)
		queue_fill(&l.queue[q]);
	for (unsigned round = 1; waits; round++) {
		if (round % CLOCK_ROUNDS == 0 && !l.count)
			go = now_s() < until_s;
		waits = false;
		for (unsigned q = 0; q < l.queues; q++) {
			queue_turn(&l.queue[q], go);
			waits |= l.queue[q].in_flight != 0;
		}
	}
}

/* ---- before it ---- */

/* A command alone; what it says in the data of slot 0. False: a unit attention. */
static bool scsi_command(const uint8_t cdb[16], size_t len)
{
	struct queue *q = &l.queue[0];
	const struct virtio_scsi_reply *reply = (const void *)(q->slot[0].request + REPLY_AT);

	q->slot[0].write = false;
	scsi_put(&q->ring, 0, &q->slot[0], cdb, len);
	ring_publish(&q->ring);
	while (ring_take(&q->ring) < 0)
		;
	if (reply->status == SCSI_CHECK_CONDITION && reply->sense[2] == SCSI_KEY_UNIT_ATTENTION)
		return false;
	answer_check(&q->slot[0]);
	return true;
}

static uint64_t scsi_capacity(void)
{
	const uint8_t ready[16] = { SCSI_TEST_UNIT_READY };
	const uint8_t capacity[16] = {
		SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_READ_CAPACITY_16, [13] = 32,
	};
	const uint8_t *data = l.queue[0].slot[0].data;

	while (!scsi_command(ready, 0))
		;
	scsi_command(capacity, 32);
	l.disk_block = (unsigned)scsi_be(data + 8, 4);
	return (scsi_be(data, 8) + 1) * l.disk_block;
}

static uint64_t blk_capacity(void)
{
	struct virtio_blk_config config;

	/* a back end may have less than we know of: no more is asked for than is looked at */
	front_config(&l.front, &config, offsetof(struct virtio_blk_config, max_discard_sectors));
	l.disk_block = le32_get(config.blk_size);
	return le64_get(config.capacity) * SECTOR_BYTES;
}

static void queue_make(struct queue *q, unsigned index)
{
	ring_init(&q->ring, &l.front, index, (unsigned)l.depth, l.indirect);
	q->slot = calloc(l.depth, sizeof(*q->slot));
	if (!q->slot)
		die("out of memory");
	for (unsigned i = 0; i < l.depth; i++) {
		q->slot[i].request = front_take(&l.front, SLOT_BYTES, 64);
		q->slot[i].data = front_take(&l.front, l.bytes, LONG_BYTES);
		memset(q->slot[i].data, (int)i + 1, l.bytes);
	}
}

static void load_open(const char *path)
{
	uint64_t wanted = (l.packed ? 1ull << VIRTIO_F_RING_PACKED : 0) |
			  (l.noevent ? 0 : 1ull << VIRTIO_F_EVENT_IDX) |
			  (l.indirect ? 1ull << VIRTIO_F_INDIRECT_DESC : 0) |
			  (l.scsi ? 0 : 1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_MQ |
				   1ull << VIRTIO_BLK_F_FLUSH);
	size_t each = 256 * 1024 + l.depth * (2 * LONG_BYTES + l.bytes);
	unsigned first = l.scsi ? VIRTIO_SCSI_REQUEST_QUEUE : 0;
	uint64_t bytes;

	front_open(&l.front, path, wanted);
	if (l.packed != front_has(&l.front, VIRTIO_F_RING_PACKED) ||
	    (l.indirect && !front_has(&l.front, VIRTIO_F_INDIRECT_DESC)))
		die("%s: what was asked for is not offered", path);
	if (first + l.queues > front_queues(&l.front))
		die("%s: has not so many queues", path);
	front_share(&l.front, ALIGN_UP(l.queues * each, (size_t)2 << 20));
	for (unsigned q = 0; q < l.queues; q++)
		queue_make(&l.queue[q], first + q);
	if (l.inflight)
		front_inflight(&l.front, first + (unsigned)l.queues, l.queue[0].ring.size);
	for (unsigned q = 0; q < l.queues; q++)
		front_start_ring(&l.front, &l.queue[q].ring);
	bytes = l.scsi ? scsi_capacity() : blk_capacity();
	if (l.disk_block == 0 || l.bytes % l.disk_block)
		die("%s: its blocks are of %u bytes", path, l.disk_block);
	l.blocks = (l.span ? MIN(l.span, bytes) : bytes) / l.bytes;
	if (l.blocks < l.queues * l.depth)
		die("%s: too small a disk", path);
	l.written = l.op == LOAD_VERIFY ? calloc(l.blocks, sizeof(*l.written)) : NULL;
	if (l.op == LOAD_VERIFY && !l.written)
		die("out of memory");
}

/* ---- arguments ---- */

static void option(const char *text)
{
	static const struct {
		const char *name;
		unsigned long *value;
		unsigned long min, max;
	} numbers[] = {
		{ "bytes", &l.bytes, SECTOR_BYTES, 1 << 20 },
		{ "depth", &l.depth, 1, 1024 },
		{ "queues", &l.queues, 1, QUEUES_MAX }, { "ms", &l.ms, 1, 1ul << 32 },
		{ "count", &l.count, 1, 1ul << 40 }, { "span", &l.span, SECTOR_BYTES, 1ul << 50 },
	};
	static const struct {
		const char *name;
		bool *value;
	} words[] = {
		{ "sequential", &l.sequential }, { "lockstep", &l.lockstep },
		{ "packed", &l.packed }, { "indirect", &l.indirect }, { "noevent", &l.noevent },
		{ "inflight", &l.inflight },
	};
	const char *equals = strchr(text, '=');
	char *end;

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i].name) == 0) {
			*words[i].value = true;
			return;
		}
	}
	for (unsigned i = 0; equals && i < ARRAY_SIZE(numbers); i++) {
		size_t len = (size_t)(equals - text);

		if (len != strlen(numbers[i].name) || memcmp(text, numbers[i].name, len))
			continue;
		*numbers[i].value = strtoul(equals + 1, &end, 10);
		if (*end || *numbers[i].value < numbers[i].min ||
		    *numbers[i].value > numbers[i].max)
			die("%s: from %lu to %lu", text, numbers[i].min, numbers[i].max);
		return;
	}
	die("%s: no such option", text);
}

int main(int argc, char **argv)
{
	static const char *const ops[] = {
		[LOAD_READ] = "read", [LOAD_WRITE] = "write", [LOAD_VERIFY] = "verify",
	};
	unsigned op = 0;
	double start_s, took_s;
	uint64_t kicks = 0;

	if (argc < 4)
		die("usage: SOCKET blk|scsi read|write|verify [NAME=NUMBER]... [WORD]...");
	l.scsi = strcmp(argv[2], "scsi") == 0;
	while (op < ARRAY_SIZE(ops) && strcmp(argv[3], ops[op]))
		op++;
	if (op == ARRAY_SIZE(ops) || (!l.scsi && strcmp(argv[2], "blk")))
		die("%s %s: not known", argv[2], argv[3]);
	l.op = (enum load_op)op;
	for (int i = 4; i < argc; i++)
		option(argv[i]);
	load_open(argv[1]);
	start_s = now_s();
	load_run(start_s + (double)l.ms / 1000);
	took_s = now_s() - start_s;
	for (unsigned q = 0; q < l.queues; q++) {
		front_stop_ring(&l.front, &l.queue[q].ring);
		kicks += l.queue[q].ring.kicks;
	}
	printf("ops=%lu seconds=%.6f iops=%.0f kicks=%lu compared=%lu\n", l.done, took_s,
	       (double)l.done / took_s, kicks, l.reads);
	return 0;
}
