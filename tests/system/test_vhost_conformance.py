# SPDX-License-Identifier: BSD-3-Clause
"""virtio-scsi as judged by others: libiscsi's conformance test and sg3-utils in a stock Debian guest, on one RAM disk
that the guest sees through two adapters, which are two initiators."""
import re

import pytest

from conftest import artefact
from guest import Guest
from hosted import Karst
from vm import wait_for

SCRIPT = """
disk create ram r0 size=64M
vhost create scsi a socket={folder}/a.sock queues=1
vhost create scsi b socket={folder}/b.sock queues=2
vhost target add a 0 disk=r0
vhost target add b 1 disk=r0
"""

# What iscsi-test-cu leaves out, by what it says: why that is right, and which tests these are.
SKIPS = {
    r"only supported for iSCSI|Non-iSCSI": ("the tool can do these over its own iSCSI sessions alone", {
        "ProutReserve": "AccessEA AccessWE AccessEARO AccessWERO AccessEAAR AccessWEAR OwnershipEA OwnershipWE "
            "OwnershipEARO OwnershipWERO OwnershipEAAR OwnershipWEAR",
        "ProutPreempt": "RemoveRegistration",
        "Reserve6": "2Initiators Logout ITNexusLoss TargetColdReset TargetWarmReset LUNReset",
        "iSCSIcmdsn": "iSCSICmdSnTooHigh iSCSICmdSnTooLow",
        "iSCSIdatasn": "iSCSIDataSnInvalid",
        "iSCSIResiduals": "Read10Invalid Read10Residuals Read12Residuals Read16Residuals Write10Residuals "
            "Write12Residuals Write16Residuals WriteVerify10Residuals WriteVerify12Residuals WriteVerify16Residuals",
        "MultipathIO": "Reset CompareAndWriteAsync",
    }),
    r"not removable": ("a disk is not taken out", {
        "PreventAllow": "Simple Eject ITNexusLoss Logout WarmReset ColdReset LUNReset 2ITNexuses",
        "StartStopUnit": "Simple",
    }),
    r"(EXTENDED|RECEIVE_?)COPY\w* is not implemented": ("there is no copying by the unit", {
        "ExtendedCopy": "Simple ParamHdr DescrLimits DescrType ValidTgtDescr ValidSegDescr",
        "ReceiveCopyResults": "CopyStatus OpParams",
    }),
    r"ORWRITE is not implemented": ("optional, for RAID", {
        "OrWrite": "Simple BeyondEol ZeroBlocks Protect DpoFua Verify",
    }),
    r"WRITEATOMIC16 is not implemented": ("of SBC-4, which is not claimed", {
        "WriteAtomic16": "Simple BeyondEol ZeroBlocks WriteProtect DpoFua VPD",
    }),
    r"RESERVE6 is not implemented": ("replaced by persistent reservations since SPC-3", {
        "Reserve6": "Simple",
    }),
    r"READDEFECTDATA1[02] is not implemented": ("defects are the drive's own", {
        "ReadDefectData10": "Simple",
        "ReadDefectData12": "Simple",
    }),
    r"--allow-sanitize": ("there is no SANITIZE, and asked for it all the same the tool crashes", {
        "Sanitize": "BlockErase BlockEraseReserved CryptoErase CryptoEraseReserved ExitFailureMode "
            "InvalidServiceAction Overwrite OverwriteReserved Readonly Reservations Reset",
    }),
    r"does not support 0-blocks": ("no blocks do not mean all blocks: WSNZ", {
        "WriteSame10": "ZeroBlocks UnmapUntilEnd",
        "WriteSame16": "ZeroBlocks UnmapUntilEnd",
    }),
    r"LBPPB < 2": ("a physical block is a logical one", {
        "CompareAndWrite": "InvalidDataOutSize",
        "WriteSame10": "UnmapUnaligned InvalidDataOutSize",
        "WriteSame16": "UnmapUnaligned InvalidDataOutSize",
    }),
    r"not write-protected": ("it is written to by the other tests", {
        "ReadOnly": "ReadOnlySBC",
    }),
}

GOOD, NOT_READY, ILLEGAL, ATTENTION, OPCODE, MISCOMPARE, RANGE, CONFLICT = 0, 2, 5, 6, 9, 14, 22, 24

READ, WRITE = "sg_raw -r 512 {} 28 00 00 00 00 00 00 00 01 00", "sg_raw -s 512 -i /tmp/zero {} 2a 00 00 00 00 00 00 00 01 00"

