# SPDX-License-Identifier: BSD-3-Clause
"""The stock Debian guest in QEMU: runs commands in it and gives back status and output.

It reaches ports of this machine's 127.0.0.1 as 10.0.2.2; the other way by `forward`.
"""
import itertools
import json
import re
import shlex

import guest_image
from agent import Agent, Result
from vm import Vm, boot, free_port, wait_for

HOST = "10.0.2.2"

# What a healthy kernel does not say.
TROUBLE = re.compile(r"^.*(BUG:|Oops|Kernel panic|WARNING: CPU|hung_task|blocked for more than|"
                     r"general protection|I/O error|Call Trace).*$", re.M)


QEMU = "qemu-system-x86_64"
CMDLINE = ("console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr random.trust_cpu=on rcupdate.rcu_expedited=1 "
           "tsc=reliable no_timer_check audit=0 selinux=0 apparmor=0")


def direct(image):
    """QEMU arguments that start the kernel without firmware, its root on a disk of QEMU's own."""
    return ["-kernel", image / "vmlinuz", "-initrd", image / "initramfs", "-append", CMDLINE,
            "-drive", f"file={image / 'root.img'},format=raw,if=none,id=root,readonly=on",
            "-device", "virtio-blk-pci,drive=root"]


class Guest:
    """A booted guest. FORWARD lists guest ports that get a port of this machine: self.ports. EXTRA arguments of QEMU
    may name vhost-user devices: its memory is shared. BOOT_FROM are the arguments that say from what it boots; it may
    boot again when REBOOTS. MACHINE: a command line, with machine and memory, that the rest is added to. With
    `-incoming` it waits for the state of another."""

    def __init__(self, folder, forward=(), memory_mib=512, cpus=1, extra=(), boot_from=None, reboots=False,
                 machine=None):
        image = guest_image.build()
        self.modules = json.loads((image / "modules.json").read_text())
        self.ports = {port: free_port() for port in forward}
        folder.mkdir(parents=True, exist_ok=True)
        self.kernel_log = folder / "guest-kernel.log"
        net = "user,id=net0" + "".join(f",hostfwd=tcp:127.0.0.1:{out}-:{port}"
                                       for port, out in self.ports.items())
        agent = folder / "agent"
        qemu, *words = machine or [
            QEMU, "-M", "q35,memory-backend=mem", "-m", f"{memory_mib}M",
            "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on"]
        boot(lambda: self.start_vm(agent, [
            qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", cpus, "-display", "none", "-nodefaults",
            "-no-user-config", *([] if reboots else ["-no-reboot"]), *(direct(image) if boot_from is None else boot_from),
            "-netdev", net, "-device", "virtio-net-pci,netdev=net0,romfile=",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent",
            "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
            "-serial", f"file:{self.kernel_log}", *words, *extra]))
        self.loaded = set()

    def start_vm(self, agent, arguments):
        for path in (agent, agent.parent / "qmp"):
            path.unlink(missing_ok=True)
        self.vm = Vm(arguments, agent.parent)
        try:
            self.vm.socket_ready(agent)
            self.agent = Agent(agent, agent.parent / "guest-agent.log", "guest",
                               fresh="-incoming" not in arguments)
        except AssertionError as error:
            log = self.kernel_log.read_text(errors="replace") if self.kernel_log.exists() else ""
            raise self.vm.failed(error, log) from None
        except BaseException:
            self.vm.kill()
            raise

    def rebooted(self):
        """Waits until it runs again after a reset or reboot."""
        self.loaded.clear()
        self.agent.ready()

    def run(self, command, timeout_s=300):
        """Runs a shell COMMAND: Result(status, output)."""
        return self.agent.run(command, timeout_s)

    def check(self, command, timeout_s=300):
        """The output of COMMAND, which has to succeed."""
        return self.agent.check(command, timeout_s)

    def start(self, command):
        """Starts COMMAND in the background; a Job to wait for."""
        return Job(self, command)

    def load(self, *names):
        """Loads kernel modules with what they need."""
        for name in names:
            for file in self.modules[name]:
                if file not in self.loaded:
                    self.run(f"insmod /lib/modules/{file}")
                    self.loaded.add(file)
            loaded = name.replace("-", "_")
            self.check(f"test -d /sys/module/{loaded}")

    def dmesg(self):
        return self.run("dmesg").output

    def trouble(self):
        """Lines of the kernel log that a healthy kernel does not say."""
        return [m.group() for m in TROUBLE.finditer(
            self.kernel_log.read_text(errors="replace") + self.dmesg())]

    def stop(self):
        self.vm.kill()

    # nvme-cli

    def nvme(self, arguments, timeout_s=300):
        """Output of `nvme ARGUMENTS`, which has to succeed."""
        return self.check("nvme " + arguments, timeout_s)

    def nvme_connect(self, port, nqn, options="", transport="tcp", address=HOST):
        """Connects; the names of the namespaces' block devices, once the kernel has them."""
        self.load(f"nvme-{transport}")
        self.nvme(f"connect -t {transport} -a {address} -s {port} -n {shlex.quote(nqn)} {options}")
        # the kernel scans behind the connect: it is done when it has all that the target lists
        listed = self.check(
            "for c in /sys/class/nvme/nvme*; do "
            f"[ \"$(cat $c/subsysnqn 2>/dev/null)\" = {shlex.quote(nqn)} ] && "
            "nvme list-ns /dev/${c##*/}; done; true").count(":0x")
        return wait_for(f"{listed} namespaces of {nqn}", lambda: self.all_devices(nqn, listed),
                        self.vm.process, 60)

    def all_devices(self, nqn, count):
        devices = self.block_devices(nqn)
        return devices if len(devices) == count else None

    def block_devices(self, nqn):
        """{nsid: /dev name} of the subsystem NQN, each with its size known to the kernel."""
        text = self.check(
            "for s in /sys/class/nvme-subsystem/nvme-subsys*; do "
            f"[ \"$(cat $s/subsysnqn 2>/dev/null)\" = {shlex.quote(nqn)} ] || continue; "
            "for n in $s/nvme*n*; do [ -e $n/size ] && "
            "echo $(cat $n/nsid 2>/dev/null || echo ${n##*n}) /dev/${n##*/}; done; done; true")
        return {int(line.split()[0]): line.split()[1] for line in text.splitlines()}

    def fio(self, name, device, options, timeout_s=300):
        """Runs fio on DEVICE; its JSON results of the first job. Fails on any error."""
        self.check(fio_command(name, device, options), timeout_s)
        return self.fio_results(name)

    def fio_results(self, name):
        text = self.check(f"cat /tmp/fio-{name}.json")
        job = json.loads(text[text.index("{"):])["jobs"][0]
        assert job["error"] == 0, f"fio {name}: error {job['error']}"
        return job


