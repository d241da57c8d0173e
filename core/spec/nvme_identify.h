/* SPDX-License-Identifier: BSD-3-Clause */
/* Identify data structures: NVMe base specification 2.0c 5.17.2 and NVM command set 1.0 4.1.5. */
#ifndef SPEC_NVME_IDENTIFY_H
#define SPEC_NVME_IDENTIFY_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"
#include "core/spec/nvme.h"

enum nvme_cns {
	NVME_CNS_NS = 0x00,
	NVME_CNS_CTRL = 0x01,
	NVME_CNS_NS_LIST = 0x02,        /* active, above NSID */
	NVME_CNS_NS_DESCS = 0x03,
	NVME_CNS_IOCS_NS = 0x05,
	NVME_CNS_IOCS_CTRL = 0x06,
	NVME_CNS_IOCS_NS_LIST = 0x07,
	NVME_CNS_NS_INDEPENDENT = 0x08,
	NVME_CNS_ALLOC_NS_LIST = 0x10,
	NVME_CNS_ALLOC_NS = 0x11,
	NVME_CNS_NS_CTRL_LIST = 0x12,
	NVME_CNS_CTRL_LIST = 0x13,
	NVME_CNS_IOCS = 0x1c,
};

enum nvme_csi { NVME_CSI_NVM = 0, NVME_CSI_KV = 1, NVME_CSI_ZNS = 2 };

enum {
	NVME_NS_LIST_MAX = 1024,        /* NSIDs in a list */
	NVME_CTRL_LIST_MAX = 2047,      /* CNTLIDs in a list, after the count */
	NVME_NSID_LIST_LAST = -3,       /* FFFFFFFDh: largest NSID a list may start above */
};

enum nvme_cntrltype {
	NVME_CNTRLTYPE_UNREPORTED = 0,
	NVME_CNTRLTYPE_IO = 1,
	NVME_CNTRLTYPE_DISCOVERY = 2,
	NVME_CNTRLTYPE_ADMIN = 3,
};

enum nvme_cmic {
	NVME_CMIC_MULTI_PORT = 1 << 0,
	NVME_CMIC_MULTI_CTRL = 1 << 1,
	NVME_CMIC_SRIOV = 1 << 2,
	NVME_CMIC_ANA = 1 << 3,
};

enum nvme_oaes {
	NVME_OAES_NS_CHANGED = 1 << 8,
	NVME_OAES_FW_ACTIVATION = 1 << 9,
	NVME_OAES_ANA = 1 << 11,
	NVME_OAES_DISCOVERY = 1 << 31,
};

enum nvme_ctratt {
	NVME_CTRATT_HOSTID_128 = 1 << 0,
	NVME_CTRATT_TBKAS = 1 << 6,     /* traffic based keep alive */
};

enum nvme_oacs {
	NVME_OACS_SECURITY = 1 << 0,
	NVME_OACS_FORMAT = 1 << 1,
	NVME_OACS_FIRMWARE = 1 << 2,
	NVME_OACS_NS_MANAGEMENT = 1 << 3,
	NVME_OACS_SELF_TEST = 1 << 4,
	NVME_OACS_DIRECTIVES = 1 << 5,
	NVME_OACS_DOORBELL_BUFFER = 1 << 8,
};

enum nvme_frmw { NVME_FRMW_SLOT1_RO = 1 << 0, NVME_FRMW_SLOTS_SHIFT = 1 };

enum nvme_lpa {
	NVME_LPA_SMART_PER_NS = 1 << 0,
	NVME_LPA_EFFECTS = 1 << 1,
	NVME_LPA_EXTENDED = 1 << 2,     /* log page offset and 32-bit length */
	NVME_LPA_TELEMETRY = 1 << 3,
	NVME_LPA_SUPPORTED_PAGES = 1 << 5,
};

enum nvme_oncs {
	NVME_ONCS_COMPARE = 1 << 0,
	NVME_ONCS_WRITE_UNCORRECTABLE = 1 << 1,
	NVME_ONCS_DSM = 1 << 2,
	NVME_ONCS_WRITE_ZEROES = 1 << 3,
	NVME_ONCS_SAVE = 1 << 4,        /* Save in Set Features, Select in Get Features */
	NVME_ONCS_RESERVATIONS = 1 << 5,
	NVME_ONCS_TIMESTAMP = 1 << 6,
	NVME_ONCS_VERIFY = 1 << 7,
	NVME_ONCS_COPY = 1 << 8,
};

enum { NVME_OCFS_FORMAT0 = 1 << 0 };      /* cdfs: copy descriptor formats */
enum nvme_fuses { NVME_FUSES_COMPARE_WRITE = 1 << 0 };

enum nvme_vwc {
	NVME_VWC_PRESENT = 1 << 0,
	NVME_VWC_FLUSH_SHIFT = 1,       /* 2 bits, as below */
	NVME_VWC_FLUSH_NO_BROADCAST = 2 << 1,
	NVME_VWC_FLUSH_BROADCAST = 3 << 1,
};