# Commands of sg3-utils: exit status, command with A and B for the two devices, what the output says.
WALK = {
    "what it is": [
        (GOOD, "sg_inq A", r"Vendor identification: KARST"),
        (GOOD, "sg_inq --len=36 A", r"Peripheral device type: disk"),
        (GOOD, "sg_vpd A", r"Supported VPD pages"),
        (GOOD, "sg_vpd -p 0x80 A", r"Unit serial number: [0-9a-f-]{36}"),
        (GOOD, "sg_vpd -p 0x83 A", r"designator type: NAA"),
        (GOOD, "sg_vpd -p 0x85 A", r"Management network addresses"),
        (GOOD, "sg_vpd -p 0x86 A", r"SIMPSUP=1"),
        (GOOD, "sg_vpd -p 0x87 A", r"Mode page policy"),
        (GOOD, "sg_vpd -p 0x88 A", r"SCSI Ports"),
        (GOOD, "sg_vpd -p 0xb0 A", r"Maximum write same length: (65535|0xffff) blocks"),
        (GOOD, "sg_vpd -p 0xb1 A", r"Non-rotating medium"),
        (GOOD, "sg_vpd -p 0xb2 A", r"Unmap command supported \(LBPU\): 1"),
        (ILLEGAL, "sg_raw -r 64 A 12 01 89 00 40 00", r"Invalid field in cdb"),
        (GOOD, "sg_luns A", r"Lun list length = 8"),
        (GOOD, "sg_luns -s 1 A", r"c101000000000000"),
        (GOOD, "sg_luns -s 2 A", r"Lun list length = 16"),
        (GOOD, "sg_readcap A", r"Number of logical blocks=131072"),
        (GOOD, "sg_readcap --16 A", r"lbpme=1, lbprz=1"),
        (GOOD, "sg_modes -a A", r"Control"),
        (GOOD, "sg_modes -6 -a A", r"Caching"),
        (GOOD, "sg_modes -p 0xa -c 1 A", r"changeable"),
        (ILLEGAL, "sg_modes -p 0x1f A", r""),
        (GOOD, "sg_logs -a A", r"Supported log pages"),
        (GOOD, "sg_logs -p 0x19 A", r"General Statistics and Performance"),
        (ILLEGAL, "sg_logs -p 0x0d A", r""),
        (GOOD, "sg_opcodes A", r"Compare and write"),
        (GOOD, "sg_opcodes -R A", r"Persistent reserve out, Preempt and abort"),
        (GOOD, "sg_opcodes -o 0x28 A", r"Usage data: 28 18 ff ff ff ff 1f ff ff 00"),
        (GOOD, "sg_opcodes -o 0x5e,3 A", r"supported \[conforming to SCSI standard\]"),
        (GOOD, "sg_opcodes --tmf -q A", r"Query task set|QTSS"),
    ],
    "data": [
        (GOOD, "sg_write_same --lba=0 --num=64 --xferlen=512 A", r""),
        (GOOD, "sg_verify --lba=0 --count=64 A", r""),
        (GOOD, "sg_verify --16 --lba=0 --count=64 --ebytchk=3 --ndo=512 --in=/tmp/zero A", r""),
        (MISCOMPARE, "sg_verify --lba=0 --count=1 --ndo=512 --in=/tmp/one A", r"miscompare"),
        (GOOD, "sg_write_same --16 --lba=0 --num=64 --xferlen=512 --in=/tmp/one A", r""),
        (GOOD, "sg_verify --16 --lba=0 --count=64 --ebytchk=3 --ndo=512 --in=/tmp/one A", r""),
        (GOOD, "sg_write_same --16 --unmap --lba=0 --num=64 --xferlen=512 A", r""),
        (GOOD, "sg_write_same --16 --ndob --lba=0 --num=64 A", r""),
        (GOOD, "sg_compare_and_write --in=/tmp/caw --lba=3 --num=1 A", r""),
        (MISCOMPARE, "sg_compare_and_write --in=/tmp/caw --lba=3 --num=1 A", r""),
        (GOOD, "sg_unmap --force --lba=3 --num=1 A", r""),
        (GOOD, "sg_compare_and_write --in=/tmp/caw --lba=3 --num=1 B", r""),
        (GOOD, "sg_get_lba_status --lba=0 A", r"mapped"),
        (RANGE, "sg_get_lba_status --lba=0x10000000 A", r""),
        (GOOD, "sg_write_verify --16 --lba=8 --num=8 --in=/tmp/eight A", r""),
        (GOOD, "sg_write_verify --lba=8 --num=8 --bytchk=1 --in=/tmp/eight A", r""),
        (GOOD, "sg_dd if=A of=/tmp/back bs=512 skip=8 count=8", r"8\+0 records out"),
        (GOOD, "cmp /tmp/back /tmp/eight", r""),
        (GOOD, "sg_dd if=/tmp/eight of=B bs=512 seek=64 count=8 cdbsz=16 oflag=fua,dpo", r"8\+0 records out"),
        (GOOD, "sg_dd if=A of=/tmp/back bs=512 skip=64 count=8 cdbsz=6", r"8\+0 records out"),
        (GOOD, "cmp /tmp/back /tmp/eight", r""),
        (GOOD, "sg_read if=A bs=512 count=64 cdbsz=12", r""),
        (GOOD, "sg_write_x --normal --lba=3 --num=1 --in=/tmp/one A", r""),
        (GOOD, "sg_sync A", r""),
        (GOOD, "sg_sync --16 --lba=0 --count=8 A", r""),
    ],
    "state": [
        (GOOD, "sg_turs -n 3 A", r""),
        (GOOD, "sg_requests A", r"no sense"),
        (GOOD, "sg_requests --desc A", r"no sense"),
        (GOOD, "sg_senddiag -t A", r""),
        (GOOD, "sg_start --stop A", r""),
        (NOT_READY, "sg_turs A", r""),
        (GOOD, "sg_requests A", r"not ready"),
        (GOOD, "sg_turs B", r""),
        (GOOD, "sg_start --start A", r""),
        (GOOD, "sg_turs A", r""),
        (ILLEGAL, "sg_start --eject A", r""),
        (ILLEGAL, "sg_start --pc=3 A", r""),
        (GOOD, "sg_reset -d A", r""),
        (ATTENTION, "sg_turs A", r"reset"),
        (GOOD, "sg_turs A", r""),
        (GOOD, "sg_turs B", r""),
    ],
    "refused": [(ILLEGAL, f"{command} A", r"") for command in (
        "sg_rtpg", "sg_stpg", "sg_ident", "sg_timestamp", "sg_referrals", "sg_get_elem_status", "sg_stream_ctl --ctl=1",
    )] + [(OPCODE, f"{command} A", r"") for command in (
        "sg_prevent", "sg_read_buffer", "sg_read_long", "sg_rep_zones", "sg_sat_identify", "sg_read_attr", "sg_safte",
        "sg_copy_results", "sg_seek", "sg_write_x --or --lba=3 --num=1 --in=/tmp/one",
    )] + [
        (OPCODE, "sg_raw A ff 00 00 00 00 00", r"Invalid command operation code"),
        (ILLEGAL, "sg_raw A 00 00 00 00 00 04", r"byte 5 bit 2"),
        (ILLEGAL, "sg_raw -r 512 A 28 e0 00 00 00 00 00 00 01 00", r"byte 1 bit 7"),
    ],
    "reservations": [
        (GOOD, "sg_persist -n -k A", r"0x0, there are NO registered|NO registered"),
        (GOOD, "sg_persist -n -c A", r"Persist Through Power Loss Capable"),
        (GOOD, "sg_persist -n --out --register --param-sark=1 A", r""),
        (GOOD, "sg_persist -n --out --register-ignore --param-sark=2 B", r""),
        (CONFLICT, "sg_persist -n --out --register --param-rk=3 --param-sark=4 B", r""),
        (GOOD, "sg_persist -n -s B", r"Key=0x2"),
    ] + [row for kind, reads, writes in (
        (1, GOOD, CONFLICT), (3, CONFLICT, CONFLICT), (5, GOOD, GOOD), (6, GOOD, GOOD), (7, GOOD, GOOD), (8, GOOD, GOOD),
    ) for row in (
        (GOOD, f"sg_persist -n --out --reserve --param-rk=1 --prout-type={kind} A", r""),
        (GOOD, "sg_persist -n -r B", r"Reservation follows"),
        (CONFLICT if kind < 7 else GOOD, f"sg_persist -n --out --reserve --param-rk=2 --prout-type={kind} B", r""),
        (GOOD, READ.format("A"), r""),
        (reads, READ.format("B"), r""),
        (writes, WRITE.format("B"), r""),
        (GOOD, f"sg_persist -n --out --release --param-rk=1 --prout-type={kind} A", r""),
        (ATTENTION if kind > 3 else GOOD, "sg_turs B", r""),
        (GOOD, READ.format("B"), r""),
    )] + [
        (ILLEGAL, "sg_persist -n --out --reserve --param-rk=1 --prout-type=2 A", r""),
        (GOOD, "sg_persist -n --out --reserve --param-rk=1 --prout-type=1 A", r""),
        (GOOD, "sg_persist -n --out --preempt --param-rk=2 --param-sark=1 --prout-type=3 B", r""),
        (ATTENTION, "sg_turs A", r"registrations preempted"),
        (CONFLICT, READ.format("A"), r""),
        (GOOD, "sg_persist -n --out --clear --param-rk=2 B", r""),
        (GOOD, READ.format("A"), r""),
        (GOOD, "sg_persist -n -k B", r"NO registered"),
    ],
}