def fio_command(name, device, options):
    return (f"fio --name={name} --filename={device} --ioengine=libaio --direct=1 --thread "
            f"--output-format=json --output=/tmp/fio-{name}.json {options}")


class Job:
    """A command that runs in the background of the guest."""
    numbers = itertools.count(1)

    def __init__(self, guest, command):
        self.guest, self.path = guest, f"/tmp/job{next(Job.numbers)}"
        self.command = command
        guest.check(f"mkfifo {self.path}.end; ( ( {command}\n) > {self.path}.out 2>&1; "
                    f"echo $? > {self.path}.status; echo end > {self.path}.end ) "
                    "< /dev/null > /dev/null 2>&1 &")

    def running(self):
        return self.guest.run(f"test -e {self.path}.status").status != 0

    def output(self):
        return self.guest.run(f"cat {self.path}.out").output

    def wait(self, timeout_s=300):
        """Result once the command has ended."""
        status = self.guest.check(f"cat {self.path}.end > /dev/null; cat {self.path}.status",
                                  timeout_s)
        return Result(int(status), self.output())

    def check(self, timeout_s=300):
        result = self.wait(timeout_s)
        if result.status:
            raise AssertionError(f"guest: {self.command}\nexit status {result.status}\n"
                                 f"{result.output}\nkernel: {self.guest.dmesg()[-3000:]}")
        return result.output