enum nvme_sgls {
	NVME_SGLS_SUPPORTED = 1 << 0,           /* no alignment needed */
	NVME_SGLS_KEYED = 1 << 2,
	NVME_SGLS_BIT_BUCKET = 1 << 16,
	NVME_SGLS_LONGER = 1 << 18,             /* SGL length above the data length is fine */
	NVME_SGLS_OFFSET = 1 << 20,             /* address as offset: in-capsule data */
	NVME_SGLS_TRANSPORT = 1 << 21,          /* Transport SGL Data Block */
};

enum nvme_anacap {
	NVME_ANACAP_OPTIMIZED = 1 << 0,
	NVME_ANACAP_NON_OPTIMIZED = 1 << 1,
	NVME_ANACAP_INACCESSIBLE = 1 << 2,
	NVME_ANACAP_PERSISTENT_LOSS = 1 << 3,
	NVME_ANACAP_CHANGE = 1 << 4,
	NVME_ANACAP_FIXED_GROUP = 1 << 6,       /* ANAGRPID stays while a namespace is attached */
};

enum nvme_fcatt { NVME_FCATT_DYNAMIC = 0, NVME_FCATT_STATIC = 1 };
enum nvme_ofcs { NVME_OFCS_DISCONNECT = 1 << 0 };

struct nvme_power_state {
	le16 mp;
	uint8_t rsvd2;
	uint8_t flags;                  /* bit 0 MXPS, 1 NOPS */
	le32 enlat, exlat;
	uint8_t rrt, rrl, rwt, rwl;
	le16 idlp;
	uint8_t ips, rsvd19;
	le16 actp;
	uint8_t apw_aps, rsvd23[9];
};
static_assert(sizeof(struct nvme_power_state) == 32, "power state descriptor");

struct nvme_id_ctrl {
	le16 vid, ssvid;
	char sn[20], mn[40], fr[8];     /* padded with spaces */
	uint8_t rab;
	uint8_t ieee[3];
	uint8_t cmic;
	uint8_t mdts;                   /* transfer limit 2^n minimum pages, 0: none */
	le16 cntlid;
	le32 ver;
	le32 rtd3r, rtd3e;              /* us */
	le32 oaes;
	le32 ctratt;
	le16 rrls;
	uint8_t rsvd102[9];
	uint8_t cntrltype;
	uint8_t fguid[16];
	le16 crdt1, crdt2, crdt3;       /* 100 ms */
	uint8_t rsvd134[119];
	uint8_t nvmsr, vwci, mec;
	le16 oacs;
	uint8_t acl;                    /* 0-based */
	uint8_t aerl;                   /* 0-based */
	uint8_t frmw;
	uint8_t lpa;
	uint8_t elpe;                   /* 0-based */
	uint8_t npss;                   /* 0-based */
	uint8_t avscc, apsta;
	le16 wctemp, cctemp;            /* kelvin */
	le16 mtfa;
	le32 hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	le32 rpmbs;
	le16 edstt;
	uint8_t dsto, fwug;
	le16 kas;                       /* 100 ms */
	le16 hctma, mntmt, mxtmt;
	le32 sanicap;
	le32 hmminds;
	le16 hmmaxd;
	le16 nsetidmax, endgidmax;
	uint8_t anatt, anacap;
	le32 anagrpmax, nanagrpid;
	le32 pels;
	le16 domainid;
	uint8_t rsvd358[10];
	uint8_t megcap[16];
	uint8_t rsvd384[128];
	uint8_t sqes, cqes;             /* max << 4 | min, powers of two */
	le16 maxcmd;
	le32 nn;
	le16 oncs;
	le16 fuses;
	uint8_t fna;
	uint8_t vwc;
	le16 awun, awupf;               /* 0-based */
	uint8_t icsvscc, nwpc;
	le16 acwu;
	le16 cdfs;
	le32 sgls;
	le32 mnan;
	uint8_t maxdna[16];
	le32 maxcna;
	uint8_t rsvd564[204];
	char subnqn[NVME_NQN_BYTES];
	uint8_t rsvd1024[768];
	le32 ioccsz, iorcsz;            /* 16 bytes */
	le16 icdoff;                    /* 16 bytes */
	uint8_t fcatt;
	uint8_t msdbd;
	le16 ofcs;
	uint8_t rsvd1806[242];
	struct nvme_power_state psd[32];
	uint8_t vs[1024];
};
static_assert(sizeof(struct nvme_id_ctrl) == 4096, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, cmic) == 76, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, cntlid) == 78, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, cntrltype) == 111, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, oacs) == 256, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, kas) == 320, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, anatt) == 342, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, sqes) == 512, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, oncs) == 520, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, sgls) == 536, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, subnqn) == 768, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, ioccsz) == 1792, "Identify Controller");
static_assert(offsetof(struct nvme_id_ctrl, psd) == 2048, "Identify Controller");