class Machine:
    """The guest, the karst that serves it, and the guest's /dev/sg names of the disk."""

    def __init__(self, binary, folder):
        self.karst = Karst(binary, folder / "karst", SCRIPT, ("-c", "0,1"))
        try:
            adapters = []
            for name, queues in (("a", 1), ("b", 2)):
                adapters += ["-chardev", f"socket,id={name},path={self.karst.folder}/{name}.sock",
                             "-device", f"vhost-user-scsi-pci,chardev={name},num_queues={queues}"]
            self.guest = Guest(folder / "guest", extra=adapters)
            self.guest.load("virtio_scsi", "sd_mod", "sg")
            self.generic = [self.generic_of(target) for target in (0, 1)]
        except BaseException:
            self.karst.kill()
            raise

    def generic_of(self, target):
        units = f"/sys/bus/scsi/devices/*:*:{target}:0"
        name = wait_for(f"target {target}", lambda: self.guest.run(f"ls {units}/scsi_generic").output.strip(),
                        self.guest.vm.process, 60)
        return f"/dev/{name}"

    def stop(self):
        self.guest.stop()
        self.karst.stop()


@pytest.fixture(scope="module")
def machine(out, tmp_path_factory):
    machine = Machine(artefact(out / "host/karst", "host"), tmp_path_factory.mktemp("conformance"))
    yield machine
    machine.stop()


