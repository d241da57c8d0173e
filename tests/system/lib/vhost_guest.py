# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user disks of a guest: QEMU's arguments for them, and how the guest calls them."""
from vm import wait_for

QUEUES = {"blk": "num-queues", "scsi": "num_queues"}
# QEMU 7.2 cannot connect a SCSI adapter again, nor does it wait for a connection that is tried again.
RECONNECT = {"blk": ",reconnect=1", "scsi": ""}


class Device:
    """A device that karst serves as KIND (blk, scsi) on SOCKET, in the guest's PCI slot SLOT."""

    def __init__(self, kind, socket, slot, queues=1, packed=False, options=""):
        self.kind, self.socket, self.slot = kind, socket, slot
        self.queues, self.packed, self.options = queues, packed, options
        self.name = f"{kind}{slot}"

    def arguments(self):
        packed = "on" if self.packed else "off"
        return ["-chardev", f"socket,id={self.name},path={self.socket}{RECONNECT[self.kind]}",
                "-device", f"vhost-user-{self.kind}-pci,id=dev-{self.name},chardev={self.name},addr={self.slot:#x},"
                           f"{QUEUES[self.kind]}={self.queues},packed={packed}{self.options}"]

    def sysfs(self):
        return f"/sys/bus/pci/devices/0000:00:{self.slot:02x}.0/virtio*"

    def units(self, guest):
        """{(target, LUN): device}: what GUEST has of it now, without /dev/. A disk is (0, 0)."""
        if self.kind == "blk":
            return {(0, 0): guest.run(f"ls {self.sysfs()}/block").output.strip()}
        found = {}
        for line in guest.run(f"for u in {self.sysfs()}/host*/target*/*:*:*:*; do [ -d $u/block ] && "
                              "echo ${u##*/} $(ls $u/block); done").output.splitlines():
            address, name = line.split()
            found[tuple(map(int, address.split(":")[2:]))] = name
        return found

    def path(self, guest, target=0, lun=0):
        """The guest's /dev name of a unit, once it is there."""
        name = wait_for(f"{self.name} target {target} LUN {lun}", lambda: self.units(guest).get((target, lun)),
                        guest.vm.process, 60)
        return f"/dev/{name}"


def arguments(devices):
    return [argument for device in devices for argument in device.arguments()]


def sectors(guest, path):
    return int(guest.check(f"cat /sys/block/{path.rsplit('/', 1)[1]}/size"))


def migrate(source, target, address):
    """Moves a guest: once this returns it runs in TARGET, which was started to wait for it at ADDRESS (unix:PATH)."""
    target.vm.socket_ready(address.removeprefix("unix:"))
    source.vm.qmp("migrate", uri=address)

    def ended():
        info = source.vm.qmp("query-migrate")
        return info if info.get("status") in ("completed", "failed", "cancelled") else None

    info = wait_for("the migration", ended, source.vm.process, 120)
    assert info["status"] == "completed", f"{info}\n{target.vm.log_path.read_text()}"
    wait_for("the guest runs there", lambda: target.vm.qmp("query-status")["running"], target.vm.process, 30)


class Load:
    """fio writes to PATH and reads back what it wrote, again and again, until it is stopped: then all was right."""

    OPTIONS = "--rw=randwrite --bsrange=4k-32k --size=4M --iodepth=16 --verify=crc32c --verify_fatal=1 --verify_backlog=64"

    def __init__(self, guest, path, options=OPTIONS):
        self.guest, self.end = guest, f"/tmp/end-{path.rsplit('/', 1)[1]}"
        guest.check(f"rm -f {self.end}")
        self.job = guest.start(f"while [ ! -e {self.end} ]; do "
                               f"fio --name=load --filename={path} --ioengine=libaio --direct=1 {options} || exit 1; done")

    def moved(self, guest):
        """It runs in another QEMU now."""
        self.guest = self.job.guest = guest

    def stop(self):
        assert self.job.running(), self.job.output()
        self.guest.check(f"touch {self.end}")
        self.job.check()


def served(karst, name):
    """Requests that the guest of NAME has had answered by this KARST."""
    return sum(row["served"] for row in karst.ctl(f"vhost queues {name}"))


def goes_on(karst, names, count=300):
    """Waits until the guest of each of NAMES has had COUNT requests more."""
    goals = {name: served(karst, name) + count for name in names}
    wait_for("the load goes on", lambda: all(served(karst, name) >= goals[name] for name in names), karst.process, 120)