enum nvme_nsfeat {
	NVME_NSFEAT_THIN = 1 << 0,
	NVME_NSFEAT_NSABP = 1 << 1,     /* nawun, nawupf, nacwu are this namespace's */
	NVME_NSFEAT_DAE = 1 << 2,
	NVME_NSFEAT_UIDREUSE = 1 << 3,
	NVME_NSFEAT_OPTPERF = 1 << 4,   /* npwg, npwa, npdg, npda, nows are valid */
};

enum nvme_flbas { NVME_FLBAS_INDEX_MASK = 0xf, NVME_FLBAS_EXTENDED = 1 << 4 };
enum nvme_nmic { NVME_NMIC_SHARED = 1 << 0 };

enum nvme_dlfeat {
	NVME_DLFEAT_ZEROES = 1,         /* 3 bits: deallocated blocks read as zeroes */
	NVME_DLFEAT_ONES = 2,
	NVME_DLFEAT_MASK = 7,
	NVME_DLFEAT_DEAC = 1 << 3,      /* Write Zeroes takes DEAC */
};

enum { NVME_NSATTR_WRITE_PROTECTED = 1 << 0 };

struct nvme_lbaf {
	le16 ms;
	uint8_t lbads;                  /* 2^n bytes */
	uint8_t rp;
};
static_assert(sizeof(struct nvme_lbaf) == 4, "LBA format");

struct nvme_id_ns {
	le64 nsze, ncap, nuse;          /* blocks */
	uint8_t nsfeat;
	uint8_t nlbaf;                  /* 0-based */
	uint8_t flbas;
	uint8_t mc, dpc, dps;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	uint8_t dlfeat;
	le16 nawun, nawupf, nacwu;      /* 0-based */
	le16 nabsn, nabo, nabspf;
	le16 noiob;
	uint8_t nvmcap[16];
	le16 npwg, npwa, npdg, npda, nows;      /* 0-based */
	le16 mssrl;
	le32 mcl;
	uint8_t msrc;                   /* 0-based */
	uint8_t rsvd81[11];
	le32 anagrpid;
	uint8_t rsvd96[3];
	uint8_t nsattr;
	le16 nvmsetid, endgid;
	uint8_t nguid[16];
	uint8_t eui64[8];
	struct nvme_lbaf lbaf[64];
	uint8_t vs[3712];
};
static_assert(sizeof(struct nvme_id_ns) == 4096, "Identify Namespace");
static_assert(offsetof(struct nvme_id_ns, nvmcap) == 48, "Identify Namespace");
static_assert(offsetof(struct nvme_id_ns, mssrl) == 74, "Identify Namespace");
static_assert(offsetof(struct nvme_id_ns, anagrpid) == 92, "Identify Namespace");
static_assert(offsetof(struct nvme_id_ns, nguid) == 104, "Identify Namespace");
static_assert(offsetof(struct nvme_id_ns, lbaf) == 128, "Identify Namespace");

/* Namespace identification descriptor; nid follows. */
struct nvme_ns_desc {
	uint8_t nidt;
	uint8_t nidl;
	uint8_t rsvd2[2];
};
static_assert(sizeof(struct nvme_ns_desc) == 4, "namespace descriptor");

enum nvme_nidt {
	NVME_NIDT_EUI64 = 1,            /* 8 bytes */
	NVME_NIDT_NGUID = 2,            /* 16 */
	NVME_NIDT_UUID = 3,             /* 16 */
	NVME_NIDT_CSI = 4,              /* 1 */
};

/* CNS 06h, CSI 0: limits in units of 2^n minimum pages, 0: none. */
struct nvme_id_ctrl_nvm {
	uint8_t vsl, wzsl, wusl, dmrl;
	le32 dmrsl;
	le64 dmsl;
	uint8_t rsvd16[4080];
};
static_assert(sizeof(struct nvme_id_ctrl_nvm) == 4096, "Identify Controller, NVM");

/* CNS 08h; nsfeat has bits of its own. */
enum { NVME_NSFEAT_VWC_NOT_PRESENT = 1 << 5 };  /* this namespace has no volatile write cache */

struct nvme_id_ns_independent {
	uint8_t nsfeat, nmic, rescap, fpi;
	le32 anagrpid;
	uint8_t nsattr, rsvd9;
	le16 nvmsetid, endgid;
	uint8_t nstat;                  /* bit 0: ready */
	uint8_t rsvd15[4081];
};
static_assert(sizeof(struct nvme_id_ns_independent) == 4096, "Identify Namespace, independent");

struct nvme_ctrl_list {
	le16 count;
	le16 cntlid[NVME_CTRL_LIST_MAX];
};
static_assert(sizeof(struct nvme_ctrl_list) == 4096, "controller list");

#endif