def expected_skips():
    """{Suite.Test: what the tool says}"""
    return {f"{suite}.{name}": says for says, (_, suites) in SKIPS.items()
            for suite, names in suites.items() for name in names.split()}


def iscsi_test(machine, tests):
    """{Suite.Test: its output}"""
    output = machine.guest.run(f"iscsi-test-cu -d -t {tests} {' '.join(machine.generic)} 2>&1", 900).output
    assert "Tests completed with return value: 0" in output, output
    return {f"{suite.split(None, 1)[0]}.{test.split(None, 1)[0]}": test
            for suite in re.split(r"^Suite: ", output, flags=re.M)[1:]
            for test in re.split(r"^  Test: ", suite, flags=re.M)[1:]}


def test_libiscsi_conformance_test_has_no_failure_and_leaves_out_what_we_know(machine):
    # on a disk as it was made: one of these takes block 256 for zeroes, where others write
    both = iscsi_test(machine, "ALL.MultipathIO")
    ran = {**iscsi_test(machine, "ALL"), **both}
    failed = [name for name, text in ran.items() if re.search(r"^FAILED|FAILED$|\[FAILED\]", text, re.M)]
    assert not failed, "\n".join(f"{name}: {ran[name]}" for name in failed)
    skipped = {name for name, text in ran.items() if re.search(r"\[SKIPPED\]|does not support 0-blocks", text)}
    expected = expected_skips()
    assert skipped == set(expected), skipped ^ set(expected)
    for name, says in expected.items():
        assert re.search(says, ran[name]), (name, says, ran[name])
    assert len(ran) - len(skipped) > 130


@pytest.mark.parametrize("part", WALK)
def test_sg3_utils_are_answered_as_they_should_be(machine, part):
    first, second = machine.generic
    machine.guest.check("cd /tmp; head -c 512 /dev/zero > zero; yes one | head -c 512 > one; cat zero one > caw; "
                        "yes eight | head -c 4096 > eight")
    for device in (first, second):
        machine.guest.run(f"sg_turs -n 2 {device}")
    for status, command, says in WALK[part]:
        typed = re.sub(r"\bA\b", first, re.sub(r"\bB\b", second, command))
        result = machine.guest.run(f"{typed} 2>&1 < /dev/null", 60)
        assert (result.status, bool(re.search(says, result.output, re.I))) == (status, True), \
            f"{command}: status {result.status}, not {status}:\n{result.output}"
